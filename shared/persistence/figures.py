"""Reading the statistics: counters per partition and day, merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from shared.persistence.views import ViewReader

#: What a document of all time counts.
COUNTED = ("n", "now", "reasons", "senders", "steps", "variants")
#: Whole numbers under names, to any depth.
Tree = dict[str, Any]


class Figures:
    """What the statistics view has counted. A ``scope`` is ``organization`` or ``sequence:<id>``."""

    def __init__(self, views: ViewReader) -> None:
        self._views = views

    async def ever(
        self, organization_id: str, scopes: Sequence[str], names: Sequence[str] = COUNTED
    ) -> dict[str, Tree]:
        """What was counted since the beginning, by scope: trees of whole numbers under these names; what was never
        counted is missing.
        """
        found: dict[str, Tree] = {scope: {} for scope in scopes}
        wanted = dict.fromkeys(("scope", *names), 1)
        for document in await self._documents(organization_id, {"$in": list(scopes)}, "all", wanted):
            add_up(found[document["scope"]], {name: document[name] for name in names if name in document})
        return found

    async def totals(self, organization_id: str, scope: str = "organization") -> dict[str, int]:
        """Every figure since the beginning; figures never counted are missing."""
        return dict((await self.ever(organization_id, [scope], ("n",)))[scope].get("n", {}))

    async def step_totals(self, organization_id: str, sequence_id: str) -> dict[str, dict[str, int]]:
        """Every figure of a sequence's steps since the beginning, by step id."""
        scope = f"sequence:{sequence_id}"
        return dict((await self.ever(organization_id, [scope], ("steps",)))[scope].get("steps", {}))

    async def cohorts(
        self, organization_id: str, first: date, last: date, sequence_id: str | None = None
    ) -> dict[date, dict[int, dict[str, int]]]:
        """Figures of those who were enrolled in a week (its Monday), by whole weeks since each one's own beginning.
        Weeks from that of ``first`` to that of ``last``, in which somebody was.
        """
        weeks = {"$gte": f"week:{_monday(first)}", "$lte": f"week:{_monday(last)}"}
        cohorts: dict[date, dict[int, dict[str, int]]] = {}
        for document in await self._documents(organization_id, "cohorts", weeks):
            for sequence, by_week in document.get("sequences", {}).items():
                if sequence_id in {None, sequence}:
                    cohort = cohorts.setdefault(date.fromisoformat(document["bucket"][5:]), {})
                    add_up(cohort, {int(week): figures for week, figures in by_week.items()})
        return dict(sorted(cohorts.items()))

    async def series(
        self,
        organization_id: str,
        scope: str,
        bucket: Literal["hour", "day"],
        start: datetime,
        end: datetime,
        *,
        zone: str = "UTC",
    ) -> list[dict[str, Any]]:
        """``[{"at": start of the bucket, UTC, <figure>: int, …}]`` from ``start`` (inside) to ``end`` (outside), only
        buckets with something in them.

        Days are those of ``zone``; a zone that is off by a part of an hour is rounded to whole hours.
        """
        days = {"$gte": f"day:{(start - timedelta(days=1)).date()}", "$lte": f"day:{(end + timedelta(days=1)).date()}"}
        local = ZoneInfo(zone)
        buckets: dict[datetime, Counter[str]] = {}
        for document in await self._documents(organization_id, scope, days):
            for hour, figures in document.get("hours", {}).items():
                at = datetime.fromisoformat(f"{document['bucket'][4:]}T{hour}:00:00+00:00")
                if not start - timedelta(hours=1) < at < end:
                    continue
                buckets.setdefault(_bucket_of(at, bucket, local), Counter()).update(figures)
        return [{"at": at, **figures} for at, figures in sorted(buckets.items())]

    async def _documents(
        self, organization_id: str, scope: Any, bucket: Any, names: Mapping[str, int] | None = None
    ) -> list[dict[str, Any]]:
        statistics = await self._views.collection("statistics")
        wanted: Mapping[str, Any] = {"organization_id": organization_id, "scope": scope, "bucket": bucket}
        return await statistics.find(wanted, names).to_list()


def _bucket_of(at: datetime, bucket: str, zone: ZoneInfo) -> datetime:
    if bucket == "hour":
        return at
    return at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(at.tzinfo)


def add_up(total: dict[Any, Any], more: Mapping[Any, Any]) -> None:
    """Adds a tree of whole numbers to another."""
    for name, value in more.items():
        if isinstance(value, Mapping):
            add_up(total.setdefault(name, {}), value)
        else:
            total[name] = total.get(name, 0) + value


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())
