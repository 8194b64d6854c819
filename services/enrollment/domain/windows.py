"""When a channel may send: windows on local wall time, weekends and holidays, computed exactly.

A moment is inside a window when its local wall time is: from ``start`` (inside) to ``end`` (outside), to the minute.
An overnight window belongs to
the day it begins on. Where clocks go forward, wall times that do not exist are in no window; where they go back, both
passes are inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays

from shared.events.definition import QuietHours, SequenceSettings, Window
from shared.events.kinds import Channel

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
#: Days looked ahead for an opening before a rule counts as never open.
HORIZON_DAYS = 800
#: Near its end an opening is computed anew: one that goes on for days is only followed for some.
NEAR_THE_END = timedelta(hours=2)
#: Days whose openings one rule keeps computed, over all zones.
KEPT_DAYS = 4_096
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Interval = tuple[datetime, datetime]
#: Rules about hours that a person may say do not count; by the word of their field in the order (``force_window``).
Passed = frozenset[Literal["window", "day_off", "quiet_hours"]]
PASSED_BY: tuple[Literal["window", "day_off", "quiet_hours"], ...] = ("window", "day_off", "quiet_hours")
NONE_PASSED: Passed = frozenset()


@lru_cache(maxsize=1_024)
def zone_named(name: str) -> ZoneInfo | None:
    """The zone of the tz database with this name, None when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


UTC_ZONE = ZoneInfo("UTC")


def first_zone(*names: str | None) -> ZoneInfo:
    """The first name that is a zone, else UTC."""
    for name in names:
        if name and (zone := zone_named(name)) is not None:
            return zone
    return UTC_ZONE


@lru_cache(maxsize=512)
def days_off(country: str, year: int) -> frozenset[date]:
    """Public holidays of a country (``DE``) or a part of it (``DE-BY``) in a year; none for an unknown one."""
    code, _, part = country.partition("-")
    try:
        return frozenset(holidays.country_holidays(code, subdiv=part or None, years=year))
    except NotImplementedError:
        return frozenset()


def is_day_off(day: date, country: str | None) -> bool:
    return country is not None and day in days_off(country, day.year)


class Hours:
    """One set of rules: windows per weekday, weekends, holidays, days closed. Equal settings give equal answers in
    every process.
    """

    __slots__ = ("_days", "_openings", "closed", "country", "skip_weekends", "windows")

    def __init__(
        self,
        windows: Sequence[Window],
        *,
        skip_weekends: bool = False,
        country: str | None = None,
        closed: frozenset[date] = frozenset(),
    ) -> None:
        kept = [window for window in windows if window.days]
        self.windows = tuple(
            (frozenset(_WEEKDAYS.index(day) for day in window.days), _minutes(window.start), _minutes(window.end))
            for window in kept
        ) or ((frozenset(range(7)), 0, 0),)
        self.skip_weekends = skip_weekends
        self.country = country
        self.closed = closed
        self._days: dict[tuple[str, int], tuple[Interval, ...]] = {}
        self._openings: dict[str, Interval] = {}

    def opening(self, moment: datetime, zone: ZoneInfo) -> Interval | None:
        """The first stretch that is open at ``moment`` or after it, from ``moment`` on; touching stretches are one.
        None when there is none.
        """
        last = self._openings.get(zone.key)
        if last is not None and last[0] <= moment < last[1] - NEAR_THE_END:
            return (moment, last[1])
        day = moment.astimezone(zone).toordinal()
        best: Interval | None = None
        found = 0
        for offset in range(-1, HORIZON_DAYS):
            if best is not None and offset > found + 1:
                break
            for start, end in self.day(zone, day + offset):
                if end > moment and (best is None or start < best[0]):
                    best = (start, end)
                    found = offset
        if best is None:
            return None
        start, end = best
        # By time, not by day: where clocks go back, the second pass of one day's window follows the next day's.
        near = [stretch for offset in range(max(found, -1), found + 3) for stretch in self.day(zone, day + offset)]
        for other_start, other_end in sorted(near):
            if other_start <= end < other_end:
                end = other_end
        self._openings[zone.key] = (start, end)
        return (max(start, moment), end)

    def day(self, zone: ZoneInfo, ordinal: int) -> tuple[Interval, ...]:
        """Open stretches, in UTC, of the windows that begin on a local day."""
        key = (zone.key, ordinal)
        known = self._days.get(key)
        if known is None:
            if len(self._days) >= KEPT_DAYS:
                self._days.clear()
            known = self._days[key] = self._compute(zone, date.fromordinal(ordinal))
        return known

    def _compute(self, zone: ZoneInfo, day: date) -> tuple[Interval, ...]:
        if (self.skip_weekends and day.weekday() >= 5) or day in self.closed or is_day_off(day, self.country):
            return ()
        midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001  # wall time, on purpose without a zone
        stretches: list[Interval] = []
        for days, start, end in self.windows:
            if day.weekday() in days:
                opens = midnight + timedelta(minutes=start)
                closes = midnight + timedelta(minutes=end) + (DAY if end <= start else timedelta(0))
                stretches += moments_of(zone, opens, closes)
        return _joined(stretches)


#: A rule about hours and the zone it is read in.
Rule = tuple[Hours, ZoneInfo]


def hours_of(settings: SequenceSettings) -> Hours | None:
    """The rules of a sequence; None when it may send at any hour."""
    if not settings.windows and not settings.skip_weekends and settings.holidays is None:
        return None
    return Hours(settings.windows, skip_weekends=settings.skip_weekends, country=settings.holidays)


