"""Ordering a bulk: its targets are resolved here, against the views, and handed over in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from fastapi import Response
from pydantic import Field, ValidationError, model_validator

from services.gateway.bodies import Body
from services.gateway.context import Context, Done
from services.gateway.errors import Invalid
from services.gateway.filters import EnrollmentFilter, LeadFilter
from shared.events.bulk import BULK_KINDS, MOST_TARGETS, PAGE, BeginBulk, NameBulkTargets, OrderBulk, command_of
from shared.events.errors import InvalidMessage
from shared.events.places import reasons_of
from shared.ids import derived_id

#: Ids in one request; more are named by a filter.
MOST_NAMED = 20_000

#: What a filter can hold of a person; in the log it stands as ``HIDDEN``.
PERSONAL_FILTERS = frozenset({"q", "email"})
HIDDEN = "…"


class Targets(Body):
    """Exactly one of ``ids`` and ``filter``: leads or enrollments, as the kind of order asks for."""

    ids: list[UUID] | None = Field(default=None, max_length=MOST_NAMED)
    filter: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one(self) -> Targets:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("exactly one of ids and filter must be given")
        return self


async def order_bulk(
    context: Context, kind: str, order: Mapping[str, Any], targets: Targets, *, place: str = "targets.filter"
) -> Response:
    """202 with ``{"bulk_id", "count"}`` once the write side has every target. ``place``: where the request has the
    filter. Raises Invalid."""
    prepared = prepare(context, kind, order, targets, place=place)
    return await context.once(prepared)


def prepare(
    context: Context, kind: str, order: Mapping[str, Any], targets: Targets, *, place: str = "targets.filter"
) -> Callable[[str], Awaitable[Done]]:
    """The same, to be carried out under a command's id. Raises Invalid at once when the order makes no sense."""
    target = BULK_KINDS[kind].target
    order = {name: value for name, value in order.items() if name != target}
    try:
        command_of(kind, order)
    except InvalidMessage as error:
        raise Invalid(str(error), code="invalid", errors=error.reasons) from None
    chosen = _chosen(context, target, targets, place)

    async def work(command_id: str) -> Done:
        bulk_id = derived_id("bulk", command_id)
        commands, principal = context.parts.commands, context.principal
        ordered = OrderBulk(bulk_id=bulk_id, kind=kind, order=dict(order), filter=_recorded(targets.filter))
        await commands.send(principal, ordered, f"{command_id}-order")
        page = 0
        async for ids in _pages(context, chosen, targets, place):
            page += 1
            named = NameBulkTargets(bulk_id=bulk_id, page=page, targets=ids)
            await commands.send(principal, named, f"{command_id}-page-{page}")
        answer = await commands.send(principal, BeginBulk(bulk_id=bulk_id, pages=page), f"{command_id}-begin")
        return Done({"bulk_id": str(bulk_id), "count": answer.result.get("count")}, answer.position, 202)

    return work


def _recorded(asked: dict[str, Any] | None) -> dict[str, Any] | None:
    """A filter as the log keeps it: that somebody was looked for by name or address, and not by which."""
    if asked is None:
        return None
    return {name: HIDDEN if name in PERSONAL_FILTERS and value else value for name, value in asked.items()}


def _chosen(context: Context, target: str, targets: Targets, place: str) -> tuple[str, dict[str, Any]]:
    """The view and the condition of a filter. Raises Invalid."""
    view, model = ("leads", LeadFilter) if target == "lead_id" else ("enrollments", EnrollmentFilter)
    try:
        asked = model.model_validate(targets.filter or {})
    except ValidationError as error:
        reasons = [{**each, "field": f"{place}.{each['field']}"} for each in reasons_of(error, targets.filter)]
        raise Invalid("the filter has errors", code="invalid", errors=reasons) from None
    condition = asked.alive() if isinstance(asked, LeadFilter) else asked.condition()
    return view, context.scope.filter(condition)


async def _pages(
    context: Context, chosen: tuple[str, dict[str, Any]], targets: Targets, place: str
) -> AsyncIterator[list[UUID]]:
    """Ids in pages, none twice. Raises Invalid beyond the most a bulk may have."""
    if targets.ids is not None:
        ids = list(dict.fromkeys(targets.ids))
        for start in range(0, len(ids), PAGE):
            yield ids[start : start + PAGE]
        return
    view, condition = chosen
    await context.reach(view)
    collection = await context.parts.views.collection(view)
    after: str | None = None
    found = 0
    while True:
        beyond = {} if after is None else {"_id": {"$gt": after}}
        page = await collection.find({**condition, **beyond}, {"_id": 1}, sort=[("_id", 1)], limit=PAGE).to_list()
        if not page:
            return
        found += len(page)
        if found > MOST_TARGETS:
            raise Invalid(
                f"the filter finds more than {MOST_TARGETS}",
                code="bulk_too_large",
                errors=[{"field": place, "problem": f"finds more than {MOST_TARGETS}"}],
            )
        yield [UUID(each["_id"]) for each in page]
        after = page[-1]["_id"]
