"""Sequences: definition, approval life, versions, figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from services.gateway import presenting
from services.gateway.commands import changed
from services.gateway.idempotency import Change
from services.gateway.lists import Sort
from services.gateway.parts import PAGE, Cursor, Limit, MinPosition, Parts, PartsOf, Reader, SortBy, changing
from services.gateway.principals import Permission, Principal
from services.gateway.problems import Forbidden
from shared.events.definition import SequenceDefinition
from shared.events.message import Command
from shared.events.sequence import (
    ActivateSequence,
    ApproveSequence,
    ArchiveSequence,
    DeactivateSequence,
    DraftSequence,
    EditSequence,
    RejectSequence,
    SequenceStatus,
    SubmitSequence,
)
from shared.ids import derived_id
from shared.persistence.search import normalised

router = APIRouter(prefix="/sequences", tags=["sequences"])

Writing = Annotated[Change, Depends(changing(Permission.SEQUENCES_WRITE))]
Approving = Annotated[Change, Depends(changing(Permission.SEQUENCES_APPROVE))]
SORTS = ("created_at", "name")


class Rejection(BaseModel):
    feedback: str = Field(min_length=1, max_length=4_000)


class Patch(BaseModel):
    """Fields of a definition to replace; what is left out stays."""

    name: str | None = None
    description: str | None = None
    category: str | None = None
    audience: str | None = None
    settings: dict[str, Any] | None = None
    trigger: dict[str, Any] | None = None
    steps: list[dict[str, Any]] | None = None


@router.get("")
async def list_sequences(
    parts: PartsOf,
    principal: Reader,
    status: SequenceStatus | None = None,
    category: str | None = None,
    q: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
    sort: SortBy = None,
    min_position: MinPosition = None,
) -> dict[str, Any]:
    """Sequences with their figures, newest first."""
    await parts.views.wait_for(min_position, ["sequences"])
    page = await parts.views.page(
        principal,
        "sequences",
        filter_={"status": status, "category": category},
        sort=Sort.parse(sort, SORTS, "-created_at"),
        limit=limit,
        cursor=cursor,
        present=presenting.sequence,
    )
    if q:  # a page of names is small: no index is worth its upkeep
        page["items"] = [item for item in page["items"] if normalised(q) in normalised(item["name"] or "")]
    for item in page["items"]:
        item["stats"] = await _stats(parts, principal, item["id"])
        item.pop("definition", None)
    return page


@router.post("", status_code=201)
async def create_sequence(
    parts: PartsOf, change: Writing, definition: SequenceDefinition, activate: bool = False
) -> Response:
    """Make a sequence. With ``activate=true`` an approver submits, approves and publishes it in the same act."""
    if activate and not change.principal.may(Permission.SEQUENCES_APPROVE):
        raise Forbidden(f"Activating needs the permission {Permission.SEQUENCES_APPROVE.value}.")
    sequence_id = derived_id("sequence", change.principal.organization_id, change.message_id)
    command = DraftSequence(sequence_id=sequence_id, definition=definition, activate=activate)

    async def produce() -> Any:
        answer = await parts.commands.send(change.principal, command, message_id=change.message_id, subject=sequence_id)
        return changed(answer, status=201)

    return await change.run(produce)


@router.get("/{sequence_id}")
async def get_sequence(
    parts: PartsOf, principal: Reader, sequence_id: UUID, min_position: MinPosition = None
) -> dict[str, Any]:
    await parts.views.wait_for(min_position, ["sequences"])
    found = presenting.sequence(await parts.views.get(principal, "sequences", str(sequence_id), what="sequence"))
    found["stats"] = await _stats(parts, principal, found["id"])
    return found


@router.put("/{sequence_id}")
async def put_sequence(parts: PartsOf, change: Writing, sequence_id: UUID, definition: SequenceDefinition) -> Response:
    """Replace the draft. A live sequence's running version stays as it is."""
    return await _order(parts, change, EditSequence(sequence_id=sequence_id, definition=definition), sequence_id)


