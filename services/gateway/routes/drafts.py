"""Drafts: messages that a person approves, edits or rejects."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field, model_validator

from services.gateway.bodies import Body
from services.gateway.context import Context, may
from services.gateway.errors import NotFound
from services.gateway.lists import Paging, leads_called, listed
from services.gateway.routes.tasks import LISTING, MAX_NOTE, NOBODYS, Due, due_in, inbox, whose
from services.gateway.shapes import Created, Document, DocumentPage
from shared.events import task as orders
from shared.events.task import MOST_CONTENT

router = APIRouter(prefix="/drafts", tags=["drafts"])


class DraftEdit(Body):
    """What changes; absent fields stay. Texts are templates, with merge tags."""

    subject: str | None = Field(default=None, min_length=1, max_length=998)
    html: str | None = Field(default=None, max_length=MOST_CONTENT)
    text: str | None = Field(default=None, max_length=MOST_CONTENT)
    preheader: str | None = Field(default=None, max_length=998)

    @model_validator(mode="after")
    def _something(self) -> DraftEdit:
        if all(getattr(self, name) is None for name in orders.CONTENT_FIELDS):
            raise ValueError("at least one of subject, html, text and preheader must be given")
        return self


class DraftRejection(Body):
    """``then`` left out: what the step says follows."""

    reason: str = Field(min_length=1, max_length=MAX_NOTE)
    then: Literal["skip", "exit"] | None = None


@router.get("", response_model=DocumentPage)
async def drafts(
    asked: Paging,
    status: Literal["open", "approved", "rejected", "skipped", "withdrawn"] | None = Query(default="open"),
    due: Due | None = Query(default=None, description="Open ones only; today is the organization's day."),
    mine: bool = Query(default=False, description="Only those assigned to the member who asks."),
    unassigned: bool = Query(default=False, description=NOBODYS),
    assignee: str | None = Query(default=None, max_length=200),
    sequence_id: UUID | None = Query(default=None),
    lead_id: UUID | None = Query(default=None),
    context: Context = may("tasks:read"),
) -> dict[str, Any]:
    """Messages that wait for approval, with their content, the one due first first; ``q`` searches the lead."""
    filters = {
        "draft": True,
        "status": "open" if due else status,
        "assignee": await whose(context, mine=mine, unassigned=unassigned, assignee=assignee),
        "sequence_id": sequence_id and str(sequence_id),
        "lead_id": lead_id and str(lead_id),
    }
    called = await leads_called(context, asked.q)
    return await listed(context, LISTING, asked, filters, inbox(context), called, await due_in(context, due))


@router.get("/{draft_id}", response_model=Document)
async def draft(draft_id: UUID, context: Context = may("tasks:read")) -> dict[str, Any]:
    """A draft with its content."""
    found = await context.document("tasks", draft_id, "draft")
    if not found.get("draft"):
        raise NotFound("draft")
    return (await inbox(context)([found]))[0]


@router.patch("/{draft_id}", response_model=Created)
async def edit(draft_id: UUID, body: DraftEdit, context: Context = may("tasks:write")) -> Response:
    """Changes what it says; nothing goes out before it is approved."""
    return await context.change(lambda _: orders.EditDraft(task_id=draft_id, **body.model_dump()))


@router.post("/{draft_id}/approve", response_model=Created)
async def approve(draft_id: UUID, context: Context = may("tasks:write")) -> Response:
    """Sends it as soon as windows and limits allow."""
    return await context.change(lambda _: orders.ApproveDraft(task_id=draft_id))


@router.post("/{draft_id}/reject", response_model=Created)
async def reject(draft_id: UUID, body: DraftRejection, context: Context = may("tasks:write")) -> Response:
    """Does not send it; the enrollment goes on with the next step, or ends."""
    return await context.change(lambda _: orders.RejectDraft(task_id=draft_id, reason=body.reason, then=body.then))
