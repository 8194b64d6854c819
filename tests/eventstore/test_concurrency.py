"""Several processes on one PostgreSQL store: no deadlock, no gap, no place given twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from uuid import UUID

import psycopg
import pytest

from shared.ids import new_id
from shared.persistence.eventstore import (
    AppendConflict,
    Effects,
    EventStore,
    FigureRow,
    IdentityRow,
    IdentityTaken,
    InboxDuplicate,
    InboxRow,
    QuotaExceeded,
    QuotaTake,
    StaleVersion,
    StoreUnavailable,
)
from shared.persistence.eventstore import batch as batch_module
from shared.persistence.eventstore import clerk as clerk_module
from shared.persistence.eventstore import postgres as postgres_module
from tests.eventstore.builders import activated, captured, timer
from tests.eventstore.conftest import Opener

pytestmark = pytest.mark.postgres
SLOT = ("organization", "day:2026-11-20")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that stands still for a while is no fault of what is tested."""
    monkeypatch.setattr(postgres_module, "LOCK_TIMEOUT_SECONDS", 60)


def at_once(stores: list[EventStore], work: Callable[[EventStore, int], object]) -> list[object]:
    """What each store's work answered or raised, all begun together."""
    together = Barrier(len(stores))

    def one(nth: int) -> object:
        together.wait(60)
        try:
            return work(stores[nth], nth)
        except AppendConflict as conflict:
            return conflict

    with ThreadPoolExecutor(len(stores)) as pool:
        return list(pool.map(one, range(len(stores))))


def test_opposite_row_orders_do_not_deadlock(open_shared: Opener) -> None:
    stores = [open_shared() for _ in range(4)]
    shared = [new_id() for _ in range(40)]
    slots = [f"day:2026-11-{day:02d}" for day in range(1, 21)]

    def work(store: EventStore, nth: int) -> int:
        order = shared if nth % 2 else shared[::-1]
        days = slots if nth % 2 else slots[::-1]
        for _ in range(15):
            effects = Effects(
                timers=[timer(aggregate_id) for aggregate_id in order],
                quotas=[QuotaTake("demo", "organization", slot, 10_000) for slot in days],
                figures=[FigureRow("demo", "variant", slot, 1) for slot in days],
            )
            store.append([activated(new_id())], effects)
        return nth

    assert at_once(stores, work) == [0, 1, 2, 3]
    assert stores[0].quota_used("demo", [("organization", slots[0])]) == {("organization", slots[0]): 60}


def test_positions_follow_the_commits_and_readers_see_no_gap(open_shared: Opener) -> None:
    stores = [open_shared() for _ in range(3)]
    reader = open_shared()
    done = Event()
    seen: list[int] = []

    def read() -> None:
        while True:
            ending = done.is_set()
            page = [event["position"] for event in reader.page_events(seen[-1] if seen else 0, 50)]
            seen.extend(page)
            if ending and not page:
                return

    def work(store: EventStore, nth: int) -> list[int]:
        mine: list[int] = []
        for round_ in range(20):
            mine += store.append([activated(new_id()) for _ in range(1 + (nth + round_) % 4)])
            if round_ % 5 == 0:
                with pytest.raises(StaleVersion):
                    store.append([activated(new_id(), 7)])
        return mine

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            answers = at_once(stores, work)
        finally:
            done.set()  # whatever went wrong: the reader reads until it is told
        reading.result(60)
    given = sorted(position for mine in answers if isinstance(mine, list) for position in mine)
    assert given == list(range(1, len(given) + 1))
    assert seen == given


def test_a_limit_is_never_exceeded(open_shared: Opener) -> None:
    stores = [open_shared() for _ in range(4)]

    def work(store: EventStore, nth: int) -> int:
        had = 0
        for _ in range(15):
            try:
                store.append([activated(new_id())], Effects(quotas=[QuotaTake("demo", *SLOT, 25)]))
                had += 1
            except QuotaExceeded:
                continue
        return had

    answers = at_once(stores, work)
    assert sum(had for had in answers if isinstance(had, int)) == 25
    assert stores[0].quota_used("demo", [SLOT]) == {SLOT: 25}
    assert stores[0].last_position() == 25


def test_one_of_many_gets_an_identity(open_shared: Opener) -> None:
    stores = [open_shared() for _ in range(4)]
    leads = [new_id() for _ in stores]

    def work(store: EventStore, nth: int) -> UUID:
        row = IdentityRow("demo", "email", "ab" * 32, leads[nth])
        store.append([captured(leads[nth])], Effects(identities=[row]))
        return leads[nth]

    answers = at_once(stores, work)
    [winner] = [answer for answer in answers if isinstance(answer, UUID)]
    losers = [answer for answer in answers if isinstance(answer, IdentityTaken)]
    assert len(losers) == 3
    assert {row.lead_id for loser in losers for row in loser.rows} == {winner}
    assert stores[0].last_position() == 1


