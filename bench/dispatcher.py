"""How fast steps go through the dispatcher over the null channel, against a real mongod: steps a second, ms of this
process's CPU for each, and the ratio to the same three changes of a row as bare bulk writes in the same run.

Frames of 25 are handled as they would be taken from the queue, 8 at a time: decoding, ledger, rendering, and the
outcomes' encoding are in the figure, RabbitMQ is not.

python bench/dispatcher.py [--frames N] [--url mongodb://…] [--json] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from uuid import uuid4

import uvloop
from pymongo import UpdateOne

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from services.dispatcher.attaching import Files
from services.dispatcher.channels.null import NullChannel
from services.dispatcher.handler import StepHandler
from services.dispatcher.holding import Holdings
from services.dispatcher.ledger_mongo import MongoLedger
from services.dispatcher.preparing import Preparer
from services.dispatcher.reports import Reporter
from shared.clock import SystemClock
from shared.events import Envelope
from shared.events.dispatch import DressedStep, Sender
from shared.ids import dispatch_id, new_id
from shared.messaging import frames
from shared.messaging.delivery import Delivery
from shared.persistence.mongo import Database, connect
from shared.tokens import Tokens
from tendril.embedded.mongod import MongoServer

FRAMES = 200

FRAME = 25
AT_ONCE = 8
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)


class NoFiles:
    """Stands for the store of attachments."""

    async def get(self, _organization_id: str, _digest: str) -> None:
        return None


class Outbox:
    """Stands for the publisher: encodes as it would, and counts."""

    def __init__(self) -> None:
        self.outcomes = 0

    async def publish(self, _exchange: str, _key: str, envelopes: Sequence[Envelope]) -> None:
        frames.encode(envelopes)
        self.outcomes += len(envelopes)


def frame(number: int) -> bytes:
    """A frame as the relay publishes it."""
    envelopes = []
    for nth in range(FRAME):
        enrollment, lead = new_id(), new_id()
        step = DressedStep(
            enrollment_id=enrollment,
            sequence_id=new_id(),
            version=1,
            execution=1,
            attempt=1,
            step_id="welcome",
            channel="null",
            dispatch_id=dispatch_id("demo", enrollment, 1, "welcome"),
            due_at=NOW,
            valid_until=datetime(2100, 1, 1, tzinfo=UTC),
            address=f"lead{nth}@example.com",
            address_hash="a" * 64,
            domain_hash="d" * 64,
            content={
                "subject": "Hi {{ first_name | default: 'there' }}",
                "html": '<p>Hello {{ first_name }}, look at <a href="https://example.com/a">this</a>.</p>',
            },
            lead={"first_name": f"Ada{nth}", "last_name": "Byron", "email": f"lead{nth}@example.com"},
            sender=Sender(sender_id="default", name="Demo", email="demo@example.com"),
            postal_address="1 Main Street",
        )
        envelopes.append(
            Envelope(
                id=f"{step.dispatch_id}:1",
                message=step,
                source="bench",
                time=NOW,
                organization_id="demo",
                subject=enrollment,
                lead_id=lead,
                partition=0,
                position=number * FRAME + nth + 1,
            )
        )
    return frames.encode(envelopes)[0]


async def through_the_dispatcher(database: Database, count: int) -> dict[str, float]:
    """All frames, eight at a time."""
    clock, outbox = SystemClock(), Outbox()
    ledger = MongoLedger(database, owner="bench")
    await ledger.start()
    reporter = Reporter(outbox, clock)  # type: ignore[arg-type]  # the part of the publisher it uses

    async def nothing(_rows: object) -> None:
        return None

    holdings = Holdings(ledger, clock, nothing)
    preparer = Preparer(Tokens(["0123456789abcdef0123"]), "https://t.example", "in.example", clock, Files(NoFiles()))
    handler = StepHandler(ledger, holdings, reporter, preparer, {"null": NullChannel()}, clock)
    bodies = [frame(number) for number in range(count + AT_ONCE)]

    async def one(body: bytes) -> None:
        envelopes = frames.decode(body, frames.CLOUD_EVENTS_BATCH)
        delivery: Any = Delivery(
            envelopes=envelopes,
            queue="dispatcher.null",
            exchange="",
            routing_key="null",
            headers={},
            message_id="x",
            reply_to=None,
            correlation_id=None,
            redelivered=False,
            body=body,
            content_type=frames.CLOUD_EVENTS_BATCH,
            publisher=outbox,  # type: ignore[arg-type]
        )
        await handler.handle(delivery)

    async def lane() -> None:
        while bodies:
            await one(bodies.pop())

    await asyncio.gather(*(one(bodies.pop()) for _ in range(AT_ONCE)))  # warm
    started, cpu = perf_counter(), process_time()
    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    steps = count * FRAME
    assert outbox.outcomes == steps + AT_ONCE * FRAME
    elapsed = perf_counter() - started
    return {"steps_per_second": steps / elapsed, "cpu_ms_per_step": (process_time() - cpu) / steps * 1000}


async def bare(database: Database, count: int) -> dict[str, float]:
    """The floor: one document made and changed twice, 200 in a bulk write, two writes at a time."""
    collection = database.collection("floor")

    async def page() -> None:
        ids = [uuid4() for _ in range(FRAME * AT_ONCE)]
        rest = {"state": "claimed", "organization_id": "demo", "keys": ["x" * 60] * 7, "attempt": 1, "text": "x" * 600}
        await collection.bulk_write([UpdateOne({"_id": i}, {"$setOnInsert": rest}, upsert=True) for i in ids])
        for state in ("handing_over", "sent"):
            await collection.bulk_write([UpdateOne({"_id": i}, {"$set": {"state": state}}) for i in ids])

    pages = max(count // AT_ONCE, 2)
    started, cpu = perf_counter(), process_time()
    for _ in range(pages // 2):
        await asyncio.gather(page(), page())
    steps = pages // 2 * 2 * FRAME * AT_ONCE
    elapsed = perf_counter() - started
    return {"steps_per_second": steps / elapsed, "cpu_ms_per_step": (process_time() - cpu) / steps * 1000}


async def measure(url: str, count: int) -> dict[str, Any]:
    """Both figures and their ratio."""
    client = connect(url)
    database = client.database(f"bench{uuid4().hex[:8]}_ledger")
    try:
        floor = await bare(database, count)
        dispatcher = await through_the_dispatcher(database, count)
    finally:
        await client.drop_database(database.name)
        await client.close()
    ratio = dispatcher["steps_per_second"] / floor["steps_per_second"]
    return {"dispatcher": dispatcher, "floor": floor, "ratio": {"to_bare_bulk_writes": ratio}}


async def run() -> dict[str, Any]:
    """On a mongod of its own."""
    with tempfile.TemporaryDirectory(prefix="tendril-bench-") as home:
        server = MongoServer(Path(home))
        await server.start()
        try:
            measured = await measure(server.url, FRAMES)
        finally:
            await server.stop()
    return {"dispatcher": {**measured.pop("dispatcher"), **measured}}


async def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--url")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory() as home:
        server = None
        if options.url is None:
            server = MongoServer(Path(home))
            await server.start()
        try:
            if options.profile:
                profile.enable()
            result = await measure(options.url or server.url if server else options.url, options.frames)
        finally:
            profile.disable()
            if server is not None:
                await server.stop()
    if options.profile:
        pstats.Stats(profile).sort_stats("cumtime").print_stats("dispatcher|shared|pymongo|motor", 60)
    if options.json:
        print(json.dumps(result))
        return
    for name in ("dispatcher", "floor"):
        figures = result[name]
        print(f"{name:12} {figures['steps_per_second']:8.0f} steps/s  {figures['cpu_ms_per_step']:.3f} ms CPU a step")
    print(f"ratio        {result['ratio']['to_bare_bulk_writes']:.2f}")


if __name__ == "__main__":
    uvloop.run(main())
