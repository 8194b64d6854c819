"""Bulks: one order over many leads or enrollments, with progress, report, cancel and undo."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from services.gateway import present
from services.gateway.bodies import Body
from services.gateway.bulk_orders import Targets, order_bulk
from services.gateway.context import Context, may
from services.gateway.errors import Invalid
from services.gateway.lists import Listing, Paging, listed
from services.gateway.shapes import Created, Document, DocumentPage
from shared.events import bulk as orders
from shared.ids import derived_id

router = APIRouter(prefix="/bulks", tags=["bulks"])

LISTING = Listing("bulks", {"ordered_at": -1}, "-ordered_at")
REFUSALS = Listing("bulk_refusals", {"number": 1}, "number")

#: What may be ordered by hand, and the permission it takes. An undo has a route of its own.
PERMISSION_OF_KIND = {
    "enroll": "enrollments:write",
    "start": "enrollments:write",
    "pause": "enrollments:write",
    "resume": "enrollments:write",
    "cancel": "enrollments:write",
    "migrate": "sequences:approve",
    "advance": "enrollments:write",
    "restart": "enrollments:write",
    "tag": "leads:write",
    "score": "leads:write",
    "status": "leads:write",
    "assign": "leads:write",
}


class NewBulk(Body):
    """``order`` holds the fields of the single order, e.g. ``{"sequence_id": …}`` for ``enroll``, ``{"add": […]}``
    for ``tag``, ``{"status": "Won"}`` for ``status`` (null: none any more)."""

    kind: str = Field(description=", ".join(PERMISSION_OF_KIND))
    order: dict[str, Any] = {}
    targets: Targets


class Undo(Body):
    """``also_sent``: cancel those too that had messages; the messages stay sent and are listed (code ``stays``)."""

    also_sent: bool = False


async def _show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [present.shown(each) for each in found]


@router.get("", response_model=DocumentPage)
async def bulks(
    asked: Paging,
    status: str | None = Query(default=None, max_length=20),
    kind: str | None = Query(default=None, max_length=40),
    context: Context = may("enrollments:read"),
) -> dict[str, Any]:
    """Bulks with their progress, newest first."""
    return await listed(context, LISTING, asked, {"status": status, "kind": kind}, _show)


@router.post("", response_model=Created, status_code=202)
async def order(body: NewBulk, context: Context = may("enrollments:read")) -> Response:
    """Orders something for many targets; answers once the write side has them all."""
    permission = PERMISSION_OF_KIND.get(body.kind)
    if permission is None:
        problem = f"must be one of {', '.join(PERMISSION_OF_KIND)}"
        raise Invalid(f"kind {problem}", code="invalid", errors=[{"field": "kind", "problem": problem}])
    context.principal.require(permission)
    return await order_bulk(context, body.kind, body.order, body.targets)


@router.get("/{bulk_id}", response_model=Document)
async def bulk(bulk_id: UUID, context: Context = may("enrollments:read")) -> dict[str, Any]:
    """A bulk: progress while it runs, then the report."""
    return present.shown(await context.document("bulks", bulk_id, "bulk"))


@router.get("/{bulk_id}/refusals", response_model=DocumentPage)
async def refusals(bulk_id: UUID, asked: Paging, context: Context = may("enrollments:read")) -> dict[str, Any]:
    """The targets that were refused, each with its reason, in order; of an undoing also those that were cancelled and
    of which something stays, a message, a tag or another step's effect (code ``stays``)."""
    await context.document("bulks", bulk_id, "bulk")
    return await listed(context, REFUSALS, asked, {"bulk_id": str(bulk_id)}, _show)


@router.post("/{bulk_id}/cancel", response_model=Created)
async def cancel(bulk_id: UUID, context: Context = may("enrollments:write")) -> Response:
    """Leaves the targets that are still to come as they are."""
    return await context.change(lambda _: orders.CancelBulk(bulk_id=bulk_id))


@router.post("/{bulk_id}/undo", response_model=Created, status_code=202)
async def undo(bulk_id: UUID, body: Undo | None = None, context: Context = may("enrollments:write")) -> Response:
    """Takes a bulk enrolment back by another bulk: enrollments that no message went out to are cancelled. Its
    refusals list what cannot be undone: messages, and what steps did that took effect."""
    also_sent = (body or Undo()).also_sent
    return await context.change(
        lambda command_id: orders.UndoBulk(
            bulk_id=bulk_id, undo_id=derived_id("bulk", command_id), also_sent=also_sent
        ),
        status=202,
    )
