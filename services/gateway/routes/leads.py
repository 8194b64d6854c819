"""Leads: the people, their timeline, and what members change by hand."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from services.gateway import presenting
from services.gateway.commands import changed
from services.gateway.idempotency import Change
from services.gateway.lists import Sort
from services.gateway.parts import PAGE, Cursor, Limit, MinPosition, Parts, PartsOf, Reader, SortBy, changing
from services.gateway.principals import Permission
from services.gateway.problems import Invalid
from shared.events.lead import EditLead, EraseLead, LeadBody, LeadCreated, ScoreLead, TagLead
from shared.events.message import Command, Instant
from shared.persistence.search import query_terms

router = APIRouter(prefix="/leads", tags=["leads"])

Writing = Annotated[Change, Depends(changing(Permission.LEADS_WRITE))]
Erasing = Annotated[Change, Depends(changing(Permission.LEADS_ERASE))]
SORTS = ("captured_at", "score", "name", "last_activity_at")


class NewLead(BaseModel):
    """As a funnel sends it, without the organization: that is the asker's."""

    funnel_id: str | None = Field(default=None, max_length=200)
    occurred_at: Instant | None = None
    lead: LeadBody


class Tags(BaseModel):
    add: list[str] = Field(default=[], max_length=50)
    remove: list[str] = Field(default=[], max_length=50)


class Score(BaseModel):
    """Exactly one of ``add`` and ``set``."""

    add: int | None = Field(default=None, ge=-100, le=100)
    set: int | None = Field(default=None, ge=0, le=100)
    why: str = Field(default="by_hand", min_length=1, max_length=200)


@router.get("")
async def list_leads(
    parts: PartsOf,
    principal: Reader,
    q: Annotated[str | None, Query(max_length=320, description="Beginnings of names, company, e-mail or phone")] = None,
    status: str | None = None,
    tag: str | None = None,
    source: str | None = None,
    funnel_id: str | None = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
    sort: SortBy = None,
    min_position: MinPosition = None,
) -> dict[str, Any]:
    """Leads, newest first."""
    await parts.views.wait_for(min_position, ["leads"])
    terms = query_terms(q) if q else []
    return await parts.views.page(
        principal,
        "leads",
        filter_={
            "search": {"$all": terms} if terms else None,
            "status": status,
            "tags": tag,
            "source": source,
            "funnel_id": funnel_id,
        },
        sort=Sort.parse(sort, SORTS, "-captured_at"),
        limit=limit,
        cursor=cursor,
        present=presenting.lead,
    )


@router.post("", status_code=201)
async def create_lead(parts: PartsOf, change: Writing, body: NewLead) -> Response:
    """Take a lead in, as if a funnel had sent it: a known one is merged."""
    if not body.lead.email and not body.lead.phone:
        problem = "one of lead.email and lead.phone is required"
        raise Invalid("The lead cannot be reached.", errors=[{"field": "lead", "problem": problem}])
    fact = LeadCreated(
        organization_id=change.principal.organization_id,
        funnel_id=body.funnel_id,
        occurred_at=body.occurred_at,
        lead=body.lead,
    )

    async def produce() -> Any:
        return changed(await parts.commands.send(change.principal, fact, message_id=change.message_id), status=201)

    return await change.run(produce)


@router.get("/{lead_id}")
async def get_lead(
    parts: PartsOf, principal: Reader, lead_id: UUID, min_position: MinPosition = None
) -> dict[str, Any]:
    await parts.views.wait_for(min_position, ["leads"])
    return presenting.lead(await parts.views.get(principal, "leads", str(lead_id), what="lead"))


@router.patch("/{lead_id}")
async def edit_lead(parts: PartsOf, change: Writing, lead_id: UUID, body: LeadBody) -> Response:
    """Change fields by hand; absent ones stay."""
    return await _order(parts, change, EditLead(lead_id=lead_id, lead=body), lead_id)


@router.get("/{lead_id}/timeline")
async def timeline(
    parts: PartsOf,
    principal: Reader,
    lead_id: UUID,
    limit: Limit = PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
) -> dict[str, Any]:
    """What happened with a lead, newest first."""
    await parts.views.wait_for(min_position, ["timeline"])
    await parts.views.get(principal, "leads", str(lead_id), what="lead")
    return await parts.views.page(
        principal,
        "timeline",
        filter_={"lead_id": str(lead_id)},
        sort=Sort("position", descending=True),
        limit=limit,
        cursor=cursor,
        present=presenting.happening,
    )


@router.post("/{lead_id}/tags")
async def tag_lead(parts: PartsOf, change: Writing, lead_id: UUID, body: Tags) -> Response:
    return await _order(parts, change, TagLead(lead_id=lead_id, add=body.add, remove=body.remove), lead_id)


@router.post("/{lead_id}/score")
async def score_lead(parts: PartsOf, change: Writing, lead_id: UUID, body: Score) -> Response:
    if (body.add is None) == (body.set is None):
        problem = "exactly one of add and set must be given"
        raise Invalid("The score cannot be changed so.", errors=[{"field": "add", "problem": problem}])
    return await _order(parts, change, ScoreLead(lead_id=lead_id, add=body.add, set=body.set, why=body.why), lead_id)


@router.post("/{lead_id}/erase")
async def erase_lead(parts: PartsOf, change: Erasing, lead_id: UUID) -> Response:
    """Forget a person for good. Nothing brings the personal fields back."""
    return await _order(parts, change, EraseLead(lead_id=lead_id), lead_id)


async def _order(parts: Parts, change: Change, command: Command, lead_id: UUID) -> Response:
    async def produce() -> Any:
        answer = await parts.commands.send(
            change.principal, command, message_id=change.message_id, subject=lead_id, lead_id=lead_id
        )
        return changed(answer)

    return await change.run(produce)