def test_one_of_many_handles_a_message(open_shared: Opener) -> None:
    stores = [open_shared() for _ in range(4)]

    def work(store: EventStore, nth: int) -> str:
        row = InboxRow("demo", "tendril.commands", "message-1", str(nth).encode())
        store.append([activated(new_id())], Effects(inbox=[row]))
        return str(nth)

    kinds = Counter(type(answer) for answer in at_once(stores, work))
    assert kinds == {str: 1, InboxDuplicate: 3}


def test_one_of_many_writes_a_version(open_shared: Opener) -> None:
    stores = [open_shared() for _ in range(4)]
    aggregate_id, lead_id = new_id(), new_id()
    answers = at_once(stores, lambda store, _: store.append([activated(aggregate_id), captured(lead_id)]))
    assert Counter(type(answer) for answer in answers) == {list: 1, StaleVersion: 3}
    assert stores[3].page(1, 1)[0].position == 2


def test_a_store_locked_for_too_long_is_unavailable(
    open_shared: Opener, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "LOCK_TIMEOUT_SECONDS", 1)
    store = open_shared()
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE append_lock IN EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match="lock timeout") as raised:
            store.append([activated(new_id())])
        assert not raised.value.outcome_unknown
        assert store.last_position() == 0
    assert store.append([activated(new_id())]) == [1]


def test_connections_cut_off_are_replaced(open_shared: Opener, postgres_url: str) -> None:
    store = open_shared()
    store.append([activated(new_id())])
    cut_off(postgres_url)
    assert store.append([activated(new_id())]) == [2]
    cut_off(postgres_url)
    assert store.last_position() == 2


def test_a_connection_lost_inside_an_append_is_told_and_nothing_is_repeated(
    open_shared: Opener, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = open_shared(), open_shared()
    calls: list[int] = []

    def write_and_lose(*_: object) -> list[int]:
        calls.append(1)
        cut_off(postgres_url)
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(postgres_module, "write_batch", write_and_lose)
    with pytest.raises(StoreUnavailable):
        store.append([activated(new_id())])
    assert len(calls) == 1
    monkeypatch.undo()
    assert other.append([activated(new_id())]) == [1]
    assert store.append([activated(new_id())]) == [2]


def test_a_connection_lost_while_committing_leaves_the_outcome_unknown(
    open_shared: Opener, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, message = open_shared(), InboxRow("demo", "tendril.commands", "message-1", b"{}")
    events, effects = [activated(new_id())], Effects(inbox=[message])

    def lose(point: str) -> None:
        if point == "store.before_commit":
            cut_off(postgres_url)

    monkeypatch.setattr(batch_module, "crash_point", lose)
    with pytest.raises(StoreUnavailable) as raised:
        store.append(events, effects)
    assert raised.value.outcome_unknown
    monkeypatch.undo()
    assert store.inbox([message[:3]]) == {}
    assert store.append(events, effects) == [1]


def test_a_clerk_is_alone_until_it_goes(open_shared: Opener) -> None:
    first, second = open_shared().clerk_lock(), open_shared().clerk_lock()
    with first, second:
        assert first.acquire()
        assert first.acquire()
        assert first.held()
        assert not second.acquire()
        assert not second.held()
        first.release()
        assert not first.held()
        assert second.acquire()


def test_a_clerk_that_lost_its_session_knows(
    open_shared: Opener, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = open_shared().clerk_lock(), open_shared().clerk_lock()
    with first, second:
        assert first.acquire()
        cut_off(postgres_url)
        assert second.acquire()
        monkeypatch.setattr(clerk_module, "TRUST_SECONDS", 0.0)
        assert not first.held()
        assert not first.acquire()


def test_an_append_wakes_another_process(open_shared: Opener) -> None:
    writer, reader = open_shared(), open_shared()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(reader.wait_for_events, 0, 30.0)
        writer.append([activated(new_id())])
        assert waiting.result(40)


def test_a_listener_cut_off_listens_again(open_shared: Opener, postgres_url: str) -> None:
    writer, reader = open_shared(), open_shared()
    writer.append([activated(new_id())])
    assert reader.wait_for_events(0, 30)
    cut_off(postgres_url)
    writer.append([activated(new_id())])
    assert reader.wait_for_events(1, 30)


def cut_off(url: str) -> None:
    """Ends every other session of this database, as a restart would, and waits until they are gone."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
