"""The execution log, and the sends that come next."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import StringConstraints

from services.gateway import present
from services.gateway.context import Context, may
from services.gateway.errors import BadRequest
from services.gateway.lists import Listing, Paging, leads_called, listed
from services.gateway.shapes import ExecutionPage, UpcomingPage
from services.gateway.times import moment
from shared.events.definition import StepId
from shared.events.kinds import Channel
from shared.persistence.search import query_terms

router = APIRouter(tags=["enrollments"])

Status = Literal["due", "sent", "deferred", "failed", "stopped", "in_doubt", "skipped"]
STATUSES: tuple[Status, ...] = ("due", "sent", "deferred", "failed", "stopped", "in_doubt", "skipped")
CHANNELS = tuple(each.value for each in Channel)

EXECUTIONS = Listing("messages", {"due_at": -1}, "-due_at")
UPCOMING = Listing("enrollments", {"upcoming_at": 1}, "upcoming_at")

VariantName = Annotated[str, StringConstraints(max_length=64)]


def _attempts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """In order; each with ``due_at``, and ``ended_at``, ``outcome`` and ``error`` once it has ended."""
    log: dict[str, dict[str, Any]] = document.get("log") or {}
    return [{"attempt": int(number), **log[number]} for number in sorted(log, key=int)]


@router.get("/executions", response_model=ExecutionPage)
async def executions(
    asked: Paging,
    status: Status | None = Query(default=None),
    sequence_id: UUID | None = Query(default=None),
    step_id: StepId | None = Query(default=None),
    channel: Channel | None = Query(default=None),
    variant: VariantName | None = Query(default=None),
    lead_id: UUID | None = Query(default=None),
    since: datetime | None = Query(default=None, alias="from"),
    until: datetime | None = Query(default=None, alias="to"),
    error: str | None = Query(default=None, max_length=200, description="Words, or beginnings of words."),
    context: Context = may("messages:read"),
) -> dict[str, Any]:
    """Every message that was due and every step passed over, the last first: its attempts, the provider's answer, the
    variant and why. ``q`` searches the lead. ``step_id`` and ``variant`` need their ``sequence_id``."""
    if (step_id is not None or variant is not None) and sequence_id is None:
        problem = "is required with step_id and variant"
        raise BadRequest(
            f"sequence_id {problem}", code="sequence_wanted", errors=[{"field": "sequence_id", "problem": problem}]
        )
    terms = query_terms(error or "")
    filters = {
        "status": status or {"$in": list(STATUSES)},
        "sequence_id": sequence_id and str(sequence_id),
        "step_id": step_id,
        "channel": channel,
        "variant": variant,
        "lead_id": lead_id and str(lead_id),
        "due_at": _between(since, until),
    }
    found_by = {"troubled": True, "error_tokens": {"$all": terms}} if terms else {}
    called = await leads_called(context, asked.q)

    async def show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        leads = await context.parts.views.names_of(each.get("lead_id") for each in found)
        names = await present.Names.of(context.parts.views, context.scope, found)
        return [
            {
                **present.shown(each),
                "attempts": _attempts(each),
                "lead_name": leads.get(each.get("lead_id") or ""),
                "sequence_name": names.sequence(each.get("sequence_id")),
                "step_name": names.step(each.get("sequence_id"), each.get("step_id")),
            }
            for each in found
        ]

    return await listed(context, EXECUTIONS, asked, filters, show, called, found_by)


@router.get("/enrollments/upcoming", response_model=UpcomingPage)
async def upcoming(
    asked: Paging,
    sequence_id: UUID | None = Query(default=None),
    channel: Channel | None = Query(default=None),
    since: datetime | None = Query(default=None, alias="from"),
    until: datetime | None = Query(default=None, alias="to"),
    context: Context = may("enrollments:read"),
) -> dict[str, Any]:
    """Sends that have a time ahead, the next first; ``q`` searches the lead. What waits for a person, or is paused with
    its enrollment, its sequence or a brake, has none; what is due is in the execution log."""
    filters = {
        "upcoming": True,
        "sequence_id": sequence_id and str(sequence_id),
        "upcoming_on": channel or {"$in": list(CHANNELS)},
        "upcoming_at": _between(since, until),
    }

    async def show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        leads = await context.parts.views.names_of(each["lead_id"] for each in found)
        names = await present.Names.of(context.parts.views, context.scope, found)
        return [
            {
                "enrollment_id": each["_id"],
                "lead_id": each["lead_id"],
                "lead_name": leads.get(each["lead_id"]),
                "sequence_id": each["sequence_id"],
                "sequence_name": names.sequence(each["sequence_id"]),
                "step_id": each["next"]["step_id"],
                "step_name": names.step(each["sequence_id"], each["next"]["step_id"]),
                "execution": each["next"]["execution"],
                "channel": each["upcoming_on"],
                "at": each["upcoming_at"],
                "why": (each.get("waiting_for") or {}).get("why"),
                "position": present.position_of(each),
            }
            for each in found
        ]

    called, held = await leads_called(context, asked.q), await _held_sequences(context)
    return await listed(context, UPCOMING, asked, filters, show, called, held)


async def _held_sequences(context: Context) -> dict[str, Any]:
    """A condition that leaves out what belongs to sequences that send nothing now; an organization has few. An archived
    one lets those inside finish.
    """
    sequences = await context.parts.views.collection("sequences")
    holds = {"$or": [{"status": "paused"}, {"braked": {"$ne": None}}]}
    found = await sequences.find(context.scope.filter(holds), {"_id": 1}).to_list()
    return {"sequence_id": {"$nin": [each["_id"] for each in found]}} if found else {}


def _between(since: datetime | None, until: datetime | None) -> dict[str, datetime] | None:
    """A range, its beginning inside and its end outside. Raises BadRequest for a time that cannot be read as one."""
    bounds = {"$gte": moment("from", since), "$lt": moment("to", until)}
    return {name: value for name, value in bounds.items() if value is not None} or None
