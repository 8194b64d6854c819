"""How fast the views take in engine steps, and what a step costs: Python and mongod, beside the floor of bare bulk
writes.

``python bench/projector.py [--enrollments 2000] [--batch 400] [--json]``. A step is StepDue and StepSent, applied to
every view. The batches
are what the feed brings under load; decoding the frames is included, the broker is not. The floor is one bare upsert
per event
in the same transactions, on the same server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import psutil
from pymongo import UpdateOne

from services.projector.generations import Generations
from services.projector.links import Links
from services.projector.sessions import Sessions
from services.projector.targets import live_work
from services.projector.views import ALL_VIEWS
from services.projector.writer import Writer
from shared.clock import SystemClock
from shared.persistence.mongo import MongoClient, connect
from tendril.embedded.mongod import MongoServer
from tests.projector.log import Log, due_step, nurture, plan, sent_step

STEPS = 3


def story(enrollments: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Events that bring the enrollments about, and those of their steps, interleaved as an engine under load does."""
    log = Log()
    known = [nurture(log, number, steps=0) for number in range(enrollments)]
    before = len(log.events)
    for execution in range(1, STEPS + 1):
        for start in range(0, enrollments, 100):
            group = known[start : start + 100]
            for lead, enrollment in group:
                due_step(log, lead, enrollment, execution)
            for lead, enrollment in group:
                sent_step(log, lead, enrollment, execution, plan(f"step{execution + 1}", execution + 1))
    return log.events[:before], log.events[before:]


async def measured(pid: int, work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    """Seconds of the wall, of this process's CPU and of mongod's."""
    server, own = psutil.Process(pid), psutil.Process()
    used = [sum(process.cpu_times()[:2]) for process in (server, own)]
    began = time.perf_counter()
    await work()
    seconds = time.perf_counter() - began
    now = [sum(process.cpu_times()[:2]) for process in (server, own)]
    return {"seconds": seconds, "mongod": now[0] - used[0], "python": now[1] - used[1]}


ENROLLMENTS = 2_000
BATCH = 400


async def run() -> dict[str, Any]:
    """With the usual sizes."""
    return {"projector": await measure(ENROLLMENTS, BATCH)}


async def measure(enrollments: int, batch: int) -> dict[str, Any]:
    """Everything measured, on a mongod of its own."""
    with tempfile.TemporaryDirectory(prefix="tendril-bench-") as home:
        server = MongoServer(Path(home))
        await server.start()
        mongo = connect(server.url)
        try:
            assert server.pid is not None
            return await compared(mongo, server.pid, enrollments, batch)
        finally:
            await mongo.close()
            await server.stop()


async def compared(mongo: MongoClient, pid: int, enrollments: int, batch: int) -> dict[str, Any]:
    """The views' speed and the floor's."""
    database = mongo.database("bench_views")
    generations = Generations(mongo, database, ALL_VIEWS, 16)
    await generations.prepare()
    checkpoints = {}
    for partition in range(16):
        checkpoint = await generations.claim(partition, 1, "bench")
        assert checkpoint is not None
        checkpoints[partition] = checkpoint
    writer, links = Writer(mongo, database, SystemClock(), Sessions(mongo, database, "bench")), Links(database)

    async def take_in(frames: list[bytes]) -> None:
        for frame in frames:
            by_partition: dict[int, list[Any]] = {}
            for event in await links.events_of(orjson.loads(frame), 1):
                by_partition.setdefault(event.partition, []).append(event)
            works = [
                live_work(checkpoints[each], generations.live, events, events[-1].position)
                for each, events in by_partition.items()
            ]
            await writer.write(works)

    setting, steps = story(enrollments)
    await take_in(batches(setting, 1_000))
    views = await measured(pid, lambda: take_in(batches(steps, batch)))
    bare = mongo.database("bench_floor").collection("documents")
    await bare.insert_one({"_id": "first"})
    floor = await measured(pid, lambda: bulk(mongo, bare, steps, batch))
    count = len(steps) / 2
    return {
        "steps": int(count),
        "batch_events": batch,
        "steps_per_second": round(count / views["seconds"]),
        "events_per_second": round(len(steps) / views["seconds"]),
        "cpu_ms_per_step": {name: round(1_000 * views[name] / count, 3) for name in ("python", "mongod")},
        "cpu_ms_per_step_total": round(1_000 * (views["python"] + views["mongod"]) / count, 3),
        "floor_events_per_second": round(len(steps) / floor["seconds"]),
        "floor_cpu_ms_per_event": round(1_000 * (floor["python"] + floor["mongod"]) / len(steps), 3),
        "ratio_to_floor": round(floor["seconds"] / views["seconds"], 2),
        "transactions": -(-len(steps) // batch),
    }


def batches(events: list[dict[str, Any]], size: int) -> list[bytes]:
    """Frames, encoded."""
    return [orjson.dumps(events[start : start + size]) for start in range(0, len(events), size)]


async def bulk(mongo: MongoClient, collection: Any, events: list[dict[str, Any]], size: int) -> None:
    """One bare upsert per event, in transactions of the same size."""
    for start in range(0, len(events), size):
        writes = [
            UpdateOne({"_id": event["id"]}, {"$set": {"position": event["position"]}}, upsert=True)
            for event in events[start : start + size]
        ]

        async def transact(session: Any, writes: list[UpdateOne] = writes) -> None:
            await collection.bulk_write(writes, session=session)

        await mongo.run_in_transaction(transact)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--enrollments", type=int, default=ENROLLMENTS)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = asyncio.run(measure(options.enrollments, options.batch))
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:28} {value}")


if __name__ == "__main__":
    main()
