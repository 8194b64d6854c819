"""Enrollments: where leads stand, now and at any time, and orders to them."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field, model_validator

from services.gateway import present
from services.gateway.bodies import Body
from services.gateway.bulk_orders import MOST_NAMED, Targets, order_bulk
from services.gateway.context import Context, may
from services.gateway.errors import Refused
from services.gateway.filters import LeadFilter
from services.gateway.lists import Listing, Paging, leads_called, listed
from services.gateway.shapes import Created, Enrollment, EnrollmentPage, EnrollmentStatus, Items
from services.gateway.times import moment
from services.gateway.trial_shapes import EnrollmentThen
from services.gateway.waits import with_words
from shared.events import enrollment as orders
from shared.events.message import MOST, Instant
from shared.events.query import QueryAggregateEvents, QueryEnrollmentState

router = APIRouter(prefix="/enrollments", tags=["enrollments"])

ENROLLMENT_STATUSES: tuple[EnrollmentStatus, ...] = get_args(EnrollmentStatus)
LISTING = Listing("enrollments", {"started_at": -1}, "-started_at")


class StartAt(Body):
    at: Instant


class NewEnrollment(Body):
    """``start`` False leaves it pending until started by hand, ``{"at": …}`` until that moment, which must not have
    passed."""

    lead_id: UUID
    sequence_id: UUID
    start: bool | StartAt = True


class BulkEnrollment(Body):
    """Exactly one of ``lead_ids`` and ``filter`` (fields as in the list of leads)."""

    sequence_id: UUID
    lead_ids: list[UUID] | None = Field(default=None, max_length=MOST_NAMED)
    filter: LeadFilter | None = None
    start: bool | StartAt = True

    @model_validator(mode="after")
    def _one(self) -> BulkEnrollment:
        if (self.lead_ids is None) == (self.filter is None):
            raise ValueError("exactly one of lead_ids and filter must be given")
        return self


class Pause(Body):
    """``until`` must lie ahead; None: until resumed by hand."""

    until: Instant | None = None


class Cancellation(Body):
    reason: str = Field(default="cancelled", min_length=1, max_length=200)


class Advance(Body):
    """``skip`` ``wait`` runs the waiting step now, ``step`` passes it over. Rules about hours and limits hold, but for
    those passed over by name: a window does not pass over what protects the recipient."""

    skip: Literal["wait", "step"] = "wait"
    force_window: bool = Field(
        default=False, description="Windows of sequence, channel and organization, weekends and holidays do not count."
    )
    force_day_off: bool = Field(
        default=False, description="Days off of organization and sender, and the lead's absence, do not count."
    )
    force_quiet_hours: bool = Field(default=False, description="Quiet hours of SMS and WhatsApp do not count.")


def _begins(start: bool | StartAt) -> dict[str, Any]:
    """Fields of the order."""
    return {"start": start} if isinstance(start, bool) else {"start_at": start.at.isoformat()}


async def _as_asked(answer: Awaitable[Response]) -> Response:
    """Raises Refused, naming the beginning as the request does."""
    try:
        return await answer
    except Refused as error:
        fields = {"start_at": "start.at", "order.start_at": "start.at"}
        error.errors = [{**each, "field": fields.get(each["field"], each["field"])} for each in error.errors]
        raise


async def show(context: Context, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Enrollments with the names of their leads, sequences and steps."""
    leads = await context.parts.views.names_of(each["lead_id"] for each in found)
    names = await present.Names.of(context.parts.views, context.scope, found)
    return [present.enrollment(each, leads.get(each["lead_id"]), names) for each in found]


@router.get("", response_model=EnrollmentPage)
async def enrollments(
    asked: Paging,
    status: EnrollmentStatus | None = Query(default=None),
    sequence_id: UUID | None = Query(default=None),
    lead_id: UUID | None = Query(default=None),
    context: Context = may("enrollments:read"),
) -> dict[str, Any]:
    """Enrollments, newest first; ``q`` searches the lead."""
    # The index of a sequence's enrollments has their status before the time they began.
    every = {"$in": list(ENROLLMENT_STATUSES)} if sequence_id else None
    filters = {
        "status": status or every,
        "sequence_id": sequence_id and str(sequence_id),
        "lead_id": lead_id and str(lead_id),
    }
    called = await leads_called(context, asked.q)
    return await listed(context, LISTING, asked, filters, lambda found: show(context, found), called)


@router.post("", response_model=Created, status_code=201)
async def enroll(body: NewEnrollment, context: Context = may("enrollments:write")) -> Response:
    """Puts a lead into a sequence's active version."""
    order = orders.Enroll(lead_id=body.lead_id, sequence_id=body.sequence_id, **_begins(body.start))
    return await _as_asked(context.change(lambda _: order, status=201))


