"""An oracle that looks at the wall clock minute by minute. It knows the product's words for a window and nothing else
of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays

from shared.events.definition import Window

MINUTE = timedelta(minutes=1)
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


@lru_cache(maxsize=1_000)
def public_holidays(country: str, year: int) -> frozenset[date]:
    code, _, part = country.partition("-")
    return frozenset(holidays.country_holidays(code, subdiv=part or None, years=year))


@dataclass(frozen=True)
class Says:
    """A rule as a person would write it down."""

    zone: str
    windows: tuple[Window, ...] = ()
    skip_weekends: bool = False
    country: str | None = None
    closed: frozenset[date] = frozenset()

    def begins_on(self, day: date) -> bool:
        if self.skip_weekends and day.isoweekday() in (6, 7):
            return False
        return day not in self.closed and not (self.country and day in public_holidays(self.country, day.year))

    def is_open(self, wall: datetime) -> bool:
        """Is this wall time inside? Word for word: from the start (inside) to the end (outside), to the minute; an
        overnight window belongs to the day it begins on."""
        today, minute = wall.date(), wall.hour * 60 + wall.minute
        if not self.windows:
            return self.begins_on(today)
        for window in self.windows:
            start = int(window.start[:2]) * 60 + int(window.start[3:])
            end = int(window.end[:2]) * 60 + int(window.end[3:])
            if self._on(window, today) and (start <= minute < end or (end <= start <= minute)):
                return True
            if end <= start and minute < end and self._on(window, today - timedelta(days=1)):
                return True
        return False

    def _on(self, window: Window, day: date) -> bool:
        return WEEKDAYS[day.weekday()] in window.days and self.begins_on(day)


def open_minutes(rules: Sequence[Says], since: datetime, minutes: int) -> Iterator[tuple[datetime, bool]]:
    """Each minute from ``since`` on, and whether every rule is open in it."""
    zones = [ZoneInfo(rule.zone) for rule in rules]
    for step in range(minutes):
        moment = since + step * MINUTE
        yield moment, all(rule.is_open(moment.astimezone(zone)) for rule, zone in zip(rules, zones, strict=True))


def first_opening(rules: Sequence[Says], since: datetime, minutes: int) -> tuple[datetime | None, datetime | None]:
    """The first open minute and the first closed one after it; None for what lies beyond."""
    opened: datetime | None = None
    for moment, is_open in open_minutes(rules, since, minutes):
        if is_open and opened is None:
            opened = moment
        if not is_open and opened is not None:
            return opened, moment
    return opened, None


def clock_changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """Hours of a year in which the offset of a zone changes."""
    found = []
    moment = datetime(year, 1, 1, tzinfo=UTC)
    before = moment.astimezone(zone).utcoffset()
    while moment.year == year:
        after = (moment + timedelta(days=1)).astimezone(zone).utcoffset()
        if after != before:
            hours = (moment + timedelta(hours=hour) for hour in range(1, 25))
            found.append(next(hour for hour in hours if hour.astimezone(zone).utcoffset() != before))
            before = after
        moment += timedelta(days=1)
    return found
