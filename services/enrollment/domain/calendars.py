"""Calendars: days on which an organization, a sender or a coach does not work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from services.enrollment.domain.windows import DAY, HORIZON_DAYS, Hours, is_day_off, local_days_later
from shared.events.definition import DayOff

#: The calendar that holds for everybody.
EVERYBODY = "organization"


def of_sender(sender_id: str) -> str:
    return f"sender:{sender_id}"


def of_member(member_id: str) -> str:
    return f"member:{member_id}"


@dataclass(frozen=True, slots=True)
class Calendar:
    """``holidays`` is a country or a part of one, ``closed`` the days off one by one; ``hours`` the same as a rule for
    messages.
    """

    holidays: str | None
    days_off: tuple[DayOff, ...]
    closed: frozenset[date]
    hours: Hours

    def is_off(self, day: date) -> bool:
        return day in self.closed or is_day_off(day, self.holidays)


def calendar(holidays: str | None, days_off: Sequence[DayOff]) -> Calendar:
    closed = frozenset(
        date.fromordinal(ordinal)
        for entry in days_off
        for ordinal in range(entry.first.toordinal(), (entry.last or entry.first).toordinal() + 1)
    )
    return Calendar(holidays, tuple(days_off), closed, Hours([], country=holidays, closed=closed))


def working_moment(moment: datetime, is_off: Callable[[date], bool], zone: ZoneInfo) -> datetime:
    """``moment``, or the same wall time on the first day after it that is not off; ``moment`` itself when there is
    none.
    """
    first = day = moment.astimezone(zone).date()
    for _ in range(HORIZON_DAYS):
        if not is_off(day):
            return local_days_later(moment, (day - first).days, zone)
        day += DAY
    return moment
