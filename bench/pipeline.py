"""The headline figure: enrollments through three null-channel steps, everything included, on this machine.

RabbitMQ, mongod, the SQLite store with full durability and every service run as real processes. The clock starts with the first lead
published and stops when the last enrollment is completed in the view. Floors are measured in the same run: confirmed publishing, and batched
inserts of events into a store of the same durability.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import aio_pika
import orjson
import psutil

from tests.system.stack import Stack, lead

ENROLLMENTS = int(os.environ.get("TENDRIL_BENCH_ENROLLMENTS", "5000"))
STEPS = 3
FLOOR_MESSAGES = 20_000
FLOOR_EVENTS = 20_000
LAG_RATE = 200
LAG_SECONDS = 15


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
        self._pids = {name: [process.child.pid] for name, process in stack.services.items() if process.child is not None}
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
            name: round(sum(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6, 1) for name, pids in self._pids.items()
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
    import sqlite3  # noqa: PLC0415  only this floor needs it

    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE events (id TEXT, version INTEGER, topic TEXT, state BLOB, PRIMARY KEY (id, version))")
    state = orjson.dumps({"x": "y" * 400})
    started = time.perf_counter()
    for start in range(0, FLOOR_EVENTS, 500):
        connection.execute("BEGIN IMMEDIATE")
        rows = [(f"{number % 250:032x}", number, "enrollment.step_due.v1", state) for number in range(start, start + 500)]
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    rate = FLOOR_EVENTS / (time.perf_counter() - started)
    connection.close()
    return rate


async def completed(stack: Stack) -> int:
    return int((await stack.api("GET", "metrics/overview"))["totals"]["enrollments_completed"])


async def throughput(stack: Stack) -> dict[str, Any]:
    await stack.api("POST", "sequences?activate=true", json=definition("bench"))
    bodies = [{**lead(number), "funnel_id": "bench"} for number in range(ENROLLMENTS)]
    meter = CpuMeter(stack)
    before = await completed(stack)
    started = time.perf_counter()
    await stack.publish_leads(bodies)
    published = time.perf_counter() - started
    while (done := await completed(stack) - before) < ENROLLMENTS:
        if time.perf_counter() - started > 600:
            raise SystemExit(f"only {done} of {ENROLLMENTS} enrollments completed in 600 s")
        await asyncio.sleep(0.1)
    seconds = time.perf_counter() - started
    steps = ENROLLMENTS * STEPS
    return {
        "enrollments": ENROLLMENTS,
        "steps": steps,
        "seconds": round(seconds, 2),
        "publish_seconds": round(published, 2),
        "steps_per_second": round(steps / seconds, 1),
        "cpu_ms_per_step": meter.per_step_ms(steps),
    }


async def timer_lag(stack: Stack) -> dict[str, float]:
    """From due to decided at a steady 200 due steps a second; the stack runs at 60 business seconds a second, so a minute's delay is one second."""
    await stack.api("POST", "sequences?activate=true", json=definition("lag", minutes=4))
    total = LAG_RATE * LAG_SECONDS
    started = time.perf_counter()
    for second in range(LAG_SECONDS):
        bodies = [{**lead(100_000 + second * LAG_RATE + number), "funnel_id": "lag"} for number in range(LAG_RATE)]
        for part in range(10):
            await stack.publish_leads(bodies[part * LAG_RATE // 10 : (part + 1) * LAG_RATE // 10])
            await asyncio.sleep(max(0.0, started + second + (part + 1) / 10 - time.perf_counter()))
    while await completed(stack) < total:
        if time.perf_counter() - started > 300:
            raise SystemExit("the timers did not all come due in 300 s")
        await asyncio.sleep(0.2)
    lags = await stack.timer_lags(speed=60.0)
    ordered = sorted(lags)
    return {
        "timer_lag_ms_p50": round(statistics.median(ordered) * 1000, 1),
        "timer_lag_ms_p99": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
        "timers": len(ordered),
    }


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
            result["floor"] = {"confirmed_publishes_per_second": round(publish), "batched_events_per_second": round(insert)}
            result["pipeline"] = await throughput(stack)
            speed = result["pipeline"]["steps_per_second"]
            result["ratio"] = {"to_confirmed_publish": round(speed / publish, 4), "to_batched_insert": round(speed / insert, 4)}
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
