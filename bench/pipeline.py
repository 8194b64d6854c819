"""The headline figure: enrollments through three null-channel steps, everything included, on this machine.

RabbitMQ, mongod, the SQLite store with full durability and every service run as real processes. First the leads are
taken in (a figure of its own); then the clock starts with the first order to enroll and stops when the view counts the
last message as sent. Floors are measured in the same run: confirmed publishing, and batched inserts of events into
a store of the same durability.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
import orjson
import psutil

from shared.events.enrollment import Enroll
from shared.events.envelope import Envelope
from shared.messaging.publisher import Publisher
from tests.system.stack import Stack, lead

ENROLLMENTS = int(os.environ.get("TENDRIL_BENCH_ENROLLMENTS", "5000"))
STEPS = 3
FLOOR_MESSAGES = 20_000
FLOOR_EVENTS = 20_000
LAG_RATE = 200
LAG_SECONDS = 15
GIVE_UP_SECONDS = 600


def null_step(step_id: str, minutes: int = 0) -> dict[str, Any]:
    return {
        "step_id": step_id,
        "kind": "email",
        "delay": {"amount": minutes, "unit": "minutes"},
        "config": {"channel": "null", "subject": f"{step_id} {{{{ first_name }}}}", "text": "Hello {{ first_name }}"},
    }


def definition(name: str, minutes: int = 0) -> dict[str, Any]:
    return {
        "name": name,
        "trigger": {"on": ["created"], "start": "auto", "funnels": [name]},
        "steps": [null_step(f"step{number}", minutes) for number in range(1, STEPS + 1)],
    }


class CpuMeter:
    """CPU seconds of every process of a stack, by name."""

    def __init__(self, stack: Stack) -> None:
        self._pids = {
            name: [process.child.pid] for name, process in stack.services.items() if process.child is not None
        }
        self._pids["rabbitmq"] = [stack.rabbit.pid]
        self._pids["mongod"] = [stack.mongo.pid]
        self._start = self._read()

    def _read(self) -> dict[str, float]:
        seconds = {}
        for name, pids in self._pids.items():
            total = 0.0
            for pid in pids:
                parent = psutil.Process(pid)
                for process in [parent, *parent.children(recursive=True)]:
                    times = process.cpu_times()
                    total += times.user + times.system
            seconds[name] = total
        return seconds

    def per_step_ms(self, steps: int) -> dict[str, float]:
        now = self._read()
        return {name: round((now[name] - self._start[name]) * 1000 / steps, 4) for name in now}

    def resident_mb(self) -> dict[str, float]:
        return {
            name: round(sum(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6, 1)
            for name, pids in self._pids.items()
        }


async def floor_publish(amqp_url: str) -> float:
    """Confirmed persistent messages a second through one quorum queue, pipelined."""
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue("bench.floor", durable=True, arguments={"x-queue-type": "quorum"})
        body = orjson.dumps({"x": "y" * 400})
        gate = asyncio.Semaphore(512)

        async def one() -> None:
            async with gate:
                message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, queue.name)

        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(FLOOR_MESSAGES)))
        rate = FLOOR_MESSAGES / (time.perf_counter() - started)
        await queue.delete(if_unused=False, if_empty=False)
    return rate


def floor_insert(folder: Path) -> float:
    """Events a second into a bare SQLite table, 500 to a transaction, WAL with full sync."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(
        "CREATE TABLE events (id TEXT, version INTEGER, topic TEXT, state BLOB, PRIMARY KEY (id, version))"
    )
    state = orjson.dumps({"x": "y" * 400})
    started = time.perf_counter()
    for start in range(0, FLOOR_EVENTS, 500):
        connection.execute("BEGIN IMMEDIATE")
        rows = [
            (f"{number % 250:032x}", number, "enrollment.step_due.v1", state) for number in range(start, start + 500)
        ]
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    rate = FLOOR_EVENTS / (time.perf_counter() - started)
    connection.close()
    return rate


async def figure(stack: Stack, name: str) -> int:
    return int((await stack.api("GET", "metrics/overview"))["totals"][name])


async def sent(stack: Stack) -> int:
    """Messages sent, as the view counts them."""
    return sum(int(day["sent"]) for day in (await stack.api("GET", "metrics/timeseries"))["items"])


async def reached(count: Callable[[], Awaitable[int]], wanted: int, started: float) -> float:
    """Seconds since ``started`` when the view's figure reached ``wanted``. Looks rarely: looking costs, too."""
    while (done := await count()) < wanted:
        if time.perf_counter() - started > GIVE_UP_SECONDS:
            raise SystemExit(f"only {done} of {wanted} in {GIVE_UP_SECONDS} s")
        await asyncio.sleep(0.25)
    return time.perf_counter() - started


