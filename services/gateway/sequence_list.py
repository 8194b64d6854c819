"""The list of sequences sorted by their figures, and figures over all of them.

Figures stand apart from the sequences and are merged on reading, so no index can sort by them: they are read for all
that the filter finds, at most ``MOST_SORTED``, in one query.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import orjson

from services.gateway import present
from services.gateway.context import Context
from services.gateway.errors import BadMark
from services.gateway.lists import Page
from shared.events.definition import Category

#: Sequences of one organization that are sorted by their figures.
MOST_SORTED = 5_000

#: What a list may be sorted by besides its own fields.
FIGURES: Mapping[str, Callable[[Mapping[str, Any]], float]] = {
    "leads": lambda stats: stats["enrolled"],
    **{
        f"{name}_rate": lambda stats, name=name: stats["rates"][name]  # type: ignore[misc]
        for name in ("open", "click", "reply", "conversion")
    },
}


def by_figure(asked: Page) -> str | None:
    """The figure that a list is to be sorted by; None when it is a field of its own."""
    name = (asked.sort or "").removeprefix("-")
    return name if name in FIGURES else None


async def sorted_by_figure(
    context: Context, asked: Page, figure: str, conditions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A page: ``{"items", "next_cursor"}``. Raises BadRequest for a cursor of another list."""
    await context.reach("sequences", "statistics")
    collection = await context.parts.views.collection("sequences")
    found = await collection.find(
        context.scope.filter(*conditions), {"_id": 1}, sort=[("created_at", -1), ("_id", 1)], limit=MOST_SORTED
    ).to_list()
    stats = await present.stats_of_sequences(context.parts.views, context.scope, [each["_id"] for each in found])
    sign = -1 if (asked.sort or "").startswith("-") else 1
    ranked = sorted((sign * float(FIGURES[figure](stats[each["_id"]])), str(each["_id"])) for each in found)
    after = _read(asked.cursor, asked.sort) if asked.cursor else None
    left = [each for each in ranked if after is None or each > after]
    page = left[: asked.limit]
    documents = await collection.find(context.scope.filter({"_id": {"$in": [each[1] for each in page]}})).to_list()
    by_id = {document["_id"]: document for document in documents}
    items = [present.sequence_summary(by_id[each], stats[each]) for _, each in page if each in by_id]
    return {"items": items, "next_cursor": _mark(asked.sort, page[-1]) if len(left) > len(page) else None}


async def categories(context: Context) -> list[dict[str, Any]]:
    """Every category with how many sequences it has, archived ones left out."""
    counts = await _counted(context, "category")
    return [{"category": each, "sequences": counts[each]} for each in get_args(Category)]


async def metrics(context: Context) -> dict[str, Any]:
    """Sequences by status, type and category, and the rates over all of them."""
    await context.reach("sequences", "statistics")
    collection = await context.parts.views.collection("sequences")
    found = await collection.find(
        context.scope.filter({"deleted": None}), {"status": 1, "draft_status": 1, "type": 1, "category": 1}
    ).to_list()
    stats = await present.stats_of_sequences(context.parts.views, context.scope, [each["_id"] for each in found])
    sent = sum(each["sent"] for each in stats.values())
    hits = {"open": "opened", "click": "clicked", "reply": "replied", "conversion": "conversions"}
    return {
        "total": len(found),
        "pending_approval": sum(1 for each in found if each.get("draft_status") == "pending"),
        **{f"by_{name}": dict(Counter(each.get(name) for each in found)) for name in ("status", "type", "category")},
        "leads": sum(each["enrolled"] for each in stats.values()),
        "sent": sent,
        "rates": {
            name: round(min(sum(each[hit] for each in stats.values()) / sent, 1.0), 4) if sent else 0.0
            for name, hit in hits.items()
        },
    }


async def _counted(context: Context, field: str) -> Counter[str]:
    await context.reach("sequences")
    collection = await context.parts.views.collection("sequences")
    condition = context.scope.filter({"deleted": None, "status": {"$ne": "archived"}})
    rows = await collection.aggregate(
        [{"$match": condition}, {"$group": {"_id": f"${field}", "n": {"$sum": 1}}}]
    ).to_list()
    return Counter({row["_id"]: int(row["n"]) for row in rows})


def _mark(sort: str | None, last: tuple[float, str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([sort, *last])).decode().rstrip("=")


def _read(cursor: str, sort: str | None) -> tuple[float, str]:
    try:
        marked, value, last_id = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if marked != sort:
            raise BadMark("belongs to a list sorted otherwise")
        return float(value), str(last_id)
    except (ValueError, TypeError, binascii.Error):
        raise BadMark("cannot be read") from None
