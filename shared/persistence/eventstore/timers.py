"""Which due timers are taken, and in which order.

A page of ``limit`` timers is filled by this rule:

1. Follow-ups go before first touches, first touches before watchdogs; but of every page of three or more places an
   eighth (at least one) is kept for first touches and a quarter (at least one) for watchdogs, as far as they have due
   timers, so that no class starves.
2. Within a class the organizations go round: each gets an equal share, and what one does not use goes to the others
   in equal shares again. When there are more organizations than places, the next page begins with the organization
   after the last one served.
3. Within an organization the earliest comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.events.why import TimerClass
from shared.persistence.eventstore.batch import CLASS_NUMBERS
from shared.persistence.eventstore.effects import TimerRow
from shared.persistence.eventstore.moments import micros, moment_of
from shared.persistence.eventstore.tables.session import Rows, Session

_CLASSES = {number: timer_class for timer_class, number in CLASS_NUMBERS.items()}

#: Jumps from organization to organization along the index: one seek for each that has timers, however many there are.
_ORGANIZATIONS = """
WITH RECURSIVE o(id) AS (
    SELECT min(organization_id) FROM timers WHERE class = ? AND due_at IS NOT NULL
    UNION ALL
    SELECT (
        SELECT min(t.organization_id) FROM timers AS t
        WHERE t.class = ? AND t.organization_id > o.id AND t.due_at IS NOT NULL
    )
    FROM o WHERE o.id IS NOT NULL
)
SELECT o.id, (
    SELECT min(t.due_at) FROM timers AS t WHERE t.class = ? AND t.organization_id = o.id AND t.due_at IS NOT NULL
)
FROM o WHERE o.id IS NOT NULL
"""


class NextDue(NamedTuple):
    """When the next timer comes due; None when there is none.

    ``business`` is for follow-ups and first touches, ``machine`` for watchdogs.
    """

    business: datetime | None
    machine: datetime | None


class DueTimers:
    """Takes pages of due timers; remembers where the round of organizations stands. Used by one thread."""

    def __init__(self) -> None:
        self._served_last: dict[int, str] = {}

    def page(self, session: Session, business_now: datetime, machine_now: datetime, limit: int) -> list[TimerRow]:
        due_by = {
            CLASS_NUMBERS[c]: micros(machine_now if c is TimerClass.WATCHDOG else business_now) for c in TimerClass
        }
        least = 1 if limit >= len(_CLASSES) else 0
        kept = {
            CLASS_NUMBERS[TimerClass.FIRST_TOUCH]: max(limit // 8, least),
            CLASS_NUMBERS[TimerClass.WATCHDOG]: max(limit // 4, least),
        }
        found = {number: self._of_class(session, number, by, limit) for number, by in due_by.items()}
        places = {number: min(kept.get(number, 0), len(rows)) for number, rows in found.items()}
        left = limit - sum(places.values())
        for number in sorted(found):
            more = max(min(left, len(found[number]) - places[number]), 0)
            places[number] += more
            left -= more
        page: list[TimerRow] = []
        for number in sorted(found):
            taken = found[number][: places[number]]
            if taken:
                self._served_last[number] = taken[-1][2]
            page.extend(_timer_row(session, row) for row in taken)
        return page

    def _of_class(self, session: Session, number: int, due_by: int, limit: int) -> Rows:
        """Up to ``limit`` due rows, dealt out round by round, one organization after the other."""
        organizations = self._in_turn(
            number, [o for o, first in session.rows(_ORGANIZATIONS, (number,) * 3) if first <= due_by]
        )[:limit]
        if not organizations:
            return []
        share = -(-limit // len(organizations))
        hands = _by_organization(session.first_timers(number, organizations, due_by, share))
        while sum(map(len, hands.values())) < limit:
            hungry = [o for o in organizations if len(hands.get(o, ())) == share]
            if not hungry:
                break
            share *= 2
            hands.update(_by_organization(session.first_timers(number, hungry, due_by, share)))
        dealt: Rows = []
        for nth in range(share):
            dealt.extend(hands[o][nth] for o in organizations if nth < len(hands.get(o, ())))
            if len(dealt) >= limit:
                break
        return dealt[:limit]

    def _in_turn(self, number: int, organizations: Sequence[str]) -> list[str]:
        last = self._served_last.get(number, "")
        return [o for o in organizations if o > last] + [o for o in organizations if o <= last]


def next_due(session: Session) -> NextDue:
    earliest: dict[int, int | None] = {}
    for number in _CLASSES:
        moments = [first for _, first in session.rows(_ORGANIZATIONS, (number,) * 3)]
        earliest[number] = min(moments, default=None)
    watchdog = CLASS_NUMBERS[TimerClass.WATCHDOG]
    business = [moment for number, moment in earliest.items() if number != watchdog and moment is not None]
    machine = earliest[watchdog]
    return NextDue(moment_of(min(business)) if business else None, None if machine is None else moment_of(machine))


def due_counts(session: Session, business_now: datetime, machine_now: datetime) -> dict[tuple[str, TimerClass], int]:
    """How many timers are due, by organization and class; those without due timers are left out."""
    found = {}
    for number, timer_class in _CLASSES.items():
        due_by = micros(machine_now if timer_class is TimerClass.WATCHDOG else business_now)
        for organization_id, first in session.rows(_ORGANIZATIONS, (number,) * 3):
            if first <= due_by:
                found[organization_id, timer_class] = session.rows(_DUE, (number, organization_id, due_by))[0][0]
    return found


_DUE = "SELECT count(*) FROM timers WHERE class = ? AND organization_id = ? AND due_at IS NOT NULL AND due_at <= ?"
_TIMERS_OF = (
    "SELECT t.aggregate_id, t.name, t.organization_id, t.class, t.due_at, t.blocked_on, t.execution, t.attempt "
    "FROM {keys} LEFT JOIN timers AS t ON t.aggregate_id = k.a ORDER BY t.aggregate_id, t.name"
)


def timers_of(session: Session, aggregate_ids: Sequence[UUID]) -> list[TimerRow]:
    rows = session.keyed(_TIMERS_OF, ("uuid",), [(session.uid(aggregate_id),) for aggregate_id in aggregate_ids])
    return [_timer_row(session, row) for row in rows if row[0] is not None]


def _by_organization(rows: Rows) -> dict[str, Rows]:
    hands: dict[str, Rows] = {}
    for row in rows:
        hands.setdefault(row[2], []).append(row)
    return hands


def _timer_row(session: Session, row: tuple[object, ...]) -> TimerRow:
    aggregate_id, name, organization_id, number, due_at, blocked_on, execution, attempt = row
    return TimerRow(
        session.uuid(aggregate_id),
        str(name),
        str(organization_id),
        _CLASSES[int(str(number))],
        None if due_at is None else moment_of(int(str(due_at))),
        None if blocked_on is None else str(blocked_on),
        int(str(execution)),
        int(str(attempt)),
    )
