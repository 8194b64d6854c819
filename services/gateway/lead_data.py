"""Everything that is held on one person, gathered from where it lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import UUID

from services.gateway import present
from services.gateway.context import Context
from services.gateway.masking import letter_as_seen_by, sent_as_seen_by
from shared.events.query import QueryAggregateEvents
from shared.ids import derived_id

#: Events asked for at once, and questions under way at once.
PAGE = 500
AT_ONCE = 8
_VIEWS = ("enrollments", "tasks", "messages", "timeline", "notifications")


async def everything(context: Context, lead_id: UUID) -> dict[str, Any]:
    """As JSON, with the lead's own events in clear. Raises NotFound."""
    lead = await context.document("leads", lead_id, "lead")
    await context.reach(*_VIEWS)
    own: dict[str, Any] = {"lead": present.lead(lead)}
    found: dict[str, list[dict[str, Any]]] = {}
    for view in _VIEWS:
        collection = await context.parts.views.collection(view)
        wanted = context.scope.filter({"lead_id": str(lead_id)})
        found[view] = await collection.find(wanted, sort=[("position", 1)]).to_list()
        own[view] = [present.shown(each) for each in found[view]]
    own["as_sent"] = await _as_sent(context, lead_id)
    for name in ("mailbox", "dead_letters"):
        collection = context.parts.database.collection(name)
        wanted = context.scope.filter({"lead_id": str(lead_id)})
        kept = await collection.find(wanted, {"raw": 0}).to_list()
        own[name] = [_kept(context, each) for each in kept]
    streams = [lead_id, *_streams(found)]
    own["events"] = [event async for event in _events(context, streams)]
    return own


def _streams(found: dict[str, list[dict[str, Any]]]) -> Iterable[UUID]:
    """The lead's enrollments and tasks, and what came back for each message."""
    yield from (UUID(each["_id"]) for each in (*found["enrollments"], *found["tasks"]))
    for each in found["messages"]:
        yield derived_id("engagement", UUID(each["enrollment_id"]), each["execution"])


async def _events(context: Context, streams: Iterable[UUID]) -> AsyncIterator[dict[str, Any]]:
    """Events of these aggregates, each in its own order."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def of(aggregate_id: UUID) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        while True:
            question = QueryAggregateEvents(aggregate_id=aggregate_id, after_version=len(events), limit=PAGE)
            async with turns:
                answer = await context.parts.commands.ask(context.principal.organization_id, question)
            events += answer["events"]
            if len(answer["events"]) < PAGE:
                return events

    for events in await asyncio.gather(*(of(each) for each in streams)):
        for event in events:
            if event.get("organizationid") == context.principal.organization_id:
                yield event


async def _as_sent(context: Context, lead_id: UUID) -> list[dict[str, Any]]:
    """The messages as they went out, from the dispatchers' ledger."""
    rows = context.parts.ledger.collection("dispatches")
    wanted = context.scope.filter({"lead_id": lead_id})
    names = ("channel", "message", "state", "times", "provider_answer")
    found = await rows.find(wanted, dict.fromkeys(names, 1)).to_list()
    return [
        {
            **{name: each.get(name) for name in names},
            "message": sent_as_seen_by(context.principal, each.get("channel"), each.get("message")),
            "id": str(each["_id"]),
        }
        for each in found
    ]


def _kept(context: Context, document: dict[str, Any]) -> dict[str, Any]:
    """A mail of the demo mailbox, or a dead letter."""
    shown = {**document, "_id": str(document["_id"]), **_text_of(document)}
    for name in {"body", "excerpt"} & shown.keys():
        shown[name] = letter_as_seen_by(context.principal, str(document.get("queue")), shown[name])
    return shown


def _text_of(document: dict[str, Any]) -> dict[str, Any]:
    """Bodies kept as bytes, as text."""
    return {
        name: bytes(value).decode("utf-8", errors="replace")
        for name, value in document.items()
        if isinstance(value, bytes)
    }
