"""A process killed at any moment: nothing acknowledged is lost, and no half of an append remains."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from threading import Timer

import pytest

from shared.persistence.eventstore import EventStore, open_url
from tests.eventstore.builders import MASTER_KEY, ORGANIZATION

pytestmark = pytest.mark.faults

EVENTS = 5
#: Far longer than any appender lives here: reached only by one that hangs.
HANGS_SECONDS = 120.0
#: Appends for ever, batch by batch, and says the number of each once it is acknowledged. Every batch has five events of
#: one aggregate, a timer, an inbox row and a place in a limit.
APPENDER = """
import sys
from shared.ids import derived_id
from shared.persistence.eventstore import Effects, InboxRow, QuotaTake, open_url
from tests.eventstore.builders import MASTER_KEY, ORGANIZATION, activated, timer

store = open_url(sys.argv[1], master_key=MASTER_KEY)
for nth in range(int(sys.argv[2]), 10_000):
    aggregate_id = derived_id("batch", nth)
    effects = Effects(
        inbox=[InboxRow(ORGANIZATION, "x", str(nth), b"{}", aggregate_id, 5)],
        timers=[timer(aggregate_id)],
        quotas=[QuotaTake(ORGANIZATION, "all", "day:2026-11-20", 100_000)],
    )
    store.append([activated(aggregate_id, version) for version in range(1, 6)], effects)
    print(nth, flush=True)
"""


def run_until_killed(url: str, first: int, *, crash_at: str = "", after_lines: int = 0, delay: float = 0) -> int:
    """The last batch that the appender said was acknowledged; ``first`` - 1 when none was."""
    environment = {**os.environ, "TENDRIL_CRASH_AT": crash_at}
    command = [sys.executable, "-c", APPENDER, url, str(first)]
    acknowledged = first - 1
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as appender:
        assert appender.stdout is not None
        hanging = Timer(HANGS_SECONDS, appender.terminate)
        hanging.start()
        killer: Timer | None = None
        for line in appender.stdout:
            acknowledged = int(line)
            if after_lines and acknowledged == first + after_lines:
                killer = Timer(delay, appender.kill)
                killer.start()
        status = appender.wait(HANGS_SECONDS)
        hanging.cancel()
        assert status == -signal.SIGKILL
        if killer is not None:
            killer.join()
    return acknowledged


def check(store: EventStore, acknowledged: int) -> int:
    """Every acknowledged batch is whole, at most one more is there, and that one is whole too; how many there are."""
    positions = [event["position"] for event in store.page_events(0, 100_000)]
    assert positions == list(range(1, len(positions) + 1))
    assert len(positions) % EVENTS == 0
    batches = len(positions) // EVENTS
    assert acknowledged + 1 <= batches <= acknowledged + 2
    inbox = store.inbox([(ORGANIZATION, "x", str(nth)) for nth in range(batches + 2)])
    assert {int(key.message_id) for key in inbox} == set(range(batches))
    assert sorted(answer.position or 0 for answer in inbox.values()) == list(range(EVENTS, len(positions) + 1, EVENTS))
    assert store.timers_count() == {"waiting": batches, "blocked": 0}
    slot = ("all", "day:2026-11-20")
    assert store.quota_used(ORGANIZATION, [slot]) == {slot: batches}
    return batches


@pytest.mark.parametrize("point", ["store.before_events", "store.before_commit", "store.after_commit"])
def test_a_kill_at_a_named_point(store_url: str, point: str) -> None:
    acknowledged = run_until_killed(store_url, 0, crash_at=f"{point}:4")
    assert acknowledged == 2
    with closing(open_url(store_url, master_key=MASTER_KEY)) as store:
        batches = check(store, acknowledged)
    assert batches == (4 if point == "store.after_commit" else 3)


def test_kills_at_random_moments(store_url: str, record_property: Callable[[str, object], None]) -> None:
    seed = random.randrange(2**32)
    record_property("seed", seed)
    chance = random.Random(seed)
    first = 0
    for _ in range(4):
        after = chance.randint(2, 30)
        acknowledged = run_until_killed(store_url, first, after_lines=after, delay=chance.random() / 20)
        with closing(open_url(store_url, master_key=MASTER_KEY)) as store:
            first = check(store, acknowledged)
    assert first > 8
