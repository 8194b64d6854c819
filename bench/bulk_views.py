"""A bulk enrolment through everything: how fast it is accepted, and how far behind the views are when it is.

Run: python -m bench.bulk_views [LEADS]. RabbitMQ, mongod and every service run as real processes. The leads are taken
in and shown first; then one order puts all of them into a sequence whose first message is due a day later.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from bench.pipeline import CpuMeter, figure
from shared.persistence.mongo import connect
from shared.persistence.views import ViewReader
from tests.system.stack import Stack, lead

LEADS = 10_000
#: Leads published at once, so that the broker's memory stays what it is in use.
WAVE = 5_000
GIVE_UP_SECONDS = 900.0
LOOK_SECONDS = 0.5
DEFINITION = {
    "name": "Bulk",
    "trigger": {"start": "manual"},
    "steps": [
        {
            "step_id": "a",
            "kind": "email",
            "delay": {"amount": 1, "unit": "days"},
            "config": {"channel": "null", "subject": "Hi {{ first_name }}", "text": "Hello"},
        }
    ],
}


async def until(met: Callable[[], Awaitable[bool]], started: float) -> float:
    """Seconds since ``started`` when it held. Looks rarely: looking costs, too."""
    while not await met():
        if time.perf_counter() - started > GIVE_UP_SECONDS:
            raise SystemExit(f"not reached in {GIVE_UP_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)
    return time.perf_counter() - started


async def take_in(stack: Stack, leads: int) -> float:
    """Seconds until the views count every lead."""

    async def shown(count: int) -> bool:
        return await figure(stack, "leads") >= count

    started = time.perf_counter()
    for start in range(0, leads, WAVE):
        end = min(start + WAVE, leads)
        await stack.publish_leads([lead(number) for number in range(start, end)])
        await until(partial(shown, end), started)
    return time.perf_counter() - started


class Log:
    """What the write side has accepted, read beside it."""

    def __init__(self, path: Path, bulk_id: UUID) -> None:
        self._path, self._bulk = path, bulk_id

    def moment(self, topic: str) -> datetime | None:
        """When the bulk got this event."""
        with contextlib.closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as log:
            found = log.execute(
                "SELECT state FROM stored_events WHERE originator_id = ? AND topic = ?", (self._bulk.hex, topic)
            ).fetchone()
        return datetime.fromisoformat(orjson.loads(found[0])["time"]) if found is not None else None

    async def finished(self) -> bool:
        return await asyncio.to_thread(self.moment, "bulk.finished.v1") is not None


async def measured(stack: Stack, leads: int) -> dict[str, Any]:
    taken_in = await take_in(stack, leads)
    sequence = await stack.api("POST", "sequences?activate=true", json=DEFINITION)
    meter = CpuMeter(stack)
    started = time.perf_counter()
    order = {"sequence_id": sequence["sequence_id"], "filter": {}}
    ordered = await stack.api("POST", "enrollments/bulk", json=order, timeout=GIVE_UP_SECONDS)
    handed_over = time.perf_counter() - started
    bulk_id = UUID(ordered["bulk_id"])
    log = Log(stack.home / "tendril.db", bulk_id)
    await until(log.finished, started)
    accepted = time.perf_counter()
    accepted_cpu = meter.per_step_ms(leads)
    begun, finished = log.moment("bulk.begun.v1"), log.moment("bulk.finished.v1")
    assert begun is not None
    assert finished is not None
    mongo = connect(stack.mongo.url)
    enrollments = await ViewReader(mongo, "tendril").collection("enrollments")

    async def all_shown() -> bool:
        return await enrollments.count_documents({"sequence_id": sequence["sequence_id"]}) >= leads

    async def all_counted() -> bool:
        return bool((await stack.api("GET", f"bulks/{bulk_id}"))["status"] == "finished")

    async def all_active() -> bool:
        return await figure(stack, "enrollments_active") >= leads

    try:
        behind = await asyncio.gather(*(until(met, accepted) for met in (all_shown, all_counted, all_active)))
    finally:
        await mongo.close()
    report = await stack.api("GET", f"bulks/{bulk_id}")
    seconds = (finished - begun).total_seconds()
    return {
        "leads": leads,
        "leads_taken_in_per_second": round(leads / taken_in),
        "handed_over_seconds": round(handed_over, 2),
        "accepted_seconds": round(seconds, 2),
        "leads_per_second": round(leads / seconds),
        "view_behind_seconds": {
            name: round(found, 2) for name, found in zip(("enrollments", "bulk", "figures"), behind, strict=True)
        },
        "done": report["done"],
        "refused": report["refused"],
        "cpu_ms_per_lead": {"while_accepted": accepted_cpu, "in_all": meter.per_step_ms(leads)},
    }


async def run(leads: int = LEADS) -> dict[str, Any]:
    """For ``tendril bench bulk_views``."""
    with tempfile.TemporaryDirectory(prefix="tendril-bench-") as folder:
        stack = Stack(Path(folder))
        try:
            await stack.start()
            return {"bulk_views": await measured(stack, leads)}
        finally:
            await stack.stop()


if __name__ == "__main__":
    figures = asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else LEADS))
    sys.stdout.write(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode() + "\n")
