"""Why a lead got something, or did not: answered from what was recorded."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Query

from services.gateway.context import Context, may
from services.gateway.errors import Invalid
from services.gateway.trial_shapes import Explained
from shared.events.definition import StepId
from shared.events.query import QueryWhy

router = APIRouter()


@router.get("/leads/{lead_id}/why", response_model=Explained, tags=["leads"])
async def why_of_a_lead(
    lead_id: UUID,
    sequence_id: UUID | None = Query(default=None, description="About this sequence; all when left out."),
    step_id: StepId | None = Query(default=None, description="About this step of it."),
    context: Context = may("leads:read"),
) -> dict[str, Any]:
    """Why the lead got a step or did not: where it stands in each enrollment, or why there is none, and every recorded
    reason: matching, skips, waits, branches, stops, limits, brakes."""
    if step_id is not None and sequence_id is None:
        problem = "is required with step_id"
        raise Invalid("sequence_id " + problem, code="invalid", errors=[{"field": "sequence_id", "problem": problem}])
    await context.document("leads", lead_id, "lead")
    return await _explained(context, lead_id=lead_id, sequence_id=sequence_id, step_id=step_id)


@router.get("/enrollments/{enrollment_id}/why", response_model=Explained, tags=["enrollments"])
async def why_of_an_enrollment(
    enrollment_id: UUID,
    step_id: StepId | None = Query(default=None, description="About this step."),
    context: Context = may("enrollments:read"),
) -> dict[str, Any]:
    """Why the enrollment stands where it does, or why a step of it went out, waits or was left out."""
    await context.document("enrollments", enrollment_id, "enrollment")
    return await _explained(context, enrollment_id=enrollment_id, step_id=step_id)


async def _explained(context: Context, **about: Any) -> dict[str, Any]:
    organization_id = context.principal.organization_id
    return await context.parts.commands.ask(organization_id, QueryWhy(organization_id=organization_id, **about))
