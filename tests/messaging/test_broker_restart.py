"""What holds while RabbitMQ stops, restarts empty or blocks: a private node that only these tests touch."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.events.query import Answer
from shared.messaging.consumers import Consumers, Delivery, Subscription
from shared.messaging.publisher import Publisher, publish_until_confirmed
from shared.messaging.requests import Requester
from tendril.embedded.rabbitmq import RabbitServer
from tests.messaging.examples import tag
from tests.support.servers import server_home
from tests.support.waiting import eventually

pytestmark = pytest.mark.faults


@pytest.fixture
async def node() -> AsyncIterator[RabbitServer]:
    with server_home("rabbit-restart") as home:
        server = RabbitServer(Path(home))
        await server.start()
        yield server
        await server.stop()


async def test_everything_resumes_after_the_broker_was_killed_and_came_back(node: RabbitServer) -> None:
    publisher = Publisher(node.url, name="test", timeout_seconds=3)
    seen: set[str] = set()

    async def handle(delivery: Delivery) -> None:
        seen.update(envelope.id for envelope in delivery.envelopes)
        await delivery.reply(Answer(ok=True))

    consumers = Consumers(
        node.url, name="test", publisher=publisher, queues=[Subscription("enrollment.commands", 10, handle)]
    )
    requester = Requester(node.url, name="test", publisher=publisher)
    for part in (publisher, consumers, requester):
        await part.start()
    try:
        sending = asyncio.create_task(_send_all(publisher, 300))
        await eventually(lambda: len(seen) > 50)
        await node.stop()
        await node.start()
        await asyncio.wait_for(sending, 60)
        await eventually(lambda: len(seen) == 300, 30)
        answer = await requester.request("tendril.commands", "command.lead.tag", tag(1000), timeout_seconds=30)
        assert answer.ok
    finally:
        for each in (requester, consumers, publisher):
            await each.close()


async def test_a_broker_that_lost_everything_is_furnished_again(node: RabbitServer) -> None:
    publisher = Publisher(node.url, name="test", timeout_seconds=3)
    seen: set[str] = set()

    async def handle(delivery: Delivery) -> None:
        seen.update(envelope.id for envelope in delivery.envelopes)

    consumers = Consumers(
        node.url, name="test", publisher=publisher, queues=[Subscription("enrollment.commands", 10, handle)]
    )
    await publisher.start()
    await consumers.start()
    try:
        await node.stop()
        wiped = [folder for folder in node.home.iterdir() if folder.is_dir() and any(folder.rglob("*coordination*"))]
        assert wiped
        for folder in wiped:
            shutil.rmtree(folder)
        await node.start()
        await publish_until_confirmed(publisher, "tendril.commands", "command.lead.tag", [tag(1)])
        await eventually(lambda: "t-1" in seen, 30)
    finally:
        await consumers.close()
        await publisher.close()


async def _send_all(publisher: Publisher, count: int) -> None:
    for number in range(count):
        await publish_until_confirmed(publisher, "tendril.commands", "command.lead.tag", [tag(number)])
