"""Operations: views, dead letters, queues, timers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query, Response

from services.gateway.context import Context, Done, may
from services.gateway.deadletters import text_of
from services.gateway.lists import Listing, Paging, paged
from services.gateway.masking import letter_as_seen_by
from services.gateway.shapes import Created, Document, DocumentPage, Items
from shared.events.query import QueryTimers

router = APIRouter(tags=["operations"])

LETTERS = Listing("dead_letters", {"died_at": -1}, "-died_at", without=("body",))
_LISTED = (
    "queue",
    "reason",
    "reasons",
    "message_id",
    "lead_id",
    "type",
    "routing_key",
    "died_at",
    "drained_at",
    "size",
)


@router.get("/ops/views", response_model=Items)
async def views(context: Context = may("operations:read")) -> dict[str, Any]:
    """Every view: how far it is, whether it is being rebuilt or broken."""
    return {"items": await context.parts.views.status()}


@router.post("/ops/views/{name}/rebuild", response_model=Created, status_code=202)
async def rebuild(name: str, context: Context = may("operations:write")) -> Response:
    """Builds the view again from the log while traffic runs."""

    async def work(command_id: str) -> Done:
        await context.parts.views.collection(name)  # there is such a view
        await context.record("view_rebuilt", command_id, target=name)
        return Done({"job_id": await context.parts.views.request_job("rebuild", name)}, status=202)

    return await context.once(work)


@router.post("/ops/views/{name}/verify", response_model=Created, status_code=202)
async def verify(name: str, context: Context = may("operations:write")) -> Response:
    """Compares the view with a fresh replay."""

    async def work(_: str) -> Done:
        return Done({"job_id": await context.parts.views.request_job("verify", name)}, status=202)

    return await context.once(work)


@router.get("/ops/dead-letters", response_model=DocumentPage)
async def dead_letters(
    asked: Paging,
    queue: str | None = Query(default=None, max_length=100),
    context: Context = may("operations:read"),
) -> dict[str, Any]:
    """Messages that were given up, newest first, each with the beginning of its body and its ``size`` in bytes."""

    async def show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [_letter(context, each, _LISTED, each.get("excerpt") or "") for each in found]

    return await paged(context.parts.dead_letters.collection, context, LETTERS, asked, {"queue": queue}, show)


@router.get("/ops/dead-letters/{letter_id}", response_model=Document)
async def dead_letter(letter_id: str, context: Context = may("operations:read")) -> dict[str, Any]:
    """A dead letter with its whole body as text."""
    found = await context.parts.dead_letters.find(context.scope, letter_id)
    return _letter(context, found, (*_LISTED, "exchange", "content_type", "headers"), text_of(found["body"]))


def _letter(context: Context, document: dict[str, Any], names: tuple[str, ...], body: str) -> dict[str, Any]:
    shown = letter_as_seen_by(context.principal, str(document.get("queue")), body)
    return {"id": document["_id"], **{name: document.get(name) for name in names}, "body": shown}


@router.post("/ops/dead-letters/{letter_id}/requeue", response_model=Created)
async def requeue(letter_id: str, context: Context = may("operations:write")) -> Response:
    """Back to where it came from, with the same id."""

    async def work(command_id: str) -> Done:
        await context.parts.dead_letters.whole(context.scope, letter_id)
        await context.record("dead_letter_requeued", command_id, target=letter_id)
        await context.parts.dead_letters.requeue(context.scope, letter_id)
        return Done({"id": letter_id, "requeued": True})

    return await context.once(work)


@router.delete("/ops/dead-letters/{letter_id}", response_model=Created)
async def drop(letter_id: str, context: Context = may("operations:write")) -> Response:
    """Gone for good."""

    async def work(command_id: str) -> Done:
        await context.parts.dead_letters.find(context.scope, letter_id)
        await context.record("dead_letter_dropped", command_id, target=letter_id)
        await context.parts.dead_letters.drop(context.scope, letter_id)
        return Done({"id": letter_id, "dropped": True})

    return await context.once(work)


@router.get("/ops/queues", response_model=Items)
async def queues(context: Context = may("operations:read")) -> dict[str, Any]:
    """Messages waiting and consumers, by queue."""
    return {"items": await context.parts.queues.look()}


@router.get("/ops/timers", response_model=Created)
async def timers(context: Context = may("operations:read")) -> dict[str, Any]:
    """How many timers wait, are due or are blocked.

    Of all organizations, with those due by class and of how many organizations; and of the caller's own."""
    own = context.principal.organization_id
    return await context.parts.commands.ask(own, QueryTimers(organization_id=own))
