"""A wake storm: timers due at one moment, spread over the minutes that a limit allows. Store-level, on SQLite.

Each page of due timers is taken as the scheduler takes it, gets places as a decision does, and is written back in one
transaction. Measured: timers a second, and resident memory at the start and at its highest. Checked: no timer is lost,
no minute has more than its limit, follow-ups go before first touches, organizations share a page.

python bench/storm.py   (TENDRIL_BENCH_TIMERS=1000000 for the size of a real storm; 50,000 unless said otherwise)
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from services.enrollment.domain.full_slots import FullSlots
from services.enrollment.domain.quotas import UNBOUNDED, Asker, Full, Limit, places_free, places_reserved, rows_for
from services.enrollment.slot_counts import SlotCounts
from shared.events.why import TimerClass
from shared.ids import derived_id
from shared.persistence.eventstore import Effects, EventStore, QuotaTake, TimerRow, open_url

TIMERS = int(os.environ.get("TENDRIL_BENCH_TIMERS", "50000"))
PAGE = 512
PER_MINUTE = 500
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
#: The clock stands still; a timer whose place is in this very minute is set aside with it.
AFTER = NOW + timedelta(microseconds=1)
#: One organization with most of the timers, and small ones.
ORGANIZATIONS = ["big"] * 16 + ["a", "b", "c", "d"]
SEQUENCE = derived_id("sequence", "storm")
LIMIT = Limit(f"sequence:{SEQUENCE}", "minute", PER_MINUTE)


class Counts:
    """What places are decided on, for one page."""

    def __init__(self, store: EventStore, full_slots: FullSlots) -> None:
        self.slots = SlotCounts(store)
        self.full_slots = full_slots

    def quota_used(self, organization_id: str, scope: str, slot: str) -> int:
        return self.slots.get((organization_id, scope, slot))

    def active_sequences(self, organization_id: str) -> int:
        return 1 if organization_id else 0


def fill(store: EventStore) -> None:
    for start in range(0, TIMERS, 5_000):
        rows = [
            TimerRow(
                UUID(int=(number << 64) + 1),
                "step",
                ORGANIZATIONS[number % len(ORGANIZATIONS)],
                TimerClass.FOLLOW_UP if number % 3 == 0 else TimerClass.FIRST_TOUCH,
                NOW,
                None,
                1,
                1,
            )
            for number in range(start, min(start + 5_000, TIMERS))
        ]
        store.append([], Effects(timers=rows))


def spread(store: EventStore, page: list[TimerRow], full: FullSlots) -> None:
    """Gives each timer the earliest place and writes it back."""
    counts = Counts(store, full)
    several: list[Effects] = []
    for timer in page:
        asker = Asker(timer.organization_id, SEQUENCE, timer.timer_class)
        moment = NOW
        places = places_free(counts, [LIMIT], moment, asker)
        while isinstance(places, Full):
            moment = places.again_at
            places = places_free(counts, [LIMIT], moment, asker)
        rows = rows_for(places_reserved(places, timer.timer_class), SEQUENCE)
        takes = [QuotaTake(timer.organization_id, scope, slot, UNBOUNDED) for scope, slot in rows]
        effects = Effects(quotas=takes, timers=[timer._replace(due_at=max(moment, AFTER))])
        counts.slots.foresee(effects, full)
        several.append(effects)
    store.append([], Effects.folded(several))


def run() -> dict[str, Any]:
    """Figures under ``storm``."""
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        store = open_url(f"sqlite:///{folder}/storm.db", master_key=b"k" * 32)
        fill(store)
        gc.collect()
        before = highest = process.memory_info().rss
        full = FullSlots()
        first_pages: list[TimerRow] = []
        done, started = 0, perf_counter()
        while page := store.timers_due(NOW, PAGE):
            if len(first_pages) < PAGE * 4:
                first_pages += page
            spread(store, page, full)
            done += len(page)
            if done % (PAGE * 100) < PAGE:
                highest = max(highest, process.memory_info().rss)
        seconds = perf_counter() - started
        highest = max(highest, process.memory_info().rss)
        counted = store.timers_count()
        assert done == TIMERS, f"{TIMERS - done} timers were lost"
        assert counted["waiting"] == TIMERS, counted
        most: Counter[str] = Counter()
        for organization in set(ORGANIZATIONS):
            for slot, used in store.quota_range(organization, LIMIT.scope, "", 2_000_000):
                most[organization] = max(most[organization], used)
                assert used <= PER_MINUTE, (organization, slot, used)
        share = Counter(timer.organization_id for timer in first_pages)
        figures = {
            "timers": TIMERS,
            "timers_per_second": round(TIMERS / seconds),
            "memory_mb_before": round(before / 2**20, 1),
            "memory_mb_highest": round(highest / 2**20, 1),
            "most_in_a_minute": max(most.values()),
            "first_pages_by_organization": dict(sorted(share.items())),
            "first_pages_follow_ups": sum(timer.timer_class is TimerClass.FOLLOW_UP for timer in first_pages),
            "first_pages": len(first_pages),
        }
        store.close()
    return {"storm": figures}


if __name__ == "__main__":
    print(run())
