"""Which timers are taken: classes by priority without starving, organizations in turn."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from shared.events.why import TimerClass
from shared.ids import new_id
from shared.persistence.eventstore import Effects, EventStore, NextDue, TimerKey, TimerRow, TimerWake
from tests.eventstore.builders import NOW, timer

LATER = NOW + timedelta(days=1)


def add(store: EventStore, *rows: TimerRow) -> None:
    store.append([], Effects(timers=list(rows)))


def many(count: int, timer_class: TimerClass = TimerClass.FOLLOW_UP, organization_id: str = "demo") -> list[TimerRow]:
    return [timer(new_id(), n, timer_class=timer_class, organization_id=organization_id) for n in range(count)]


def spread_of(row: TimerRow) -> timedelta:
    """Where a row lies within ten minutes."""
    return timedelta(milliseconds=int(row.aggregate_id.hex[-8:], 16) * 600_000 // 2**32)


def test_only_due_timers_are_taken_earliest_first(store: EventStore) -> None:
    rows = many(4)
    add(store, *reversed(rows), timer(new_id(), blocked_on="pause"))
    assert store.timers_due(NOW + timedelta(seconds=2), 10) == rows[:3]
    assert store.timers_due(NOW - timedelta(seconds=1), 10) == []
    assert store.timers_due(LATER, 2) == rows[:2]


def test_follow_ups_go_first_but_nothing_starves(store: EventStore) -> None:
    add(store, *(row for timer_class in TimerClass for row in many(40, timer_class)))
    page = store.timers_due(LATER, 16)
    assert [row.timer_class for row in page] == (
        [TimerClass.FOLLOW_UP] * 10 + [TimerClass.FIRST_TOUCH] * 2 + [TimerClass.WATCHDOG] * 4
    )


def test_what_is_kept_for_a_class_without_due_timers_goes_to_the_others(store: EventStore) -> None:
    add(store, *many(3, TimerClass.WATCHDOG), *many(40, TimerClass.FIRST_TOUCH))
    counts = Counter(row.timer_class for row in store.timers_due(LATER, 16))
    assert counts == {TimerClass.FIRST_TOUCH: 13, TimerClass.WATCHDOG: 3}
    assert len(store.timers_due(LATER, 1)) == 1


def test_organizations_share_a_page(store: EventStore) -> None:
    add(store, *many(50, organization_id="big"), *many(3, organization_id="small"), *many(50, organization_id="zoo"))
    counts = Counter(row.organization_id for row in store.timers_due(LATER, 21))
    assert counts == {"big": 9, "small": 3, "zoo": 9}


def test_one_organization_alone_fills_the_page(store: EventStore) -> None:
    add(store, *many(30, organization_id="big"), *many(1, organization_id="small"))
    counts = Counter(row.organization_id for row in store.timers_due(LATER, 20))
    assert counts == {"big": 19, "small": 1}


def test_with_more_organizations_than_places_they_go_in_turn(store: EventStore) -> None:
    names = [f"o{n}" for n in range(5)]
    add(store, *(row for name in names for row in many(2, organization_id=name)))
    pages = [[row.organization_id for row in store.timers_due(LATER, 2)] for _ in range(3)]
    assert pages == [["o0", "o1"], ["o2", "o3"], ["o4", "o0"]]


def test_watchdogs_go_by_the_machines_time(store: EventStore) -> None:
    business = timer(new_id(), 10)
    watchdog = timer(new_id(), 20, timer_class=TimerClass.WATCHDOG)
    add(store, business, watchdog)
    assert store.timers_next_due() == NextDue(business.due_at, watchdog.due_at)
    assert store.timers_due(LATER, 9, machine_now=NOW) == [business]
    assert store.timers_due(NOW, 9, machine_now=LATER) == [watchdog]


def test_without_timers_there_is_no_next(store: EventStore) -> None:
    assert store.timers_next_due() == NextDue(None, None)
    assert store.timers_due(LATER, 9) == []
    add(store, timer(new_id(), blocked_on="pause"))
    assert store.timers_next_due() == NextDue(None, None)
    assert store.timers_count() == {"waiting": 0, "blocked": 1}
    assert store.timers_count("other") == {"waiting": 0, "blocked": 0}


def test_blocked_timers_wake_spread_out(store: EventStore) -> None:
    blocked = [timer(new_id(), blocked_on="sequence:1") for _ in range(50)]
    others = [
        timer(new_id(), blocked_on="sequence:2"),
        timer(new_id(), blocked_on="sequence:1", organization_id="other"),
    ]
    add(store, *blocked, *others)
    store.append([], Effects(timers_woken=[TimerWake("sequence:1", "demo", NOW, 600)]))
    woken = store.timers_due(NOW + timedelta(seconds=600), 100)
    assert {row.aggregate_id for row in woken} == {row.aggregate_id for row in blocked}
    assert all(row.blocked_on is None for row in woken)
    moments = [row.due_at for row in woken if row.due_at is not None]
    assert NOW <= min(moments) <= max(moments) < NOW + timedelta(seconds=600)
    assert max(moments) - min(moments) > timedelta(seconds=120)
    for row in woken:
        assert row.due_at == NOW + spread_of(row)
    assert store.timers_count() == {"waiting": 50, "blocked": 2}


def test_waking_without_spread_is_at_once(store: EventStore) -> None:
    row = timer(new_id(), blocked_on="task:1")
    add(store, row)
    store.append([], Effects(timers_woken=[TimerWake("task:1", "demo", NOW)]))
    assert store.timers_due(NOW, 5) == [row._replace(due_at=NOW, blocked_on=None)]


def test_what_waits_is_woken_before_its_time_but_never_later(store: EventStore) -> None:
    later = [timer(new_id(), 86_400) for _ in range(50)]
    soon = timer(new_id(), 1)
    others = [
        timer(new_id(), 86_400, timer_class=TimerClass.WATCHDOG),
        timer(new_id(), 86_400, organization_id="other"),
        timer(new_id(), blocked_on="task:1"),
    ]
    add(store, *later, soon, *others)
    store.append([], Effects(timers_woken=[TimerWake(None, "demo", NOW, 600)]))
    woken = store.timers_due(NOW + timedelta(seconds=600), 100)
    assert {row.aggregate_id for row in woken} == {row.aggregate_id for row in [*later, soon]}
    moments = {row.aggregate_id: row.due_at for row in woken}
    assert moments[soon.aggregate_id] in {soon.due_at, NOW + spread_of(soon)}
    assert all(NOW <= moment < NOW + timedelta(seconds=600) for moment in moments.values() if moment is not None)
    assert len(set(moments.values())) > 40
    untouched = store.timers_of([row.aggregate_id for row in others])
    assert [untouched[row.aggregate_id] for row in others] == [[row] for row in others]


def test_a_storm_is_counted_by_organization_and_class(store: EventStore) -> None:
    add(store, *many(4, organization_id="a"), *many(2, TimerClass.FIRST_TOUCH, "b"), *many(3, TimerClass.WATCHDOG, "b"))
    add(store, timer(new_id(), blocked_on="pause", organization_id="a"), timer(new_id(), 10_000, organization_id="a"))
    assert store.timers_due_count(NOW + timedelta(seconds=2), machine_now=NOW) == {
        ("a", TimerClass.FOLLOW_UP): 3,
        ("b", TimerClass.FIRST_TOUCH): 2,
        ("b", TimerClass.WATCHDOG): 1,
    }
    assert store.timers_due_count(NOW - timedelta(seconds=1)) == {}


def test_a_storm_loses_no_timer_and_gives_no_organization_more_than_its_share(store: EventStore) -> None:
    waiting = many(300, organization_id="big") + many(40, organization_id="small")
    waiting += many(60, TimerClass.FIRST_TOUCH, "big") + many(20, TimerClass.FIRST_TOUCH, "small")
    add(store, *waiting)
    taken: list[TimerRow] = []
    small_left = 40
    while page := store.timers_due(LATER, 32):
        follow_ups = Counter(row.organization_id for row in page if row.timer_class is TimerClass.FOLLOW_UP)
        fair = min(small_left, sum(follow_ups.values()) // 2)
        assert follow_ups["small"] >= fair
        small_left -= follow_ups["small"]
        taken += page
        store.append([], Effects(timers_gone=[TimerKey(row.aggregate_id, row.name) for row in page]))
    assert len(taken) == len(waiting)
    assert {row.aggregate_id for row in taken} == {row.aggregate_id for row in waiting}