@router.patch("/{sequence_id}")
async def patch_sequence(parts: PartsOf, change: Writing, sequence_id: UUID, patch: Patch) -> Response:
    """Replace parts of the draft, or begin one from the running version."""
    known = await parts.views.get(change.principal, "sequences", str(sequence_id), what="sequence")
    merged: Mapping[str, Any] = {**known["definition"], **patch.model_dump(exclude_none=True)}
    definition = SequenceDefinition.model_validate(merged)
    return await _order(parts, change, EditSequence(sequence_id=sequence_id, definition=definition), sequence_id)


@router.delete("/{sequence_id}")
async def delete_sequence(parts: PartsOf, change: Writing, sequence_id: UUID) -> Response:
    """Take it off the list of those that can be used; its history and those inside stay."""
    return await _order(parts, change, ArchiveSequence(sequence_id=sequence_id), sequence_id)


@router.post("/{sequence_id}/submit")
async def submit(parts: PartsOf, change: Writing, sequence_id: UUID) -> Response:
    return await _order(parts, change, SubmitSequence(sequence_id=sequence_id), sequence_id)


@router.post("/{sequence_id}/approve")
async def approve(parts: PartsOf, change: Approving, sequence_id: UUID) -> Response:
    return await _order(parts, change, ApproveSequence(sequence_id=sequence_id), sequence_id)


@router.post("/{sequence_id}/reject")
async def reject(parts: PartsOf, change: Approving, sequence_id: UUID, body: Rejection) -> Response:
    return await _order(parts, change, RejectSequence(sequence_id=sequence_id, feedback=body.feedback), sequence_id)


@router.post("/{sequence_id}/activate")
async def activate(parts: PartsOf, change: Approving, sequence_id: UUID) -> Response:
    """Freeze the approved draft as the next version, or take a paused sequence up again."""
    return await _order(parts, change, ActivateSequence(sequence_id=sequence_id), sequence_id)


@router.post("/{sequence_id}/deactivate")
async def deactivate(parts: PartsOf, change: Writing, sequence_id: UUID) -> Response:
    """Pause: no new leads, and those inside wait."""
    return await _order(parts, change, DeactivateSequence(sequence_id=sequence_id), sequence_id)


@router.post("/{sequence_id}/archive")
async def archive(parts: PartsOf, change: Writing, sequence_id: UUID) -> Response:
    return await _order(parts, change, ArchiveSequence(sequence_id=sequence_id), sequence_id)


@router.get("/{sequence_id}/versions")
async def versions(parts: PartsOf, principal: Reader, sequence_id: UUID) -> dict[str, Any]:
    known = await parts.views.get(principal, "sequences", str(sequence_id), what="sequence")
    return {"items": presenting.plain(known.get("versions") or []), "next_cursor": None}


@router.get("/{sequence_id}/versions/{number}")
async def version(parts: PartsOf, principal: Reader, sequence_id: UUID, number: int) -> dict[str, Any]:
    return presenting.shown(
        await parts.views.get(principal, "sequence_versions", f"{sequence_id}-{number}", what="version")
    )


@router.get("/{sequence_id}/stats")
async def stats(parts: PartsOf, principal: Reader, sequence_id: UUID) -> dict[str, Any]:
    """Figures since the beginning, with rates."""
    await parts.views.get(principal, "sequences", str(sequence_id), what="sequence")
    return await _stats(parts, principal, str(sequence_id))


@router.get("/{sequence_id}/steps/stats")
async def step_stats(parts: PartsOf, principal: Reader, sequence_id: UUID) -> dict[str, Any]:
    """Figures of every step since the beginning."""
    await parts.views.get(principal, "sequences", str(sequence_id), what="sequence")
    figures = await parts.figures.step_totals(principal.organization_id, str(sequence_id))
    return {
        "items": [{"step_id": step, **counts, "rates": presenting.rates(counts)} for step, counts in figures.items()],
        "next_cursor": None,
    }


async def _stats(parts: Parts, principal: Principal, sequence_id: str) -> dict[str, Any]:
    figures = await parts.figures.totals(principal.organization_id, f"sequence:{sequence_id}")
    return {**figures, "rates": presenting.rates(figures)}


async def _order(parts: Parts, change: Change, command: Command, sequence_id: UUID) -> Response:
    async def produce() -> Any:
        answer = await parts.commands.send(change.principal, command, message_id=change.message_id, subject=sequence_id)
        return changed(answer)

    return await change.run(produce)
