"""Sequences: their approval life, versions and figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field, model_validator

from services.gateway import present
from services.gateway.bodies import Body
from services.gateway.context import Context, may
from services.gateway.errors import LeadsInside
from services.gateway.lists import Listing, Paging, listed, sequences_called
from services.gateway.masking import as_seen_by, is_masked, unmasked
from services.gateway.sequence_list import by_figure, categories, metrics, sorted_by_figure
from services.gateway.shapes import Created, Findings, Items, Sequence, SequencePage
from shared.events import Message
from shared.events import sequence as orders
from shared.events.definition import AiBadge, Category, SequenceDefinition, SequenceSettings, Step, Trigger
from shared.events.outline import SequenceType
from shared.events.query import QueryDefinitionCheck
from shared.events.sequence import SequenceStatus
from shared.events.step_ids import with_step_ids
from shared.ids import derived_id

router = APIRouter(prefix="/sequences", tags=["sequences"])

DraftStatus = Literal["draft", "pending", "approved", "rejected"]
LISTING = Listing("sequences", {"created_at": -1, "updated_at": -1, "name": 1, "status": 1}, "-created_at")


class Rejection(Body):
    feedback: str = Field(min_length=1, max_length=4_000)


class Duplication(Body):
    """``name`` left out: "Copy of …"."""

    name: str | None = Field(default=None, min_length=1, max_length=200)


class SequenceChanges(Body):
    """Fields of a definition, each as there; absent ones stay. A null clears ``owner`` and ``ai``."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = None
    category: Category | None = None
    audience: str | None = None
    owner: str | None = Field(default=None, max_length=200)
    ai: AiBadge | None = None
    settings: SequenceSettings | None = None
    trigger: Trigger | None = None
    steps: list[Step] | None = Field(default=None, min_length=1, max_length=500)

    @model_validator(mode="before")
    @classmethod
    def _named_steps(cls, raw: Any) -> Any:
        return with_step_ids(raw)


@router.get("", response_model=SequencePage)
async def sequences(
    asked: Paging,
    status: SequenceStatus | None = Query(default=None),
    draft_status: DraftStatus | None = Query(default=None, description="pending: waits for an approver."),
    category: Category | None = Query(default=None),
    kind: SequenceType | None = Query(default=None, alias="type"),
    creator: Literal["ai", "person"] | None = Query(default=None),
    deleted: bool = Query(default=False),
    context: Context = may("sequences:read"),
) -> dict[str, Any]:
    """Sequences with their figures. Archived ones only when asked for by status, deleted ones only as such. Sorted by
    ``created_at``, ``updated_at``, ``name``, ``status``, ``leads``, or ``open_rate``, ``click_rate``, ``reply_rate``,
    ``conversion_rate``."""

    async def show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        stats = await present.stats_of_sequences(context.parts.views, context.scope, [each["_id"] for each in found])
        return [present.sequence_summary(each, stats[each["_id"]]) for each in found]

    called = await sequences_called(context, asked.q)
    hidden = {} if status or deleted else {"status": {"$ne": "archived"}}
    gone = {"deleted": {"$ne": None} if deleted else None}
    filters = {
        "status": status,
        "draft_status": draft_status,
        "category": category,
        "type": kind,
        "creator": creator,
    }
    figure = by_figure(asked)
    if figure is not None:
        given = {name: value for name, value in filters.items() if value is not None}
        return await sorted_by_figure(context, asked, figure, [given, called, hidden, gone])
    return await listed(context, LISTING, asked, filters, show, called, hidden, gone)


@router.get("/categories", response_model=Items)
async def every_category(context: Context = may("sequences:read")) -> dict[str, Any]:
    """Every category, with how many sequences it has."""
    return {"items": await categories(context)}


@router.get("/metrics", response_model=Created)
async def over_all(context: Context = may("metrics:read")) -> dict[str, Any]:
    """Sequences by status, type and category, how many wait for approval, and the rates over all of them."""
    return await metrics(context)


@router.post("", response_model=Created, status_code=201)
async def draft(
    definition: SequenceDefinition, activate: bool = False, context: Context = may("sequences:write")
) -> Response:
    """Makes a sequence. With ``?activate=true`` an approver submits, approves and publishes in the same act."""
    if activate:
        context.principal.require("sequences:approve")
    if is_masked(definition.steps):
        definition = definition.model_copy(update={"steps": unmasked(definition.steps, {})})
    return await context.change(
        lambda command_id: orders.DraftSequence(
            sequence_id=derived_id("sequence", command_id), definition=definition, activate=activate
        ),
        status=201,
    )


@router.post("/validate", response_model=Findings)
async def validate(definition: dict[str, Any], context: Context = may("sequences:write")) -> dict[str, Any]:
    """What saving this definition would be refused for, and what it would only be warned of. Saves nothing."""
    organization_id = context.principal.organization_id
    question = QueryDefinitionCheck(organization_id=organization_id, definition=definition)
    return await context.parts.commands.ask(organization_id, question)


