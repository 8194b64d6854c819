"""Tasks: what people must do."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from services.gateway import presenting
from services.gateway.commands import changed
from services.gateway.idempotency import Change
from services.gateway.lists import Sort
from services.gateway.parts import PAGE, Cursor, Limit, MinPosition, Parts, PartsOf, Reader, SortBy, changing
from services.gateway.principals import Permission
from services.gateway.routes.enrollments import add_names
from shared.events.message import Command, Instant
from shared.events.task import AssignTask, CompleteTask, OpenTask, SkipTask, SnoozeTask
from shared.ids import derived_id

router = APIRouter(prefix="/tasks", tags=["tasks"])

Writing = Annotated[Change, Depends(changing(Permission.TASKS_WRITE))]
SORTS = ("due_at",)


class NewTask(BaseModel):
    lead_id: UUID
    title: str = Field(min_length=1, max_length=300)
    notes: str | None = Field(default=None, max_length=10_000)
    due_at: Instant
    assignee: str | None = Field(default=None, max_length=200)


class Completion(BaseModel):
    outcome: str = Field(default="done", min_length=1, max_length=100)
    note: str | None = Field(default=None, max_length=10_000)


class Skip(BaseModel):
    note: str | None = Field(default=None, max_length=10_000)


class Snooze(BaseModel):
    until: Instant


class Assignment(BaseModel):
    """None takes it from whoever has it."""

    assignee: str | None = Field(max_length=200)


@router.get("")
async def list_tasks(
    parts: PartsOf,
    principal: Reader,
    status: Literal["open", "completed", "skipped", "withdrawn"] | None = None,
    assignee: str | None = None,
    lead_id: UUID | None = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
    sort: SortBy = None,
    min_position: MinPosition = None,
) -> dict[str, Any]:
    """Tasks, those due first first."""
    await parts.views.wait_for(min_position, ["tasks"])
    page = await parts.views.page(
        principal,
        "tasks",
        filter_={"status": status, "assignee": assignee, "lead_id": str(lead_id) if lead_id else None},
        sort=Sort.parse(sort, SORTS, "due_at"),
        limit=limit,
        cursor=cursor,
        present=presenting.task,
    )
    await add_names(parts, page["items"])
    return page


@router.post("", status_code=201)
async def open_task(parts: PartsOf, change: Writing, body: NewTask) -> Response:
    task_id = derived_id("task", change.principal.organization_id, change.message_id)
    return await _order(parts, change, OpenTask(task_id=task_id, **body.model_dump()), task_id, status=201)


@router.post("/{task_id}/complete")
async def complete(parts: PartsOf, change: Writing, task_id: UUID, body: Completion | None = None) -> Response:
    """Done; an enrollment that waits for it goes on."""
    done = body or Completion()
    return await _order(parts, change, CompleteTask(task_id=task_id, outcome=done.outcome, note=done.note), task_id)


@router.post("/{task_id}/skip")
async def skip(parts: PartsOf, change: Writing, task_id: UUID, body: Skip | None = None) -> Response:
    return await _order(parts, change, SkipTask(task_id=task_id, note=body.note if body else None), task_id)


@router.post("/{task_id}/snooze")
async def snooze(parts: PartsOf, change: Writing, task_id: UUID, body: Snooze) -> Response:
    return await _order(parts, change, SnoozeTask(task_id=task_id, until=body.until), task_id)


@router.post("/{task_id}/assign")
async def assign(parts: PartsOf, change: Writing, task_id: UUID, body: Assignment) -> Response:
    return await _order(parts, change, AssignTask(task_id=task_id, assignee=body.assignee), task_id)


async def _order(parts: Parts, change: Change, command: Command, task_id: UUID, *, status: int = 200) -> Response:
    async def produce() -> Any:
        answer = await parts.commands.send(change.principal, command, message_id=change.message_id, subject=task_id)
        return changed(answer, status=status)

    return await change.run(produce)
