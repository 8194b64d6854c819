"""Waking many timers at once without holding other appends off for long.

Few timers are woken in the transaction that asks for it. Of more, an order is written there, and carried out afterwards
in pages of the timers' aggregates, in the order of their ids, each page in a transaction of its own that also notes how
far it came. None is missed: a timer written before the order lies in one of the pages, whenever they come, and one
written after it was decided on what the order is about, since appends check the versions of all that was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from shared.persistence.eventstore.effects import TimerWake, WakeOrder
from shared.persistence.eventstore.moments import micros, moment_of
from shared.persistence.eventstore.tables import statements as write
from shared.persistence.eventstore.tables.session import EVERYWHERE, Within

if TYPE_CHECKING:
    from shared.persistence.eventstore.tables.session import Session

#: Most timers that are woken in one transaction, and looked at for one page.
PAGE = 500

_BLOCKED = "SELECT count(*) FROM (SELECT 1 FROM timers WHERE organization_id = ? AND blocked_on = ? LIMIT ?) AS t"
_WAITING = (
    "SELECT count(*) FROM (SELECT 1 FROM timers "
    "WHERE class IN (0, 1) AND organization_id = ? AND due_at > ? AND blocked_on IS NULL LIMIT ?) AS t"
)
_ORDERS = (
    "SELECT organization_id, blocked_on, at, spread_seconds, reached FROM timer_wakes "
    "ORDER BY at, organization_id, blocked_on LIMIT ?"
)
_DONE = "DELETE FROM timer_wakes WHERE organization_id = ? AND blocked_on = ? AND at = ? AND reached"
_REACHED = "UPDATE timer_wakes SET reached = ? WHERE organization_id = ? AND blocked_on = ? AND at = ? AND reached"
_END_OF_PAGE = "SELECT aggregate_id FROM timers WHERE aggregate_id > ? ORDER BY aggregate_id LIMIT 1 OFFSET ?"
_BEFORE_ALL = UUID(int=0)


def order_wake(session: Session, wake: TimerWake) -> None:
    """Wakes the timers now, when they are few, else leaves the order for it."""
    if wake.blocked_on is None:
        found = session.rows(_WAITING, (wake.organization_id, micros(wake.at), PAGE + 1))
    else:
        found = session.rows(_BLOCKED, (wake.organization_id, wake.blocked_on, PAGE + 1))
    if found[0][0] <= PAGE:
        _wake(session, wake, EVERYWHERE)
    else:
        session.write(
            write.TIMER_WAKES, [(wake.organization_id, wake.blocked_on or "", micros(wake.at), wake.spread_seconds)]
        )


def wake_orders(session: Session, limit: int) -> list[WakeOrder]:
    """Up to ``limit`` orders that are not done, oldest first."""
    return [
        WakeOrder(
            TimerWake(blocked_on or None, organization_id, moment_of(at), spread_seconds),
            session.uuid(reached) if reached is not None else None,
        )
        for organization_id, blocked_on, at, spread_seconds, reached in session.rows(_ORDERS, (limit,))
    ]


def end_of_page(session: Session, after: UUID | None) -> UUID | None:
    """The aggregate with which a page of timers beyond ``after`` ends; None when there are fewer."""
    rows = session.rows(_END_OF_PAGE, (session.uid(after or _BEFORE_ALL), PAGE - 1))
    return session.uuid(rows[0][0]) if rows else None


def wake_page(session: Session, order: WakeOrder, until: UUID | None) -> None:
    """Wakes the order's timers beyond those done up to ``until``, and notes it; None: to the end, and it is done. An
    order that was given again since it was read stays as it is."""
    session.take_write_lock()
    wake = order.wake
    after, end = (session.uid(each) if each is not None else None for each in (order.after, until))
    _wake(session, wake, Within(after, end))
    key = (wake.organization_id, wake.blocked_on or "", micros(wake.at))
    as_read, read = (" IS NULL", ()) if after is None else (" = ?", (after,))
    if end is None:
        session.run(_DONE + as_read, (*key, *read))
    else:
        session.run(_REACHED + as_read, (end, *key, *read))


def _wake(session: Session, wake: TimerWake, within: Within) -> None:
    at, spread_ms = micros(wake.at), wake.spread_seconds * 1000
    if wake.blocked_on is None:
        session.advance_timers(wake.organization_id, at, spread_ms, within)
    else:
        session.wake_timers(wake.blocked_on, wake.organization_id, at, spread_ms, within)
