"""Versions of sequences: publishing one, what differs between two, and moving those inside from one to another."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from services.gateway import present
from services.gateway.bodies import Body
from services.gateway.bulk_orders import Targets, prepare
from services.gateway.context import Context, Done, may, response_of
from services.gateway.diffing import diff
from services.gateway.errors import NotFound
from services.gateway.inside import plan_of_those_inside
from services.gateway.masking import as_seen_by
from services.gateway.shapes import Created, Document, Items
from shared.events import enrollment as enrollment_orders
from shared.events import sequence as orders
from shared.events.definition import StepId
from shared.events.message import MOST
from shared.events.query import QueryMigration
from shared.events.sequence import Inside
from shared.events.why import Why
from shared.events.wording import in_words

router = APIRouter(tags=["versions"])

Moves = dict[StepId, StepId]


class Activation(Body):
    """``inside``: those in earlier versions ``stay`` there, ``follow`` to the same step of the new one, or ``move`` as
    ``moves`` (old step to new step) says; with ``repeats`` even to what they have done. ``dry_run`` answers with the
    counted preview and changes nothing."""

    inside: Inside = "stay"
    moves: Moves = Field(default={}, max_length=500)
    repeats: bool = False
    dry_run: bool = False


class Migration(Body):
    """To ``version``, at the same step or where ``moves`` leads. ``repeats``: a move may lead to what was done already.
    ``dry_run`` answers with the preview and changes nothing."""

    version: int = Field(ge=1, le=MOST)
    moves: Moves = Field(default={}, max_length=500)
    repeats: bool = False
    dry_run: bool = False

    def order(self) -> dict[str, Any]:
        """The fields of the single order."""
        return {"version": self.version, "moves": self.moves, "repeats": self.repeats}


@router.post("/sequences/{sequence_id}/activate", response_model=Created)
async def activate(
    sequence_id: UUID, body: Activation | None = None, context: Context = may("sequences:approve")
) -> Any:
    """Publishes the approved draft as the next version, or takes a paused sequence up again. Where those inside do not
    stay, a bulk moves them: the answer has its ``bulk_id``."""
    asked = body or Activation()
    moves = asked.moves if asked.inside == "move" else {}
    if asked.dry_run:
        return {"dry_run": True, **(await _preview(context, sequence_id, None, asked.inside, moves, asked.repeats))}
    order = orders.ActivateSequence(sequence_id=sequence_id, inside=asked.inside, moves=moves, repeats=asked.repeats)
    return await context.change(lambda _: order)


@router.post("/sequences/{sequence_id}/migrate", response_model=Created, status_code=202)
async def migrate(sequence_id: UUID, body: Migration, context: Context = may("sequences:approve")) -> Any:
    """Moves everybody inside to a version by a bulk, or with ``dry_run`` answers with the counted preview."""
    if body.dry_run:
        preview = await _preview(context, sequence_id, body.version, "move", body.moves, body.repeats)
        return response_of(Done({"dry_run": True, **preview}))
    await context.document("sequence_versions", f"{sequence_id}-{body.version}", "version")
    targets = Targets(filter={"sequence_id": str(sequence_id)})
    return await context.once(prepare(context, "migrate", body.order(), targets))


@router.post("/enrollments/{enrollment_id}/migrate", response_model=Created)
async def migrate_one(enrollment_id: UUID, body: Migration, context: Context = may("enrollments:write")) -> Any:
    """Moves one enrollment to a version; a step in flight finishes first."""
    order = enrollment_orders.MigrateEnrollment(enrollment_id=enrollment_id, **body.order())
    if body.dry_run:
        organization_id = context.principal.organization_id
        question = QueryMigration(organization_id=organization_id, order=order)
        return {"dry_run": True, **(await context.parts.commands.ask(organization_id, question))}
    return await context.change(lambda _: order)


@router.get("/sequences/{sequence_id}/versions", response_model=Items)
async def versions(sequence_id: UUID, context: Context = may("sequences:read")) -> dict[str, Any]:
    """Published versions, newest first."""
    found = await context.document("sequences", sequence_id, "sequence")
    return {"items": sorted(found.get("versions") or [], key=lambda each: -int(each["version"]))}


@router.get("/sequences/{sequence_id}/versions/{version}", response_model=Document)
async def version(sequence_id: UUID, version: int, context: Context = may("sequences:read")) -> dict[str, Any]:
    """A version as it was frozen."""
    found = present.shown(await context.document("sequence_versions", f"{sequence_id}-{version}", "version"))
    return {**found, "definition": as_seen_by(context.principal, found["definition"])}


@router.get("/sequences/{sequence_id}/versions/{version}/diff", response_model=Created)
async def difference(
    sequence_id: UUID,
    version: int,
    to: int | Literal["draft"] | None = Query(default=None, description="Left out: the draft, else what runs."),
    context: Context = may("sequences:read"),
) -> dict[str, Any]:
    """What differs between two versions: steps added, removed, moved and changed, settings, trigger and the rest."""
    older = await context.document("sequence_versions", f"{sequence_id}-{version}", "version")
    if isinstance(to, int):
        newer = (await context.document("sequence_versions", f"{sequence_id}-{to}", "version"))["definition"]
    else:
        found = await context.document("sequences", sequence_id, "sequence")
        newer = found.get("draft") or (found.get("published") if to is None else None)
        if newer is None:
            raise NotFound("draft")
        to = "draft" if found.get("draft") else found.get("version")
    before, after = (as_seen_by(context.principal, each) for each in (older["definition"], newer))
    return {"from": version, "to": to, **diff(before, after)}


async def _preview(
    context: Context, sequence_id: UUID, version: int | None, inside: Inside, moves: Moves, repeats: bool
) -> dict[str, Any]:
    await context.document("sequences", sequence_id, "sequence")
    plan = await plan_of_those_inside(context, sequence_id, version=version, moves=moves, repeats=repeats)
    if inside != "stay":
        return plan
    nowhere = {"goes": "stays", "to_step": None, "to_step_name": None, "to_step_number": None}
    stay = [{**row, **nowhere, "why": "stay", "text": in_words(Why(rule="stay"))} for row in plan["steps"]]
    return {**plan, "steps": stay, "moves": 0, "stays": plan["moves"] + plan["stays"], "errors": []}
