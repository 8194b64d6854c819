"""Notifications of whoever asks."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import Field, model_validator

from services.gateway import present
from services.gateway.bodies import Body
from services.gateway.context import Context, Done, may
from services.gateway.errors import BadRequest
from services.gateway.shapes import Created, NotificationPage, Unread
from shared.events.message import Instant

router = APIRouter(prefix="/notifications", tags=["notifications"])


class Reading(Body):
    """``ids`` of notifications that were read, or ``through``: everything up to a moment (at most now)."""

    ids: list[Annotated[str, Field(min_length=1, max_length=300)]] = Field(default=[], max_length=200)
    through: Instant | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Reading:
        if not self.ids and self.through is None:
            raise ValueError("one of ids and through is required")
        return self


@router.get("", response_model=NotificationPage)
async def notifications(
    limit: int = Query(default=50, ge=1, le=200),
    cursor: str | None = Query(default=None, max_length=1_000, description="Opaque mark of the next page."),
    context: Context = may("notifications:read"),
) -> dict[str, Any]:
    """What the caller should hear of, newest first: replies, due tasks, approvals wanted, rejected sequences, limits
    reached, sending that fails, enrollments on hold (told to the lead's owner), and sequences and senders that have
    stopped themselves (told to those who may release them)."""
    await context.reach("notifications", "tasks")
    found = await context.parts.notifications.page(context.principal, limit + 1, _unpacked(cursor))
    more, shown = len(found) > limit, found[:limit]
    leads = await context.parts.views.names_of(each["lead_id"] for each in shown)
    names = await present.Names.of(context.parts.views, context.scope, shown)
    items = [
        {**each, "lead_name": leads.get(each["lead_id"] or ""), "sequence_name": names.sequence(each["sequence_id"])}
        for each in shown
    ]
    return {"items": items, "next_cursor": _mark(shown[-1]) if more else None}


@router.get("/unread", response_model=Unread)
async def unread(context: Context = may("notifications:read")) -> dict[str, Any]:
    """How many the caller has not read yet."""
    await context.reach("notifications", "tasks")
    return {"unread": await context.parts.notifications.unread(context.principal)}


@router.post("/read", response_model=Created)
async def read(body: Reading, context: Context = may("notifications:read")) -> Response:
    """Marks notifications as read, for the caller alone."""

    async def work(_: str) -> Done:
        if body.ids:
            await context.parts.notifications.mark(context.principal, body.ids)
        if body.through is not None:
            await context.parts.notifications.mark_through(context.principal, body.through)
        return Done({"unread": await context.parts.notifications.unread(context.principal)})

    return await context.once(work)


def _mark(last: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([last["at"].isoformat(), last["id"]])).decode().rstrip("=")


def _unpacked(cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    try:
        at, last_id = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not isinstance(last_id, str):
            raise TypeError  # noqa: TRY301
    except (ValueError, TypeError, binascii.Error):
        raise BadRequest("the cursor cannot be read", code="bad_cursor") from None
    return moment, last_id
