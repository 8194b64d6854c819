"""Figures and the feed of what just happened."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query

from services.gateway import performance, present
from services.gateway.context import Context, may
from services.gateway.errors import BadRequest
from services.gateway.lists import Listing, Paging, leads_called, listed
from services.gateway.shapes import ActivityPage, Cohorts, Heatmap, Overview, Timeseries
from services.gateway.times import bad_time, moment

router = APIRouter(tags=["analytics"])

FEED = Listing("timeline", {"position": -1}, "-position")
#: A chart of more points than this shows nothing.
MAX_POINTS = 2_000
#: Beyond these a local day may lie outside of the calendar.
YEARS = range(1971, 9_998)
_TODAY = ("sent", "opened", "clicked", "replied", "bounced", "unsubscribed", "meetings", "enrolled")
_OF_HOURS = ("sent", "opened", "clicked", "replied")
_SERIES = ("sent", "opened", "clicked", "replied", "bounced", "unsubscribed", "enrolled", "completed")


@router.get("/metrics/overview", response_model=Overview)
async def overview(context: Context = may("metrics:read")) -> dict[str, Any]:
    """Today (the organization's day), totals, and rates since the beginning."""
    await context.reach("statistics", "sequences", "tasks", "messages")
    parts, organization_id = context.parts, context.principal.organization_id
    zone = await _zone(context)
    now = parts.clock.now()
    ever, days, totals = await asyncio.gather(
        parts.figures.ever(organization_id, ["organization"], ("n", "now")),
        parts.figures.series(
            organization_id, "organization", "day", now - timedelta(days=1), now + timedelta(hours=1), zone=zone
        ),
        _totals(context),
    )
    figures, inside = ever["organization"].get("n", {}), ever["organization"].get("now", {})
    today = days[-1] if days and _same_day(days[-1]["at"], now) else {}
    return {
        "today": {name: today.get(name, 0) for name in _TODAY},
        "totals": {
            "leads": max(figures.get("leads", 0) - figures.get("erased", 0), 0),
            "enrollments_completed": figures.get("completed", 0),
            "enrollments_exited": figures.get("exited", 0),
            **{f"enrollments_{status}": inside.get(status, 0) for status in ("pending", "active", "paused")},
            **totals,
        },
        "rates": performance.rates(figures),
        "business_now": now,
        "speed": parts.clock.speed,
    }


async def _totals(context: Context) -> dict[str, int]:
    views, scope = context.parts.views, context.scope
    sequences, tasks, messages = [await views.collection(name) for name in ("sequences", "tasks", "messages")]
    found, tasks_open, in_doubt = await asyncio.gather(
        sequences.find(scope.filter(), {"status": 1, "draft_status": 1}).to_list(),
        tasks.count_documents(scope.filter({"status": "open"})),
        messages.count_documents(scope.filter({"status": "in_doubt"})),
    )
    return {
        "sequences": sum(1 for each in found if each.get("status") != "archived"),
        "sequences_active": sum(1 for each in found if each.get("status") == "active"),
        "sequences_pending": sum(1 for each in found if each.get("draft_status") == "pending"),
        "in_doubt": in_doubt,
        "tasks_open": tasks_open,
    }


@router.get("/metrics/timeseries", response_model=Timeseries)
async def timeseries(
    bucket: Literal["hour", "day"] = "day",
    start: datetime | None = Query(default=None, alias="from"),
    end: datetime | None = Query(default=None, alias="to"),
    sequence_id: UUID | None = Query(default=None),
    context: Context = may("metrics:read"),
) -> dict[str, Any]:
    """Figures of every hour or day (the organization's) from ``from`` to ``to``, oldest first. Without times: the last
    30."""
    await context.reach("statistics")
    parts = context.parts
    length = timedelta(hours=1) if bucket == "hour" else timedelta(days=1)
    until = moment("to", end) or parts.clock.now() + timedelta(seconds=1)
    if until.year not in YEARS:
        raise bad_time("to", f"must lie in the years {YEARS[0]} to {YEARS[-1]}")
    since = moment("from", start) or until - 29 * length
    if since >= until or (until - since) / length > MAX_POINTS:
        raise BadRequest(f"from must be before to, with at most {MAX_POINTS} points between", code="bad_time")
    zone = await _zone(context)
    scope = _scope(sequence_id)
    starts = _buckets(bucket, since, until, ZoneInfo(zone))
    points = await parts.figures.series(context.principal.organization_id, scope, bucket, starts[0], until, zone=zone)
    counted = {each["at"]: each for each in points}
    return {"items": [{"at": at, **{name: counted.get(at, {}).get(name, 0) for name in _SERIES}} for at in starts]}


@router.get("/metrics/heatmap", response_model=Heatmap)
async def heatmap(
    days: Annotated[int, Query(ge=1, le=366)] = 90,
    sequence_id: UUID | None = Query(default=None),
    context: Context = may("metrics:read"),
) -> dict[str, Any]:
    """What was sent, opened, clicked and replied in each hour of the week, in the organization's zone, over the last
    days."""
    await context.reach("statistics")
    parts = context.parts
    zone = await _zone(context)
    until = parts.clock.now() + timedelta(seconds=1)
    points = await parts.figures.series(
        context.principal.organization_id, _scope(sequence_id), "hour", until - timedelta(days=days), until
    )
    hours: dict[tuple[int, int], Counter[str]] = {(day, hour): Counter() for day in range(7) for hour in range(24)}
    for point in points:
        local = point["at"].astimezone(ZoneInfo(zone))
        hours[local.weekday(), local.hour].update({name: point.get(name, 0) for name in _OF_HOURS})
    rows = [{"weekday": day, "hour": hour, **figures} for (day, hour), figures in hours.items()]
    return {"zone": zone, "items": rows}


@router.get("/metrics/cohorts", response_model=Cohorts)
async def cohorts(
    weeks: Annotated[int, Query(ge=1, le=104)] = 12,
    sequence_id: UUID | None = Query(default=None),
    context: Context = may("metrics:read"),
) -> dict[str, Any]:
    """Those enrolled in each of the last weeks (Monday to Sunday, UTC), and what happened in each week since."""
    await context.reach("statistics")
    today = context.parts.clock.now().date()
    found = await context.parts.figures.cohorts(
        context.principal.organization_id,
        today - timedelta(weeks=weeks - 1),
        today,
        str(sequence_id) if sequence_id else None,
    )
    return {
        "items": [
            {
                "began": began,
                "enrolled": sum(figures.get("enrolled", 0) for figures in by_week.values()),
                "weeks": [{"week": week, **figures} for week, figures in sorted(by_week.items())],
            }
            for began, by_week in found.items()
        ]
    }


@router.get("/activities", response_model=ActivityPage)
async def activities(asked: Paging, context: Context = may("metrics:read")) -> dict[str, Any]:
    """What just happened in the organization, newest first; ``q`` searches the lead. Without the right to read
    leads nobody is named, and what was said is left out."""
    reads_leads = "leads:read" in context.principal.permissions
    if asked.q:
        context.principal.require("leads:read")

    async def show(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        leads: dict[str, str | None] = {}
        if reads_leads:
            leads = await context.parts.views.names_of(each.get("lead_id") for each in found)
        else:
            found = [{**each, "personal": None} for each in found]
        names = await present.Names.of(context.parts.views, context.scope, found)
        return [present.activity(each, leads.get(each.get("lead_id") or ""), names) for each in found]

    return await listed(context, FEED, asked, {}, show, await leads_called(context, asked.q))


async def _zone(context: Context) -> str:
    organization = await context.parts.directory.organization(context.principal.organization_id) or {}
    return organization.get("timezone") or "UTC"


def _scope(sequence_id: UUID | None) -> str:
    return f"sequence:{sequence_id}" if sequence_id else "organization"


def _buckets(bucket: str, since: datetime, until: datetime, zone: ZoneInfo) -> list[datetime]:
    """Beginnings (UTC) of the hours or local days from the one ``since`` is in to the last before ``until``."""
    if bucket == "hour":
        first = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        hours = -((first - until) // timedelta(hours=1))
        return [first + timedelta(hours=number) for number in range(hours)]
    day, starts = since.astimezone(zone).date(), list[datetime]()
    while (start := datetime.combine(day, time(), zone).astimezone(UTC)) < until:
        starts.append(start)
        day += timedelta(days=1)
    return starts


def _same_day(at: datetime, now: datetime) -> bool:
    return at <= now < at + timedelta(days=1, hours=1)
