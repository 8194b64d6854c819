"""Moments that a message names and that cannot be: an end that lies behind us, or something done that lies ahead.

Left alone is what makes sense in the past: when a task made by hand was due (it is overdue), days off, the moment from
which a sequence takes leads. Clocks of senders differ, so what was done may lie a little ahead.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from services.enrollment.domain.errors import InvalidMoment
from services.enrollment.domain.work import Work

#: How far a sender's clock may be off.
ASKEW = timedelta(minutes=5)
#: How far ahead a funnel may date what it says: a clock without its zone is off by less. What lies ahead counts as of
#: its arrival.
ASKEW_BY_ZONE = timedelta(days=1)


def ahead(work: Work, field: str, moment: datetime | None) -> None:
    """Raises InvalidMoment unless it is still to come. None is no moment."""
    if moment is not None and moment <= work.now:
        raise _invalid(field, f"must lie ahead; it is {work.now.isoformat(timespec='seconds')}")


def begins(work: Work, field: str, moment: datetime | None, asked_at: datetime) -> None:
    """Raises InvalidMoment for a beginning that was over when it was asked for: what would go out at once was meant
    for another day. One that passed while the order was on its way begins late, and is no error.
    """
    if moment is not None and moment < min(asked_at, work.now) - ASKEW:
        raise _invalid(field, f"must not lie in the past; it is {work.now.isoformat(timespec='seconds')}")


def done(work: Work, field: str, moment: datetime | None, askew: timedelta = ASKEW) -> None:
    """Raises InvalidMoment for what is said to have happened and lies ahead."""
    if moment is not None and moment > work.now + askew:
        raise _invalid(field, f"must not lie ahead; it is {work.now.isoformat(timespec='seconds')}")


def _invalid(field: str, problem: str) -> InvalidMoment:
    return InvalidMoment(f"{field} {problem}", errors=[{"field": field, "problem": problem}])