@router.get("/{sequence_id}", response_model=Sequence)
async def sequence(sequence_id: UUID, context: Context = may("sequences:read")) -> dict[str, Any]:
    """A sequence with its draft, else its running definition."""
    found = await context.document("sequences", sequence_id, "sequence")
    stats = await present.stats_of_sequences(context.parts.views, context.scope, [found["_id"]])
    return {
        **present.sequence_summary(found, stats[found["_id"]]),
        "definition": as_seen_by(context.principal, found.get("definition") or {}),
        "feedback": found.get("feedback"),
        "versions": found.get("versions") or [],
        "copied_from": found.get("copied_from"),
    }


@router.put("/{sequence_id}", response_model=Created)
async def replace(
    sequence_id: UUID, definition: SequenceDefinition, context: Context = may("sequences:write")
) -> Response:
    """Replaces the draft; a running version stays as it is. What comes back masked stays as it was."""
    if is_masked(definition.steps):
        found = await context.document("sequences", sequence_id, "sequence")
        steps = unmasked(definition.steps, found.get("definition") or {})
        definition = definition.model_copy(update={"steps": steps})
    return await context.change(lambda _: orders.EditSequence(sequence_id=sequence_id, definition=definition))


@router.patch("/{sequence_id}", response_model=Created)
async def edit(sequence_id: UUID, changes: SequenceChanges, context: Context = may("sequences:write")) -> Response:
    """Changes top-level fields of the draft (``settings`` and ``trigger`` are merged); absent ones stay."""
    found = await context.document("sequences", sequence_id, "sequence")
    steps = changes.steps
    if steps is not None and is_masked(steps):
        steps = unmasked(steps, found.get("definition") or {})
    fields = changes.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"steps"})
    return await context.change(lambda _: orders.ChangeSequence(sequence_id=sequence_id, changes=fields, steps=steps))


@router.delete("/{sequence_id}", response_model=Created)
async def delete(
    sequence_id: UUID,
    enrollments: Literal["finish", "exit"] | None = Query(default=None, description="What becomes of those inside."),
    context: Context = may("sequences:approve"),
) -> Response:
    """Hides it and keeps it. While leads are inside, or are to begin, ``enrollments`` must say whether they finish or
    leave; who leaves does so by a bulk: the answer has its ``bulk_id``. Who has not begun does not begin any more."""
    if enrollments is None:
        count = await present.count_inside(context.parts.views, context.scope, sequence_id)
        if count:
            raise LeadsInside(count)
    order = orders.DeleteSequence(sequence_id=sequence_id, enrollments=enrollments or "finish")
    return await context.change(lambda _: order)


@router.post("/{sequence_id}/duplicate", response_model=Created, status_code=201)
async def duplicate(
    sequence_id: UUID, body: Duplication | None = None, context: Context = may("sequences:write")
) -> Response:
    """Makes a new draft from what the sequence says now."""
    name = body.name if body else None
    return await context.change(
        lambda command_id: orders.DuplicateSequence(
            sequence_id=derived_id("sequence", command_id), source_id=sequence_id, name=name
        ),
        status=201,
    )


def _act(path: str, permission: str, make: Callable[[UUID], Message], summary: str) -> None:
    async def act(sequence_id: UUID, context: Context = may(permission)) -> Response:
        return await context.change(lambda _: make(sequence_id))

    act.__name__ = path
    act.__doc__ = summary
    act.__module__ = __name__
    router.post(f"/{{sequence_id}}/{path}", response_model=Created)(act)


_act("submit", "sequences:write", lambda i: orders.SubmitSequence(sequence_id=i), "Hands the draft to an approver.")
_act("approve", "sequences:approve", lambda i: orders.ApproveSequence(sequence_id=i), "Approves the submitted draft.")
_act("deactivate", "sequences:approve", lambda i: orders.DeactivateSequence(sequence_id=i), "Pauses it for everybody.")
_act("archive", "sequences:approve", lambda i: orders.ArchiveSequence(sequence_id=i), "Ends it; it is kept.")
_act("restore", "sequences:approve", lambda i: orders.RestoreSequence(sequence_id=i), "Takes it back, paused or draft.")


@router.post("/{sequence_id}/reject", response_model=Created)
async def reject(sequence_id: UUID, body: Rejection, context: Context = may("sequences:approve")) -> Response:
    """Gives the draft back with feedback."""
    return await context.change(lambda _: orders.RejectSequence(sequence_id=sequence_id, feedback=body.feedback))


@router.post("/{sequence_id}/release", response_model=Created)
async def release(sequence_id: UUID, context: Context = may("sequences:approve")) -> Response:
    """Lets it go on after it has stopped itself; what was counted until then counts no more."""
    return await context.change(lambda _: orders.ReleaseSequence(sequence_id=sequence_id))
