"""Waking many timers: in pages that hold nobody off for long, and that no crash, and nothing written meanwhile, makes
lose a timer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest

from shared.events.why import TimerClass
from shared.ids import new_id
from shared.persistence.eventstore import Effects, EventStore, TimerRow, TimerWake, WakeOrder, open_url, wakes
from tests.eventstore.builders import MASTER_KEY, NOW, timer

DAY = 86_400
#: Of the tests: a page is a constant.
PAGE = 10
LOOSER = TimerWake(None, "demo", NOW, 600)
RESUMED = TimerWake("sequence:1", "demo", NOW, 600)
PROGRAM = Path(__file__).with_name("wake_process.py")


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakes, "PAGE", PAGE)


def waiting(count: int, *, blocked_on: str | None = None, organization_id: str = "demo") -> list[TimerRow]:
    """By aggregate."""
    made = [timer(new_id(), DAY, blocked_on=blocked_on, organization_id=organization_id) for _ in range(count)]
    return sorted(made, key=lambda row: row.aggregate_id)


def rows(store: EventStore, of: list[TimerRow]) -> list[TimerRow]:
    found = store.timers_of([row.aggregate_id for row in of])
    return [row for each in of for row in found[each.aggregate_id]]


def awake(row: TimerRow) -> bool:
    return row.blocked_on is None and row.due_at is not None and row.due_at < NOW + timedelta(seconds=600)


def next_page(store: EventStore) -> None:
    [order] = store.timer_wakes(9)
    store.wake_timers(order)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("wake", [LOOSER, RESUMED])
def test_a_page_of_timers_is_woken_at_once(store: EventStore, wake: TimerWake) -> None:
    few = waiting(PAGE, blocked_on=wake.blocked_on)
    store.append([], Effects(timers=few))
    store.append([], Effects(timers_woken=[wake]))
    assert all(map(awake, rows(store, few)))
    assert store.timer_wakes(9) == []


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("wake", [LOOSER, RESUMED])
def test_more_are_woken_page_by_page_and_nobody_else(store: EventStore, wake: TimerWake) -> None:
    many = waiting(3 * PAGE + 4, blocked_on=wake.blocked_on)
    others = [
        *waiting(PAGE, blocked_on=wake.blocked_on, organization_id="other"),
        *waiting(3, blocked_on="task:1"),
        *waiting(3, blocked_on=None if wake.blocked_on else "sequence:1"),
        timer(new_id(), DAY, timer_class=TimerClass.WATCHDOG),
    ]
    store.append([], Effects(timers=many + others))
    store.append([], Effects(timers_woken=[wake]))
    assert store.timer_wakes(9) == [WakeOrder(wake)]
    assert rows(store, many) == many
    woken = [0]
    while store.timer_wakes(9):
        next_page(store)
        woken.append(sum(map(awake, rows(store, many))))
    assert all(0 <= after - before <= PAGE for before, after in pairwise(woken))
    assert woken[-1] == len(many)
    assert rows(store, others) == others
    moments = [row.due_at for row in rows(store, many)]
    assert len(set(moments)) > 2 * PAGE


@pytest.mark.usefixtures("small_pages")
def test_what_is_planned_meanwhile_is_neither_lost_nor_woken_for_ever(store: EventStore) -> None:
    """A timer planned again before its page comes is woken with it; one planned again after it was planned by the new
    rule already, and stays; so does one that is new there."""
    many = waiting(3 * PAGE)
    store.append([], Effects(timers=many))
    store.append([], Effects(timers_woken=[LOOSER]))
    next_page(store)
    later = NOW + timedelta(days=2)
    behind, ahead = many[0]._replace(due_at=later), many[-1]._replace(due_at=later)
    new = timer(UUID(int=1), 2 * DAY)
    store.append([], Effects(timers=[behind, ahead, new]))
    pages = 0
    while store.timer_wakes(9):
        next_page(store)
        pages += 1
    assert pages <= 4
    assert rows(store, [behind, new]) == [behind, new]
    assert all(map(awake, rows(store, many[1:])))


@pytest.mark.usefixtures("small_pages")
def test_who_is_held_up_again_by_the_same_is_woken_by_the_next_order(store: EventStore) -> None:
    many = waiting(2 * PAGE, blocked_on="sequence:1")
    store.append([], Effects(timers=many))
    store.append([], Effects(timers_woken=[RESUMED]))
    next_page(store)
    store.append([], Effects(timers=many[:2]))
    again = RESUMED._replace(at=NOW + timedelta(seconds=30))
    store.append([], Effects(timers_woken=[RESUMED._replace(organization_id="other"), again]))
    while orders := store.timer_wakes(9):
        store.wake_timers(orders[0])
    assert all(row.blocked_on is None for row in rows(store, many))


@pytest.mark.usefixtures("small_pages")
def test_the_same_order_again_begins_again(store: EventStore) -> None:
    many = waiting(3 * PAGE)
    store.append([], Effects(timers=many))
    store.append([], Effects(timers_woken=[LOOSER]))
    next_page(store)
    [order] = store.timer_wakes(9)
    assert order.after == many[PAGE - 1].aggregate_id
    store.append([], Effects(timers=many, timers_woken=[LOOSER, LOOSER]))
    assert store.timer_wakes(9) == [WakeOrder(LOOSER)]
    while store.timer_wakes(9):
        next_page(store)
    assert all(map(awake, rows(store, many)))


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("pages", [1, 2], ids=["in the middle", "at the last page"])
@pytest.mark.parametrize("wake", [LOOSER, RESUMED])
def test_the_same_order_again_while_a_page_of_it_is_on_its_way_is_not_lost(
    store: EventStore, wake: TimerWake, pages: int
) -> None:
    """At the same moment to the microsecond, between the reading of the order and its page."""
    many = waiting(3 * PAGE - 1, blocked_on=wake.blocked_on)
    store.append([], Effects(timers=many))
    store.append([], Effects(timers_woken=[wake]))
    for _ in range(pages):
        next_page(store)
    [read] = store.timer_wakes(9)
    assert read.after == many[pages * PAGE - 1].aggregate_id
    store.append([], Effects(timers=many, timers_woken=[wake]))
    store.wake_timers(read)
    assert store.timer_wakes(9) == [WakeOrder(wake)]
    while store.timer_wakes(9):
        next_page(store)
    assert all(map(awake, rows(store, many)))


@pytest.mark.faults
@pytest.mark.parametrize("point", ["wakes.before_page:1", "wakes.before_page:3", "wakes.after_page:2"])
def test_killed_between_pages_every_timer_is_woken(store_url: str, point: str) -> None:
    killed = run(store_url, point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2_000:]
    finished = run(store_url)
    assert finished.returncode == 0, finished.stderr.decode()[-2_000:]
    woken, everything = map(int, finished.stdout.split())
    assert woken == everything > 2 * wakes.PAGE
    with closing(open_url(store_url, master_key=MASTER_KEY)) as store:
        assert store.timer_wakes(9) == []


def run(store_url: str, crash_at: str = "") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "TENDRIL_CRASH_AT": crash_at}
    return subprocess.run(
        [sys.executable, str(PROGRAM), store_url], env=environment, capture_output=True, timeout=120, check=False
    )
