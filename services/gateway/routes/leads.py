"""Leads: who they are, what happened with them, and orders to them."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field, model_validator

from services.gateway import present
from services.gateway.bodies import Body
from services.gateway.context import Context, may
from services.gateway.erasure import Erasure
from services.gateway.errors import BadRequest, Invalid, Refused
from services.gateway.filters import Filtered
from services.gateway.lead_fields import checked, patched
from services.gateway.lists import Listing, Paging, listed
from services.gateway.shapes import ActivityPage, Created, Document, DocumentPage
from shared.events import lead as orders
from shared.events.message import Instant
from shared.events.patterns import CURRENCY

Group = Literal["message", "signal", "task", "call", "meeting", "email", "note", "enrollment", "change"]

router = APIRouter(prefix="/leads", tags=["leads"])

LISTING = Listing("leads", {"captured_at": -1, "score": -1, "name": 1, "last_activity_at": -1}, "-captured_at")
TIMELINE = Listing("timeline", {"position": -1}, "-position")


class NewLead(Body):
    """One of ``lead.email`` and ``lead.phone`` is required; unknown fields are kept under ``custom_fields``."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=orders.OPEN)

    funnel_id: str | None = Field(default=None, max_length=200)
    occurred_at: Instant | None = Field(
        default=None, description="Decides between changes that come out of order; at most a day ahead."
    )
    lead: orders.LeadBody

    @model_validator(mode="before")
    @classmethod
    def _keep_unknown_fields(cls, data: Any) -> Any:
        return orders.with_unknown_fields_in_lead(data, cls.model_fields)


class Tags(Body):
    add: list[orders.Tag] = Field(default=[], max_length=100)
    remove: list[orders.Tag] = Field(default=[], max_length=100)


class Score(Body):
    """Exactly one of ``add`` and ``set``."""

    add: int | None = Field(default=None, ge=-100, le=100)
    set: int | None = Field(default=None, ge=0, le=100)
    why: str = Field(default="by_hand", min_length=1, max_length=200)


class Conversion(Body):
    """``at``: when, not ahead of now; just now when left out."""

    value: float | None = Field(default=None, ge=0, le=1e15)
    currency: str | None = Field(default=None, pattern=CURRENCY)
    at: Instant | None = None


class Ownership(Body):
    """``owner``: a member's id; null: nobody's."""

    owner: UUID | None


async def _show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [present.lead(each) for each in found]


@router.get("", response_model=DocumentPage)
async def leads(asked: Paging, chosen: Filtered, context: Context = may("leads:read")) -> dict[str, Any]:
    """Leads, newest first; ``q`` finds the beginnings of names, companies, e-mails, phones and external ids."""
    return await listed(context, LISTING, asked, {}, _show, chosen.condition())


@router.post("", response_model=Created, status_code=201)
async def create(body: NewLead, context: Context = may("leads:write")) -> Response:
    """The same intake as a funnel's, with the answer waited for."""
    message = orders.LeadCreated(
        organization_id=context.principal.organization_id,
        funnel_id=body.funnel_id,
        occurred_at=body.occurred_at,
        lead=checked(body.lead, "lead."),
    )
    return await context.change(lambda _: message, status=201)


@router.get("/{lead_id}", response_model=Document)
async def lead(lead_id: UUID, context: Context = may("leads:read")) -> dict[str, Any]:
    """A lead."""
    return present.lead(await context.document("leads", lead_id, "lead"))


@router.patch("/{lead_id}", response_model=Created)
async def edit(lead_id: UUID, body: orders.LeadBody, context: Context = may("leads:write")) -> Response:
    """Changes fields by hand. A JSON merge patch (RFC 7396): absent ones stay, null clears, a list replaces. A consent
    given here lifts an unsubscribe."""
    patch = patched(body)
    try:
        return await context.change(lambda _: orders.EditLead(lead_id=lead_id, **patch))
    except Refused as refused:  # the fields are named as they were sent
        refused.errors = [{**each, "field": each.get("field", "").removeprefix("lead.")} for each in refused.errors]
        raise


@router.get("/{lead_id}/timeline", response_model=ActivityPage)
async def timeline(
    lead_id: UUID,
    asked: Paging,
    group: list[Group] = Query(default=[], max_length=9),
    since: Instant | None = Query(default=None, description="From this moment on."),
    until: Instant | None = Query(default=None, description="Before this moment."),
    context: Context = may("leads:read"),
) -> dict[str, Any]:
    """What happened with the lead, newest first: messages, signals, tasks, calls, meetings, e-mails, notes, changes."""
    found = await context.document("leads", lead_id, "lead")
    if since is not None and until is not None and since >= until:
        raise BadRequest(
            "since must be before until",
            code="bad_time",
            errors=[{"field": "since", "problem": "must be before until"}],
        )

    async def show(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        names = await present.Names.of(context.parts.views, context.scope, entries)
        return [present.activity(each, found.get("name"), names) for each in entries]

    within = {**({"$gte": since} if since else {}), **({"$lt": until} if until else {})}
    filters = {
        "lead_id": str(lead_id),
        "group": {"$in": sorted(set(group))} if group else None,
        "at": within or None,
    }
    return await listed(context, TIMELINE, asked, filters, show)


@router.post("/{lead_id}/tags", response_model=Created)
async def tag(lead_id: UUID, body: Tags, context: Context = may("leads:write")) -> Response:
    """Adds and removes tags."""
    return await context.change(lambda _: orders.TagLead(lead_id=lead_id, add=body.add, remove=body.remove))


@router.post("/{lead_id}/score", response_model=Created)
async def score(lead_id: UUID, body: Score, context: Context = may("leads:write")) -> Response:
    """Moves or sets the score, within 0 and 100."""
    if (body.add is None) == (body.set is None):
        problem = "exactly one of add and set is required"
        raise Invalid(problem, code="invalid", errors=[{"field": name, "problem": problem} for name in ("add", "set")])
    return await context.change(lambda _: orders.ScoreLead(lead_id=lead_id, add=body.add, set=body.set, why=body.why))


@router.post("/{lead_id}/convert", response_model=Created)
async def convert(lead_id: UUID, body: Conversion | None = None, context: Context = may("leads:write")) -> Response:
    """The lead converted: sequences that stop on a conversion stop."""
    done = body or Conversion()
    return await context.change(
        lambda _: orders.ConvertLead(lead_id=lead_id, value=done.value, currency=done.currency, at=done.at)
    )


@router.post("/{lead_id}/assign", response_model=Created)
async def assign(lead_id: UUID, body: Ownership, context: Context = may("leads:write")) -> Response:
    """Makes an active member the lead's owner, or nobody."""
    return await context.change(lambda _: orders.AssignLead(lead_id=lead_id, owner=body.owner))


@router.post("/{lead_id}/erase", response_model=Created)
async def erase(lead_id: UUID, context: Context = may("leads:erase")) -> Response:
    """Forgets the person; nothing brings the data back. ``GET leads/{id}/erasure`` tells how far it is."""
    answer = await context.change(lambda _: orders.EraseLead(lead_id=lead_id))
    await Erasure(context.parts.database, context.parts.views).forget(lead_id)
    return answer
