"""Does waiting cost memory? The write side's resident memory with 2,000 and with 200,000 waiting enrollments.

Both stores are filled directly; the service is then started as a real process and read once it has settled.
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psutil

from shared.events.enrollment import EnrollmentStarted
from shared.events.envelope import Envelope
from shared.events.lead import LeadCaptured, LeadJoinedSequence
from shared.events.message import Event
from shared.events.why import Plan, TimerClass
from shared.ids import derived_id, partition_of
from shared.persistence.eventstore import Effects, EventStore, RelayState, TimerRow, open_url
from tests.support.waiting import eventually
from tests.system.stack import Stack

SIZES = (2_000, 200_000)
BATCH = 1_000
SETTLE_SECONDS = 10.0
SEQUENCE = derived_id("sequence", "bench")


def envelope(subject: UUID, version: int, message: Event, lead_id: UUID, now: datetime) -> Envelope:
    return Envelope(
        id=f"{subject.hex}-{version}",
        message=message,
        source="bench",
        time=now,
        organization_id="demo",
        subject=subject,
        lead_id=lead_id,
        partition=partition_of(lead_id),
        aggregate_version=version,
    )


def fill(store: EventStore, count: int) -> None:
    """``count`` leads, each waiting a month for its first step; the relay is told that all of it is published."""
    now = datetime.now(UTC)
    later = now + timedelta(days=30)
    last: dict[int, int] = {}
    for start in range(0, count, BATCH):
        envelopes: list[Envelope] = []
        timers: list[TimerRow] = []
        for number in range(start, min(start + BATCH, count)):
            lead_id, enrollment_id = derived_id("lead", number), derived_id("enrollment", number)
            captured = LeadCaptured(email=f"lead{number}@example.com", first_name=f"Ada{number}", occurred_at=now)
            started = EnrollmentStarted(
                lead_id=lead_id,
                sequence_id=SEQUENCE,
                version=1,
                by="trigger",
                plan=Plan(step_id="first", execution=1, at=later, due_at=later, timer_class=TimerClass.FIRST_TOUCH),
            )
            joined = LeadJoinedSequence(enrollment_id=enrollment_id, sequence_id=SEQUENCE, version=1)
            envelopes += [
                envelope(lead_id, 1, captured, lead_id, now),
                envelope(enrollment_id, 1, started, lead_id, now),
                envelope(lead_id, 2, joined, lead_id, now),
            ]
            timers.append(TimerRow(enrollment_id, "step", "demo", TimerClass.FIRST_TOUCH, later, None, 1, 1))
        positions = store.append(envelopes, Effects(timers=timers))
        last.update({each.partition or 0: position for each, position in zip(envelopes, positions, strict=True)})
    store.save_relay(RelayState(store.last_position(), last))


async def resident_mb(folder: Path, count: int) -> float:
    stack = Stack(folder)
    try:
        await stack.start_servers()
        store = open_url(f"sqlite:///{folder / 'tendril.db'}", master_key=stack.master_key)
        await asyncio.to_thread(fill, store, count)
        store.close()
        process = await stack.start_service("enrollment")
        await stack.ready("enrollment")
        loop = asyncio.get_running_loop()
        settled = loop.time() + SETTLE_SECONDS
        await eventually(lambda: loop.time() > settled, timeout_seconds=2 * SETTLE_SECONDS)
        assert process.child is not None
        return float(psutil.Process(process.child.pid).memory_info().rss) / 1e6
    finally:
        await stack.stop()


async def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="tendril-bench-") as folder:
        few, many = [await resident_mb(Path(folder) / str(size), size) for size in SIZES]
    return {
        "memory": {
            f"enrollment_mb_with_{SIZES[0]}_waiting": round(few, 1),
            f"enrollment_mb_with_{SIZES[1]}_waiting": round(many, 1),
            "waiting_ratio": round(many / few, 3),
        }
    }


if __name__ == "__main__":
    print(orjson.dumps(asyncio.run(run()), option=orjson.OPT_INDENT_2).decode())
