"""Trying a sequence before anything is sent: dry run and preview."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.gateway.context import Context, may
from services.gateway.times import Beginning
from services.gateway.trial_shapes import DryRun, Preview
from shared.events.definition import SequenceDefinition, StepId
from shared.events.lead import LeadBody
from shared.events.message import MOST
from shared.events.query import PlayedSignal, QueryDryRun, QueryPreview

router = APIRouter(prefix="/sequences", tags=["sequences"])


class OneLead(BaseModel):
    """``lead_id`` names a known lead, ``lead`` gives the fields of a made-up one. ``definition`` tries unsaved content,
    ``version`` a published one; without both the draft, else what runs."""

    model_config = ConfigDict(populate_by_name=True)

    lead_id: UUID | None = None
    lead: LeadBody | None = None
    version: int | None = Field(default=None, ge=1, le=MOST)
    definition: SequenceDefinition | None = None

    @model_validator(mode="after")
    def _one_lead(self) -> Self:
        if (self.lead_id is None) == (self.lead is None):
            raise ValueError("exactly one of lead_id and lead must be given")
        return self


class Trial(OneLead):
    """``from`` is the moment of entering, now when left out."""

    from_: Beginning | None = Field(default=None, alias="from")
    signals: list[PlayedSignal] = Field(default=[], max_length=200)


class OneMessage(OneLead):
    step_id: StepId


@router.post("/{sequence_id}/test", response_model=DryRun)
async def dry_run(sequence_id: UUID, body: Trial, context: Context = may("sequences:read")) -> dict[str, Any]:
    """What one lead would get: every step with its time, content and reason. Nothing is sent."""
    question = QueryDryRun(
        organization_id=context.principal.organization_id,
        sequence_id=sequence_id,
        lead_id=body.lead_id,
        lead=body.lead,
        from_=body.from_,
        signals=body.signals,
        version=body.version,
        definition=body.definition,
    )
    return await context.parts.commands.ask(context.principal.organization_id, question)


@router.post("/{sequence_id}/preview", response_model=Preview)
async def preview(sequence_id: UUID, body: OneMessage, context: Context = may("sequences:read")) -> dict[str, Any]:
    """One message as the lead would read it."""
    question = QueryPreview(
        organization_id=context.principal.organization_id,
        sequence_id=sequence_id,
        step_id=body.step_id,
        lead_id=body.lead_id,
        lead=body.lead,
        version=body.version,
        definition=body.definition,
    )
    return await context.parts.commands.ask(context.principal.organization_id, question)