async def publish_orders(stack: Stack, sequence_id: UUID, lead_ids: list[UUID]) -> None:
    """Orders to enroll, as a bulk enrolment gives them: frames of 100 on the queue for bulk."""
    publisher = Publisher(stack.rabbit.url, name="bench")
    await publisher.start()
    envelopes = [
        Envelope(
            id=f"bench-{lead_id.hex}",
            message=Enroll(lead_id=lead_id, sequence_id=sequence_id, by="bulk"),
            source="bench",
            time=datetime.now(UTC),
            organization_id="demo",
            lead_id=lead_id,
            actor="bench",
        )
        for lead_id in lead_ids
    ]
    frames = [envelopes[start : start + 100] for start in range(0, len(envelopes), 100)]
    await asyncio.gather(*(publisher.publish("tendril.commands", "bulk.enrollment.enroll", frame) for frame in frames))
    await publisher.close()


async def throughput(stack: Stack) -> dict[str, Any]:
    bodies = [lead(number) for number in range(ENROLLMENTS)]
    known = await figure(stack, "leads")
    started = time.perf_counter()
    await stack.publish_leads(bodies)
    intake = await reached(partial(figure, stack, "leads"), known + ENROLLMENTS, started)
    manual = {**definition("bench"), "trigger": {"start": "manual"}}
    answer = await stack.api("POST", "sequences?activate=true", json=manual)
    lead_ids = [UUID(item["lead_id"]) for item in await stack.items("leads")]
    meter = CpuMeter(stack)
    started = time.perf_counter()
    await publish_orders(stack, UUID(answer["sequence_id"]), lead_ids)
    steps = ENROLLMENTS * STEPS
    seconds = await reached(partial(sent, stack), steps, started)
    return {
        "enrollments": ENROLLMENTS,
        "steps": steps,
        "seconds": round(seconds, 2),
        "leads_taken_in_per_second": round(ENROLLMENTS / intake, 1),
        "steps_per_second": round(steps / seconds, 1),
        "cpu_ms_per_step": meter.per_step_ms(steps),
    }


async def timer_lag(stack: Stack) -> dict[str, float]:
    """From planned to decided at a steady 200 due steps a second, leads being taken in meanwhile; the stack runs at 60
    business seconds a second, so a delay of four minutes is four seconds."""
    await stack.api("POST", "sequences?activate=true", json=definition("lag", minutes=4))
    a_second = LAG_RATE // STEPS
    started = time.perf_counter()
    for tenth in range(LAG_SECONDS * 10):
        numbers = range(tenth * a_second // 10, (tenth + 1) * a_second // 10)
        await stack.publish_leads([{**lead(100_000 + number), "funnel_id": "lag"} for number in numbers])
        await asyncio.sleep(max(0.0, started + (tenth + 1) / 10 - time.perf_counter()))
    await reached(partial(sent, stack), LAG_SECONDS * a_second * STEPS, started)
    ordered = sorted(lags_in(stack.home / "tendril.db", speed=60.0))
    return {
        "timer_lag_ms_p50": round(statistics.median(ordered) * 1000, 1),
        "timer_lag_ms_p99": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
        "timers": len(ordered),
    }


def lags_in(log_file: Path, *, speed: float) -> list[float]:
    """Machine seconds from the planned moment to the decision, of every step in the log that waited for its timer."""
    planned: dict[tuple[bytes, int], datetime] = {}
    lags = []
    with contextlib.closing(sqlite3.connect(f"file:{log_file}?mode=ro", uri=True)) as log:
        rows = log.execute(
            "SELECT originator_id, topic, state FROM stored_events"
            " WHERE topic LIKE 'enrollment.%' ORDER BY notification_id"
        ).fetchall()
    for enrollment, topic, state in rows:
        event = orjson.loads(state)
        time, data = datetime.fromisoformat(event["time"]), event["d"]
        if (plan := data.get("plan")) and plan["at"]:
            planned[enrollment, plan["execution"]] = datetime.fromisoformat(plan["at"])
        if topic == "enrollment.step_due.v1" and (at := planned.get((enrollment, data["execution"]), time)) < time:
            lags.append((time - at).total_seconds() / speed)
    return lags


async def run() -> dict[str, Any]:
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="tendril-bench-") as folder:
        stack = Stack(Path(folder) / "throughput")
        try:
            await stack.start()
            await asyncio.sleep(3)
            result["memory"] = {"resident_mb": CpuMeter(stack).resident_mb()}
            publish = await floor_publish(stack.rabbit.url)
            insert = floor_insert(Path(folder))
            result["floor"] = {
                "confirmed_publishes_per_second": round(publish),
                "batched_events_per_second": round(insert),
            }
            result["pipeline"] = await throughput(stack)
            speed = result["pipeline"]["steps_per_second"]
            result["ratio"] = {
                "to_confirmed_publish": round(speed / publish, 4),
                "to_batched_insert": round(speed / insert, 4),
            }
        finally:
            await stack.stop()
        stack = Stack(Path(folder) / "lag", business_speed=60.0)
        try:
            await stack.start()
            result["pipeline"].update(await timer_lag(stack))
        finally:
            await stack.stop()
    return result


if __name__ == "__main__":
    print(orjson.dumps(asyncio.run(run()), option=orjson.OPT_INDENT_2).decode())
