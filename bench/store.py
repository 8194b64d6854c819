"""How fast the event store appends and pages: ms for each event, and the ratio to a bare insert in the same run.


python bench/store.py [--rounds N] [--url postgresql://…] [--json]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from shared.events import Envelope, Message
from shared.events.enrollment import StepDue, StepSent
from shared.events.lead import LeadCaptured
from shared.events.why import Plan, QuotaSlot, TimerClass, Why
from shared.ids import dispatch_id, new_id
from shared.persistence.eventstore import Effects, EventStore, InboxRow, TimerRow, open_url

AGGREGATES = 250
ROUNDS = 40
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)


def steps(enrollment: UUID, lead: UUID, sequence: UUID, nth: int) -> list[Envelope]:
    """The two events of one step, as the write side makes them."""
    plan = Plan(
        step_id="follow-up", execution=nth + 1, at=NOW + timedelta(days=3), why=Why(rule="delay", inputs={"days": 3})
    )
    dispatch = dispatch_id("demo", enrollment, nth, "welcome")
    due = StepDue(
        sequence_id=sequence,
        version=1,
        execution=nth,
        attempt=1,
        step_id="welcome",
        channel="email",
        dispatch_id=dispatch,
        due_at=NOW,
        valid_until=NOW + timedelta(hours=1),
        quotas=[QuotaSlot(scope="organization", slot="day:2026-11-20")],
    )
    sent = StepSent(
        execution=nth,
        attempt=1,
        step_id="welcome",
        channel="email",
        dispatch_id=dispatch,
        sent_at=NOW,
        message_id="<x@example.com>",
        plan=plan,
    )
    return [placed(enrollment, lead, 2 * nth - 1, due), placed(enrollment, lead, 2 * nth, sent)]


def placed(aggregate: UUID, lead: UUID, version: int, message: Message) -> Envelope:
    return Envelope(
        id="",
        message=message,
        source="/enrollment",
        time=NOW,
        organization_id="demo",
        subject=aggregate,
        lead_id=lead,
        aggregate_version=version,
        causation_id="cause",
        actor="system",
    )


def timer(enrollment: UUID, nth: int) -> TimerRow:
    due = NOW + timedelta(seconds=nth)
    return TimerRow(enrollment, "step", "demo", TimerClass.FOLLOW_UP, due, None, nth, 1)


def measured(work: Callable[[], object]) -> float:
    """Seconds it took."""
    began = perf_counter()
    work()
    return perf_counter() - began


def bare(folder: Path, rounds: int) -> list[float]:
    """Bare batches of the same size: one executemany in one transaction, synced."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE events (id INTEGER PRIMARY KEY, aggregate TEXT, version INTEGER, topic TEXT, state BLOB, "
        "UNIQUE (aggregate, version))"
    )
    taken = []
    ids = [new_id().hex for _ in range(AGGREGATES)]
    for nth in range(1, rounds + 1):
        rows = [(i, version, "enrollment.step_due.v1", b"x" * 700) for i in ids for version in (2 * nth - 1, 2 * nth)]

        def work(rows: list[tuple[str, int, str, bytes]] = rows) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO events (aggregate, version, topic, state) VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")

        taken.append(measured(work))
    connection.close()
    return taken


def measure(store: EventStore, folder: Path, rounds: int) -> dict[str, float]:
    """Figures by name, in ms for each event."""
    sequence = new_id()
    pairs = [(new_id(), new_id()) for _ in range(AGGREGATES)]
    first = store.last_position()
    appends, leads = [], []
    for nth in range(1, rounds + 1):
        envelopes = [envelope for e, lead in pairs for envelope in steps(e, lead, sequence, nth)]
        inbox = [InboxRow("demo", "tendril.commands", f"{e.hex}:{nth}", b"{}", e, 2 * nth) for e, _ in pairs]
        effects = Effects(timers=[timer(e, nth) for e, _ in pairs], inbox=inbox)
        appends.append(measured(lambda envelopes=envelopes, effects=effects: store.append(envelopes, effects)))  # type: ignore[misc]
    for _ in range(max(rounds // 4, 1)):
        captured = [personal() for _ in range(AGGREGATES)]
        leads.append(measured(lambda captured=captured: store.append(captured)))  # type: ignore[misc]
    events = rounds * AGGREGATES * 2
    dicts = measured(lambda: paged(store, first, events, models=False))
    models = measured(lambda: paged(store, first, events, models=True))
    loads = measured(lambda: store.load_many([e for e, _ in pairs]))
    floor = statistics.median(bare(folder, rounds)) / (AGGREGATES * 2) * 1000
    append = statistics.median(appends) / (AGGREGATES * 2) * 1000
    return {
        "append_ms_per_event": append,
        "append_worst_ms_per_event": max(appends) / (AGGREGATES * 2) * 1000,
        "append_personal_ms_per_event": statistics.median(leads) / AGGREGATES * 1000,
        "bare_insert_ms_per_event": floor,
        "append_ratio_to_bare": append / floor,
        "page_events_ms_per_event": dicts / events * 1000,
        "page_ms_per_event": models / events * 1000,
        "load_many_ms_per_event": loads / events * 1000,
    }


def personal() -> Envelope:
    lead = new_id()
    message = LeadCaptured(
        email=f"{lead.hex}@example.com", first_name="Ada", last_name="Byron", phone="+4915112345678", occurred_at=NOW
    )
    return placed(lead, lead, 1, message)


def paged(store: EventStore, after: int, events: int, *, models: bool) -> None:
    end = after + events
    while after < end:
        found = store.page(after, 500, end) if models else store.page_events(after, 500, end)
        after += len(found)


def on_disk(url: str | None, rounds: int) -> dict[str, float]:
    """In a folder here and not in the system's temporary one, which may be in memory."""
    folder = Path(tempfile.mkdtemp(prefix="tendril-bench-", dir=Path.cwd()))
    try:
        store = open_url(url or f"sqlite:///{folder}/store.db", master_key=b"k" * 32)
        try:
            return measure(store, folder, rounds)
        finally:
            store.close()
    finally:
        shutil.rmtree(folder)


def run() -> dict[str, Any]:
    """On SQLite."""
    return {"store": on_disk(None, ROUNDS)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--url", help="a PostgreSQL database; SQLite in a temporary folder when left out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = on_disk(options.url, options.rounds)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:32} {value:8.4f}")


if __name__ == "__main__":
    main()