def channel_hours_of(settings: SequenceSettings) -> dict[str, Hours]:
    """The rules of a sequence for single channels."""
    return {channel.value: Hours(windows) for channel, windows in settings.channel_windows.items() if windows}


#: Channels that ring: they keep quiet hours.
QUIET_CHANNELS = frozenset({Channel.SMS.value, Channel.WHATSAPP.value})


def hours_around(quiet: QuietHours) -> Hours | None:
    """The hours between quiet hours; None when none are quiet."""
    return None if quiet.start == quiet.end else Hours([Window(start=quiet.end, end=quiet.start)])


class Opening(NamedTuple):
    """``end`` is None where no rule ends it."""

    start: datetime
    end: datetime | None


def next_open(moment: datetime, rules: Sequence[Rule]) -> Opening | None:
    """The first moment, not before ``moment``, that every rule allows, and the end of that opening. None for rules that
    never open together.
    """
    start, end = moment, None
    for _ in range(HORIZON_DAYS):
        end = None
        for hours, zone in rules:
            opening = hours.opening(start, zone)
            if opening is None:
                return None
            if opening[0] > start:
                start = opening[0]
                break
            end = opening[1] if end is None else min(end, opening[1])
        else:
            return Opening(start, end)
    return None


# --- delays on the wall clock -------------------------------------------------------------------------------------


def local_days_later(moment: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The same wall time ``days`` days later; a wall time that does not exist there moves forward by the gap."""
    if not days:
        return moment
    local = moment.astimezone(zone)
    return (local.replace(tzinfo=None) + timedelta(days=days)).replace(tzinfo=zone, fold=local.fold).astimezone(UTC)


def business_days_later(moment: datetime, days: int, zone: ZoneInfo, is_off: Callable[[date], bool]) -> datetime:
    """``days`` days later (earlier when negative), of which none is a weekend or off, at the same wall time."""
    day = moment.astimezone(zone).date()
    first, left, way = day, abs(days), DAY if days > 0 else -DAY
    for _ in range(left * 4 + 40):
        if not left:
            break
        day += way
        if day.weekday() < 5 and not is_off(day):
            left -= 1
    return local_days_later(moment, (day - first).days, zone)


def at_time_of_day(moment: datetime, time_of_day: str, zone: ZoneInfo) -> datetime:
    """The next moment, not before ``moment``, at a local time of day: the same day or the next."""
    local = moment.astimezone(zone)
    minutes = _minutes(time_of_day)
    midnight = datetime(local.year, local.month, local.day)  # noqa: DTZ001  # wall time, on purpose without a zone
    for days in (0, 1, 2):
        wall = midnight + timedelta(days=days, minutes=minutes)
        for fold in (0, 1):
            candidate = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
            if candidate >= moment:
                return candidate
    return moment


# --- wall time to moments ---------------------------------------------------------------------------------------------


def moments_of(zone: ZoneInfo, opens: datetime, closes: datetime) -> list[Interval]:
    """The stretches of UTC in which the wall clock of ``zone`` shows ``opens`` (inside) to ``closes`` (outside); both
    are naive.
    """
    first = opens.toordinal() - 1
    last = closes.toordinal() + 1
    regimes: list[tuple[datetime | None, timedelta]] = [(None, _offset(zone, _midnight(first)))]
    for ordinal in range(first, last + 1):
        regimes += transitions(zone.key, ordinal)
    opens_utc, closes_utc = opens.replace(tzinfo=UTC), closes.replace(tzinfo=UTC)
    found: list[Interval] = []
    for index, (since, offset) in enumerate(regimes):
        until = regimes[index + 1][0] if index + 1 < len(regimes) else None
        start, end = opens_utc - offset, closes_utc - offset
        if since is not None and since > start:
            start = since
        if until is not None and until < end:
            end = until
        if start < end:
            found.append((start, end))
    return found


@lru_cache(maxsize=65_536)
def transitions(zone_key: str, ordinal: int) -> tuple[tuple[datetime, timedelta], ...]:
    """Changes of a zone's offset within a UTC day: the moment, and the offset from then on."""
    zone = ZoneInfo(zone_key)
    moment = _midnight(ordinal)
    before = _offset(zone, moment)
    found: list[tuple[datetime, timedelta]] = []
    for _ in range(24):
        after = _offset(zone, moment + HOUR)
        if after != before:
            found.append((_change(zone, moment, moment + HOUR), after))
            before = after
        moment += HOUR
    return tuple(found)


def _change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first second after ``low`` at which the offset is that of ``high``."""
    new = _offset(zone, high)
    seconds_low, seconds_high = 0, int((high - low).total_seconds())
    while seconds_high - seconds_low > 1:
        middle = (seconds_low + seconds_high) // 2
        if _offset(zone, low + timedelta(seconds=middle)) == new:
            seconds_high = middle
        else:
            seconds_low = middle
    return low + timedelta(seconds=seconds_high)


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _midnight(ordinal: int) -> datetime:
    day = date.fromordinal(ordinal)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _minutes(time_of_day: str) -> int:
    return int(time_of_day[:2]) * 60 + int(time_of_day[3:])


def _joined(stretches: list[Interval]) -> tuple[Interval, ...]:
    joined: list[Interval] = []
    for start, end in sorted(stretches):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)
