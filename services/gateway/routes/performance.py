"""How sequences do: figures by sequence, step, variant and sender."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from services.gateway import performance, present
from services.gateway.context import Context, may
from services.gateway.shapes import SequencePerformance, StepStatsList, VariantStatsList
from shared.events.definition import SequenceDefinition

router = APIRouter(prefix="/sequences", tags=["analytics"])


async def _counted(context: Context, sequence_id: UUID) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sequence, and all that was counted for it."""
    found = await context.document("sequences", sequence_id, "sequence")
    await context.reach("statistics")
    scope = f"sequence:{sequence_id}"
    return found, (await context.parts.figures.ever(context.principal.organization_id, [scope]))[scope]


def _running(found: dict[str, Any]) -> dict[str, Any]:
    """The running definition, else the draft."""
    return found.get("published") or found.get("definition") or {}


def _step_ids(steps: list[dict[str, Any]]) -> list[str]:
    """In reading order, arms included."""
    arms = ([step["step_id"], *_step_ids(step.get("then") or []), *_step_ids(step.get("else") or [])] for step in steps)
    return [step_id for arm in arms for step_id in arm]


@router.get("/{sequence_id}/stats", response_model=SequencePerformance)
async def stats(sequence_id: UUID, context: Context = may("metrics:read")) -> dict[str, Any]:
    """Figures of the sequence, and by sender. A conversion is owed to the message clicked last in the 30 days before
    it, else opened last, else sent last. What machines opened and clicked stands apart and counts for nothing."""
    _, tree = await _counted(context, sequence_id)
    return {**performance.of_sequence(tree), "senders": performance.of_senders(tree)}


@router.get("/{sequence_id}/steps/stats", response_model=StepStatsList)
async def step_stats(sequence_id: UUID, context: Context = may("metrics:read")) -> dict[str, Any]:
    """Figures by step, in the order of the definition; steps of earlier versions come last."""
    found, tree = await _counted(context, sequence_id)
    names = present.Names([found])
    rows = performance.of_steps(tree, _step_ids(_running(found).get("steps") or []))
    return {"items": [{**row, "name": names.step(str(sequence_id), row["step_id"])} for row in rows]}


@router.get("/{sequence_id}/variants", response_model=VariantStatsList)
async def variants(sequence_id: UUID, context: Context = may("metrics:read")) -> dict[str, Any]:
    """Steps with variants: figures, the 95 % credible interval of the measure's share, the probability of being the
    best, and the winner where one has met the rule."""
    found, tree = await _counted(context, sequence_id)
    definition = SequenceDefinition.model_validate(_running(found))
    return {"items": performance.of_variants(definition, tree, found.get("winners") or {})}
