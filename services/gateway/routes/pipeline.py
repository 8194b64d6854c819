"""The pipeline: leads by status, as a board. A card is moved by changing the lead's status."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from services.gateway import present
from services.gateway.context import Context, may
from services.gateway.filters import Filtered
from services.gateway.lists import Listing, Page, Paging, listed
from services.gateway.shapes import Items

router = APIRouter(prefix="/leads", tags=["leads"])

LISTING = Listing("leads", {"captured_at": -1}, "-captured_at")
#: Columns shown; the fullest come first in the count, so that none with many leads is missing.
MOST_COLUMNS = 50


async def _show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [present.lead(each) for each in found]


@router.get("/pipeline", response_model=Items)
async def pipeline(asked: Paging, chosen: Filtered, context: Context = may("leads:read")) -> dict[str, Any]:
    """A column per status with its count and first page; ``GET leads?status=…&cursor=…`` goes on. Leads without a
    status are the column null, which ``GET leads?status=`` lists. Takes the filters of the list of leads."""
    await context.reach("leads")
    collection = await context.parts.views.collection("leads")
    condition = chosen.alive()
    counted = await collection.aggregate(
        [
            {"$match": context.scope.filter(condition)},
            {"$group": {"_id": "$status", "count": {"$sum": 1}}},
            {"$sort": {"count": -1, "_id": 1}},
            {"$limit": MOST_COLUMNS},
        ]
    ).to_list()
    first = Page(asked.limit, None, None, None)

    async def column(status: str | None, count: int) -> dict[str, Any]:
        page = await listed(context, LISTING, first, {}, _show, condition, {"status": status})
        return {"status": status, "count": count, **page}

    columns = await asyncio.gather(*(column(each["_id"], each["count"]) for each in counted))
    return {"items": sorted(columns, key=lambda each: (each["status"] is None, each["status"] or ""))}
