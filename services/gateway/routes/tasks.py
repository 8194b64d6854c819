"""Tasks: what people must do."""

from __future__ import annotations

from datetime import UTC, timedelta
from functools import partial
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response
from pydantic import Field

from services.gateway import assignees, present
from services.gateway.bodies import Body
from services.gateway.context import Context, may
from services.gateway.lists import Listing, Paging, Show, leads_called, listed
from services.gateway.shapes import Created, DocumentPage
from shared.events import task as orders
from shared.events.kinds import TaskKind
from shared.events.message import Instant
from shared.ids import derived_id

router = APIRouter(prefix="/tasks", tags=["tasks"])

LISTING = Listing("tasks", {"due_at": 1}, "due_at")
MAX_NOTE = 10_000
Due = Literal["overdue", "today", "upcoming"]
NOBODYS = "Those that no active member has; with `mine` or `assignee`, theirs too."


class NewTask(Body):
    lead_id: UUID
    kind: TaskKind = "task"
    title: str = Field(min_length=1, max_length=300)
    notes: str | None = Field(default=None, max_length=MAX_NOTE)
    due_at: Instant
    assignee: str | None = Field(default=None, max_length=200)


class Completion(Body):
    """``outcome`` of a call is connected, voicemail, no_answer or wrong_number."""

    outcome: str = Field(default="done", min_length=1, max_length=100)
    note: str | None = Field(default=None, max_length=MAX_NOTE)


class Note(Body):
    note: str | None = Field(default=None, max_length=MAX_NOTE)


class Snooze(Body):
    """``until`` must lie ahead."""

    until: Instant


class Assignment(Body):
    """``assignee`` None: nobody's."""

    assignee: str | None = Field(max_length=200)


def shower(context: Context) -> Show:
    """Shows tasks, or what else belongs to a step, with the names of their leads, sequences and steps."""
    return partial(present.with_names, context.parts.views, context.scope)


def inbox(context: Context) -> Show:
    """The same of tasks and drafts; those of a member who is gone as nobody's."""

    async def show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        left = await _gone(context)
        return [assignees.as_of_today(each, left) for each in await shower(context)(found)]

    return show


async def whose(context: Context, *, mine: bool, unassigned: bool, assignee: str | None) -> Any:
    """A condition on the assignee; None for everybody's."""
    if not unassigned:
        return str(context.principal.id) if mine else assignee
    own = [str(context.principal.id)] if mine else [assignee] if assignee else []
    return {"$in": [None, *own, *await _gone(context)]}


async def _gone(context: Context) -> list[str]:
    return assignees.gone(await context.parts.directory.organization(context.principal.organization_id))


async def due_in(context: Context, due: Due | None) -> dict[str, Any]:
    """A condition on when a task is due, seen from now. Empty without ``due``."""
    now = context.parts.clock.now()
    if due is None:
        return {}
    if due == "overdue":
        return {"due_at": {"$lt": now}}
    organization = await context.parts.directory.organization(context.principal.organization_id) or {}
    today = now.astimezone(ZoneInfo(organization.get("timezone") or "UTC")).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    tomorrow = (today + timedelta(days=1)).astimezone(UTC)
    return {"due_at": {"$gte": today.astimezone(UTC), "$lt": tomorrow} if due == "today" else {"$gte": tomorrow}}


@router.get("", response_model=DocumentPage)
async def tasks(
    asked: Paging,
    status: Literal["open", "completed", "skipped", "withdrawn"] | None = Query(default=None),
    due: Due | None = Query(default=None, description="Open ones only; today is the organization's day."),
    kind: Literal["task", "call", "reminder", "social", "identity_clash"] | None = Query(default=None),
    mine: bool = Query(default=False, description="Only those assigned to the member who asks."),
    unassigned: bool = Query(default=False, description=NOBODYS),
    assignee: str | None = Query(default=None, max_length=200),
    sequence_id: UUID | None = Query(default=None),
    lead_id: UUID | None = Query(default=None),
    context: Context = may("tasks:read"),
) -> dict[str, Any]:
    """The inbox: tasks, the one due first first; ``q`` searches the lead. Drafts have a list of their own. An open
    task of a member who is not active any more has no ``assignee``; ``assigned_before`` says whose it was."""
    filters = {
        "draft": False,
        "status": "open" if due else status,
        "kind": kind,
        "assignee": await whose(context, mine=mine, unassigned=unassigned, assignee=assignee),
        "sequence_id": sequence_id and str(sequence_id),
        "lead_id": lead_id and str(lead_id),
    }
    called = await leads_called(context, asked.q)
    return await listed(context, LISTING, asked, filters, inbox(context), called, await due_in(context, due))


@router.post("", response_model=Created, status_code=201)
async def create(body: NewTask, context: Context = may("tasks:write")) -> Response:
    """Makes a task by hand."""
    return await context.change(
        lambda command_id: orders.OpenTask(
            task_id=derived_id("task", command_id),
            lead_id=body.lead_id,
            kind=body.kind,
            title=body.title,
            notes=body.notes,
            due_at=body.due_at,
            assignee=body.assignee,
        ),
        status=201,
    )


@router.post("/{task_id}/complete", response_model=Created)
async def complete(task_id: UUID, body: Completion | None = None, context: Context = may("tasks:write")) -> Response:
    """Done; an enrollment that waits for it goes on, or tries the call again."""
    done = body or Completion()
    return await context.change(lambda _: orders.CompleteTask(task_id=task_id, outcome=done.outcome, note=done.note))


@router.post("/{task_id}/skip", response_model=Created)
async def skip(task_id: UUID, body: Note | None = None, context: Context = may("tasks:write")) -> Response:
    """Not done, and not needed."""
    return await context.change(lambda _: orders.SkipTask(task_id=task_id, note=body.note if body else None))


@router.post("/{task_id}/snooze", response_model=Created)
async def snooze(task_id: UUID, body: Snooze, context: Context = may("tasks:write")) -> Response:
    """Due later."""
    return await context.change(lambda _: orders.SnoozeTask(task_id=task_id, until=body.until))


@router.post("/{task_id}/assign", response_model=Created)
async def assign(task_id: UUID, body: Assignment, context: Context = may("tasks:write")) -> Response:
    """Somebody else's, or nobody's."""
    return await context.change(lambda _: orders.AssignTask(task_id=task_id, assignee=body.assignee))
