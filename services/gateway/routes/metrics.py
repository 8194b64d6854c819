"""Figures and the feed of what just happened."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from services.gateway import presenting
from services.gateway.lists import Sort
from services.gateway.parts import PAGE, Cursor, Limit, MinPosition, Parts, PartsOf, Reader
from services.gateway.principals import Principal
from services.gateway.problems import Invalid

router = APIRouter(tags=["analytics"])

FIGURES = ("sent", "opened", "clicked", "replied", "bounced", "unsubscribed", "enrolled", "completed")
TODAY = ("sent", "opened", "clicked", "replied", "bounced", "unsubscribed", "meetings", "enrolled")
MOST_BUCKETS = 24 * 62


@router.get("/metrics/overview")
async def overview(parts: PartsOf, principal: Reader, min_position: MinPosition = None) -> dict[str, Any]:
    """Today's figures (by the organization's own day), totals and rates."""
    await parts.views.wait_for(min_position, ["statistics", "enrollments", "sequences"])
    now = parts.clock.now()
    zone = await _zone(parts, principal)
    midnight = now.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    totals, today, counts = await asyncio.gather(
        parts.figures.totals(principal.organization_id),
        parts.figures.series(
            principal.organization_id, "organization", "day", midnight, midnight + timedelta(days=1), zone=zone
        ),
        _counts(parts, principal),
    )
    last = today[-1] if today else {}
    return {
        "today": {name: last.get(name, 0) for name in TODAY},
        "totals": {
            "leads": totals.get("leads", 0),
            **counts,
            "enrollments_completed": totals.get("completed", 0),
            "enrollments_exited": totals.get("exited", 0),
        },
        "rates": presenting.rates(totals),
        "business_now": now.isoformat(),
        "speed": parts.clock.speed,
    }


@router.get("/metrics/timeseries")
async def timeseries(
    parts: PartsOf,
    principal: Reader,
    bucket: Literal["hour", "day"] = "day",
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
    sequence_id: str | None = None,
) -> dict[str, Any]:
    """Figures by hour or day; empty buckets are there with zeros."""
    zone = await _zone(parts, principal)
    end = end or parts.clock.now()
    start = start or end - (timedelta(days=30) if bucket == "day" else timedelta(hours=48))
    if start >= end:
        raise Invalid("The time is empty.", errors=[{"field": "from", "problem": "must be before to"}])
    if (end - start) / (timedelta(hours=1) if bucket == "hour" else timedelta(days=1)) > MOST_BUCKETS:
        raise Invalid("The time is too long.", errors=[{"field": "from", "problem": f"at most {MOST_BUCKETS} buckets"}])
    scope = f"sequence:{sequence_id}" if sequence_id else "organization"
    found = {
        item["at"]: item
        for item in await parts.figures.series(principal.organization_id, scope, bucket, start, end, zone=zone)
    }
    items = [
        {"at": at.isoformat(), **{name: found.get(at, {}).get(name, 0) for name in FIGURES}}
        for at in _buckets(start, end, bucket, ZoneInfo(zone))
    ]
    return {"items": items}


@router.get("/activities")
async def activities(parts: PartsOf, principal: Reader, limit: Limit = PAGE, cursor: Cursor = None) -> dict[str, Any]:
    """What just happened in the organization, newest first."""
    page = await parts.views.page(
        principal,
        "timeline",
        filter_={},
        sort=Sort("position", descending=True),
        limit=limit,
        cursor=cursor,
        present=presenting.happening,
    )
    await _add_names(parts, principal, page["items"])
    return page


async def _add_names(parts: Parts, principal: Principal, items: list[dict[str, Any]]) -> None:
    sequence_ids = [item["sequence_id"] for item in items if item.get("sequence_id")]
    leads, sequences = await asyncio.gather(
        parts.reader.names_of(item.get("lead_id") for item in items),
        parts.views.many(principal, "sequences", sequence_ids, ("name",)),
    )
    for item in items:
        item["lead_name"] = leads.get(item.get("lead_id") or "")
        item["sequence_name"] = sequences.get(item.get("sequence_id") or "", {}).get("name")
        item.setdefault("step_name", item.get("step_id"))


async def _counts(parts: Parts, principal: Principal) -> dict[str, int]:
    """Figures that are a state of now, counted by index."""
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "sequences": ("sequences", {}),
        "sequences_active": ("sequences", {"status": "active"}),
        "sequences_pending": ("sequences", {"status": "pending"}),
        "enrollments_active": ("enrollments", {"status": "active"}),
        "enrollments_paused": ("enrollments", {"status": "paused"}),
        "in_doubt": ("messages", {"status": "in_doubt"}),
        "tasks_open": ("tasks", {"status": "open"}),
    }
    counted = await asyncio.gather(*(parts.views.count(principal, view, filter_) for view, filter_ in wanted.values()))
    return dict(zip(wanted, counted, strict=True))


async def _zone(parts: Parts, principal: Principal) -> str:
    found = await parts.views.many(principal, "organizations", [principal.organization_id], ("timezone",))
    return found.get(principal.organization_id, {}).get("timezone") or "UTC"


def _buckets(start: datetime, end: datetime, bucket: str, zone: ZoneInfo) -> list[datetime]:
    """Starts of the buckets from ``start`` to ``end``, UTC; days are the zone's own, so that one may have 23 or 25
    hours.
    """
    at = start.astimezone(ZoneInfo("UTC")).replace(minute=0, second=0, microsecond=0)
    if bucket == "hour":
        return [at + timedelta(hours=number) for number in range(int((end - at) / timedelta(hours=1)) + 1)]
    day = start.astimezone(zone).date()
    starts = []
    while (begin := datetime(day.year, day.month, day.day, tzinfo=zone)) < end:
        starts.append(begin.astimezone(ZoneInfo("UTC")))
        day += timedelta(days=1)
    return starts
