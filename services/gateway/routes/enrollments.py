"""Enrollments: where leads stand, their past, and orders to them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, BaseModel, Field

from services.gateway import presenting
from services.gateway.commands import changed
from services.gateway.idempotency import Change
from services.gateway.lists import Sort
from services.gateway.parts import PAGE, Cursor, Limit, MinPosition, Parts, PartsOf, Reader, SortBy, changing
from services.gateway.principals import Permission
from shared.events.enrollment import CancelEnrollment, Enroll, PauseEnrollment, ResumeEnrollment, StartEnrollment
from shared.events.message import Command
from shared.events.query import QueryAggregateEvents, QueryEnrollmentState

router = APIRouter(prefix="/enrollments", tags=["enrollments"])

Writing = Annotated[Change, Depends(changing(Permission.ENROLLMENTS_WRITE))]
SORTS = ("started_at",)
Status = Literal["pending", "active", "paused", "completed", "exited"]


class Enrolment(BaseModel):
    """``start`` False leaves it pending until it is started by hand."""

    lead_id: UUID
    sequence_id: UUID
    start: bool = True


class Pause(BaseModel):
    """``until``: None = until resumed by hand."""

    until: AwareDatetime | None = None


class Cancellation(BaseModel):
    reason: str = Field(default="cancelled", min_length=1, max_length=200)


@router.get("")
async def list_enrollments(
    parts: PartsOf,
    principal: Reader,
    lead_id: UUID | None = None,
    sequence_id: UUID | None = None,
    status: Status | None = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
    sort: SortBy = None,
    min_position: MinPosition = None,
) -> dict[str, Any]:
    """Enrollments, newest first."""
    await parts.views.wait_for(min_position, ["enrollments"])
    page = await parts.views.page(
        principal,
        "enrollments",
        filter_={
            "lead_id": str(lead_id) if lead_id else None,
            "sequence_id": str(sequence_id) if sequence_id else None,
            "status": status,
        },
        sort=Sort.parse(sort, SORTS, "-started_at"),
        limit=limit,
        cursor=cursor,
        present=presenting.enrollment,
    )
    await add_names(parts, page["items"])
    return page


@router.post("", status_code=201)
async def enroll(parts: PartsOf, change: Writing, body: Enrolment) -> Response:
    """Put a lead into a sequence's running version."""
    command = Enroll(lead_id=body.lead_id, sequence_id=body.sequence_id, start=body.start)

    async def produce() -> Any:
        answer = await parts.commands.send(
            change.principal, command, message_id=change.message_id, lead_id=body.lead_id
        )
        return changed(answer, status=201)

    return await change.run(produce)


@router.get("/{enrollment_id}")
async def get_enrollment(
    parts: PartsOf,
    principal: Reader,
    enrollment_id: UUID,
    at: Annotated[AwareDatetime | None, Query(description="As it was at this moment")] = None,
    version: Annotated[int | None, Query(ge=1, description="As it was after this many of its events")] = None,
    min_position: MinPosition = None,
) -> dict[str, Any]:
    await parts.views.wait_for(min_position, ["enrollments"])
    known = await parts.views.get(principal, "enrollments", str(enrollment_id), what="enrollment")
    if at is not None or version is not None:
        question = QueryEnrollmentState(enrollment_id=enrollment_id, at=at, version=version)
        return (await parts.commands.send(principal, question, subject=enrollment_id)).result
    found = presenting.enrollment(known)
    await add_names(parts, [found])
    return found


@router.get("/{enrollment_id}/events")
async def events(
    parts: PartsOf,
    principal: Reader,
    enrollment_id: UUID,
    after_version: Annotated[int, Query(ge=0)] = 0,
    at: Annotated[datetime | None, Query()] = None,
) -> dict[str, Any]:
    """Its own events as CloudEvents, oldest first."""
    await parts.views.get(principal, "enrollments", str(enrollment_id), what="enrollment")
    question = QueryAggregateEvents(aggregate_id=enrollment_id, after_version=after_version, at=at)
    result = (await parts.commands.send(principal, question, subject=enrollment_id)).result
    return {"items": result["events"], "next_cursor": None}


@router.post("/{enrollment_id}/start")
async def start(parts: PartsOf, change: Writing, enrollment_id: UUID) -> Response:
    return await _order(parts, change, StartEnrollment(enrollment_id=enrollment_id), enrollment_id)


@router.post("/{enrollment_id}/pause")
async def pause(parts: PartsOf, change: Writing, enrollment_id: UUID, body: Pause | None = None) -> Response:
    """Hold it where it stands; a step on its way is asked to stop."""
    command = PauseEnrollment(enrollment_id=enrollment_id, until=body.until if body else None)
    return await _order(parts, change, command, enrollment_id)


@router.post("/{enrollment_id}/resume")
async def resume(parts: PartsOf, change: Writing, enrollment_id: UUID) -> Response:
    return await _order(parts, change, ResumeEnrollment(enrollment_id=enrollment_id), enrollment_id)


@router.post("/{enrollment_id}/cancel")
async def cancel(parts: PartsOf, change: Writing, enrollment_id: UUID, body: Cancellation | None = None) -> Response:
    command = CancelEnrollment(enrollment_id=enrollment_id, reason=(body or Cancellation()).reason)
    return await _order(parts, change, command, enrollment_id)


async def add_names(parts: Parts, items: list[dict[str, Any]]) -> None:
    """Names of the leads, joined on reading: they are kept in one place only."""
    names = await parts.reader.names_of(item.get("lead_id") for item in items)
    for item in items:
        item["lead_name"] = names.get(item.get("lead_id") or "")


async def _order(parts: Parts, change: Change, command: Command, enrollment_id: UUID) -> Response:
    async def produce() -> Any:
        answer = await parts.commands.send(
            change.principal, command, message_id=change.message_id, subject=enrollment_id
        )
        return changed(answer)

    return await change.run(produce)
