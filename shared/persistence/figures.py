"""Reading the statistics: counters per partition and day, merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from shared.persistence.views import ViewReader


class Figures:
    """What the statistics view has counted. A ``scope`` is ``organization`` or ``sequence:<id>``."""

    def __init__(self, views: ViewReader) -> None:
        self._views = views

    async def totals(self, organization_id: str, scope: str = "organization") -> dict[str, int]:
        """Every figure since the beginning; figures never counted are missing."""
        total: Counter[str] = Counter()
        for document in await self._documents(organization_id, scope, "all"):
            total.update(document.get("n", {}))
        return dict(total)

    async def step_totals(self, organization_id: str, sequence_id: str) -> dict[str, dict[str, int]]:
        """Every figure of a sequence's steps since the beginning, by step id."""
        steps: dict[str, Counter[str]] = {}
        for document in await self._documents(organization_id, f"sequence:{sequence_id}", "all"):
            for step_id, figures in document.get("steps", {}).items():
                steps.setdefault(step_id, Counter()).update(figures)
        return {step_id: dict(figures) for step_id, figures in steps.items()}

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

    async def _documents(self, organization_id: str, scope: str, bucket: Any) -> list[dict[str, Any]]:
        statistics = await self._views.collection("statistics")
        wanted: Mapping[str, Any] = {"organization_id": organization_id, "scope": scope, "bucket": bucket}
        return await statistics.find(wanted).to_list()


def _bucket_of(at: datetime, bucket: str, zone: ZoneInfo) -> datetime:
    if bucket == "hour":
        return at
    return at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(at.tzinfo)
