"""The program as it is run: ready with both servers there, a clean end on SIGTERM; pages asked over the broker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from services.projector.errors import ReaderAway
from services.projector.pages import ReaderPages
from shared.clock import SystemClock
from shared.events.query import Answer, QueryEventsPage
from shared.messaging.consumers import Consumers, Subscription
from shared.messaging.delivery import Delivery
from shared.messaging.publisher import Publisher
from shared.messaging.requests import Requester
from tendril.embedded.ports import free_port
from tests.projector.conftest import Bench
from tests.projector.log import nurture
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.mark.system
async def test_the_program_gets_ready_takes_in_and_ends(bench: Bench) -> None:
    port = free_port()
    environ = {
        **os.environ,
        "TENDRIL_AMQP_URL": bench.settings.require_amqp_url(),
        "TENDRIL_MONGO_URL": bench.settings.require_mongo_url(),
        "TENDRIL_HOME": str(bench.settings.home),
        "TENDRIL_TELEMETRY_PORT": str(port),
    }
    nurture(bench.log, 1)
    await bench.relay.relay()
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tendril", "run", "projector", cwd=ROOT, env=environ
    )
    try:
        async with httpx.AsyncClient() as client:

            async def ready() -> bool:
                try:
                    return (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, 30.0)
        await bench.caught_up()
        running.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), 15.0) == 0
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def test_pages_come_from_a_reader_over_the_broker(bench: Bench) -> None:
    nurture(bench.log, 1)
    url = bench.settings.require_amqp_url()
    publisher = Publisher(url, name="test")
    await publisher.start()
    requester = Requester(url, name="test", publisher=publisher)
    await requester.start()

    async def answer(delivery: Delivery) -> None:
        question = delivery.envelopes[0].message
        assert isinstance(question, QueryEventsPage)
        if question.after == 999:
            await delivery.reply(Answer(ok=False))
            return
        page = await bench.pages.page(question.after, question.up_to, question.partitions or [], question.limit)
        await delivery.reply(Answer(ok=True, result={"events": page.events, "last": page.last, "end": page.end}))

    subscriptions = [Subscription("enrollment.queries", 4, answer)]
    reader = Consumers(url, name="reader", publisher=publisher, queues=subscriptions)
    await reader.start()
    pages = ReaderPages(requester, SystemClock())
    page = await pages.page(2, 6, list(range(16)), 100)
    assert [event["position"] for event in page.events] == [3, 4, 5, 6]
    assert (page.last, page.end) == (6, len(bench.log.events))
    with pytest.raises(ReaderAway):
        await pages.page(999, None, [0], 100)
    await reader.close()
    await requester.close()
    await publisher.close()