@router.post("/bulk", response_model=Created, status_code=202)
async def enroll_many(body: BulkEnrollment, context: Context = may("enrollments:write")) -> Response:
    """Puts many leads, or all that a filter finds, into a sequence's active version; ``bulks/{bulk_id}`` tells the
    rest."""
    order = {"sequence_id": str(body.sequence_id), **_begins(body.start)}
    chosen = body.filter.model_dump(mode="json", exclude_unset=True) if body.filter is not None else None
    targets = Targets(ids=body.lead_ids, filter=chosen)
    return await _as_asked(order_bulk(context, "enroll", order, targets, place="filter"))


@router.get("/{enrollment_id}", response_model=Created, responses={200: {"model": Enrollment | EnrollmentThen}})
async def enrollment(
    enrollment_id: UUID,
    at: datetime | None = Query(default=None, description="As it was at this time."),
    version: int | None = Query(default=None, ge=1, le=MOST, description="As it was after so many of its own events."),
    context: Context = may("enrollments:read"),
) -> dict[str, Any]:
    """An enrollment with its execution log; with ``at`` or ``version`` as it was then, from the log itself, and what it
    would have done next."""
    found = await context.document("enrollments", enrollment_id, "enrollment")
    [summary] = await show(context, [found])
    if at is None and version is None:
        more = {"restarts": found.get("restarts"), "changes": found.get("changes") or []}
        return {**await with_words(context, summary), **more, "steps": present.executions(found)}
    question = QueryEnrollmentState(enrollment_id=enrollment_id, at=moment("at", at), version=version)
    then = await context.parts.commands.ask(context.principal.organization_id, question)
    names = ("lead_name", "sequence_name")
    return {**then, **{name: summary[name] for name in names}}


@router.get("/{enrollment_id}/events", response_model=Items)
async def events(
    enrollment_id: UUID,
    after_version: int = Query(default=0, ge=0, le=MOST),
    limit: int = Query(default=200, ge=1, le=1_000),
    context: Context = may("enrollments:read"),
) -> dict[str, Any]:
    """The enrollment's own events as CloudEvents, oldest first."""
    await context.document("enrollments", enrollment_id, "enrollment")
    question = QueryAggregateEvents(aggregate_id=enrollment_id, after_version=after_version, limit=limit)
    return {"items": (await context.parts.commands.ask(context.principal.organization_id, question))["events"]}


@router.post("/{enrollment_id}/start", response_model=Created)
async def start(enrollment_id: UUID, context: Context = may("enrollments:write")) -> Response:
    """Begins a pending enrollment."""
    return await context.change(lambda _: orders.StartEnrollment(enrollment_id=enrollment_id))


@router.post("/{enrollment_id}/pause", response_model=Created)
async def pause(
    enrollment_id: UUID, body: Pause | None = None, context: Context = may("enrollments:write")
) -> Response:
    """Holds it where it stands; a step in flight is asked to stop."""
    until = body.until if body else None
    return await context.change(lambda _: orders.PauseEnrollment(enrollment_id=enrollment_id, until=until))


@router.post("/{enrollment_id}/resume", response_model=Created)
async def resume(enrollment_id: UUID, context: Context = may("enrollments:write")) -> Response:
    """Goes on after a pause."""
    return await context.change(lambda _: orders.ResumeEnrollment(enrollment_id=enrollment_id))


@router.post("/{enrollment_id}/cancel", response_model=Created)
async def cancel(
    enrollment_id: UUID, body: Cancellation | None = None, context: Context = may("enrollments:write")
) -> Response:
    """Ends it for good."""
    reason = (body or Cancellation()).reason
    return await context.change(lambda _: orders.CancelEnrollment(enrollment_id=enrollment_id, reason=reason))


@router.post("/{enrollment_id}/advance", response_model=Created)
async def advance(
    enrollment_id: UUID, body: Advance | None = None, context: Context = may("enrollments:write")
) -> Response:
    """Goes on by hand, where the sequence allows it."""
    asked = body or Advance()
    order = orders.AdvanceEnrollment(enrollment_id=enrollment_id, **asked.model_dump())
    return await context.change(lambda _: order)


@router.post("/{enrollment_id}/restart", response_model=Created, status_code=201)
async def restart(enrollment_id: UUID, context: Context = may("enrollments:write")) -> Response:
    """Begins again from the first step, as a new enrollment; an open one leaves."""
    return await context.change(lambda _: orders.RestartEnrollment(enrollment_id=enrollment_id), status=201)
