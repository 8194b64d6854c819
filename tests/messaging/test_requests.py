from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from shared.events.query import Answer
from shared.messaging.consumers import Consumers, Delivery, Subscription
from shared.messaging.errors import BrokerAway, RequestTimeout
from shared.messaging.publisher import Publisher
from shared.messaging.requests import Requester
from tendril.embedded.ports import free_port
from tests.messaging.examples import tag


async def answering(delivery: Delivery) -> None:
    """Answers with the id, the odd ones later than the even ones."""
    number = int(delivery.envelopes[0].id.removeprefix("t-"))
    if number % 2:
        await asyncio.sleep(0.02)
    await delivery.reply(Answer(ok=True, result={"id": delivery.envelopes[0].id}, position="03-17"))


@pytest.fixture
async def requester(amqp_url: str, publisher: Publisher, stack: AsyncExitStack) -> Requester:
    made = Requester(amqp_url, name="test", publisher=publisher)
    await made.start()
    stack.push_async_callback(made.close)
    return made


async def test_each_gets_its_own_answer(
    amqp_url: str, publisher: Publisher, requester: Requester, stack: AsyncExitStack
) -> None:
    consumers = Consumers(
        amqp_url, name="test", publisher=publisher, queues=[Subscription("enrollment.commands", 50, answering)]
    )
    await consumers.start()
    stack.push_async_callback(consumers.close)
    answers = await asyncio.gather(
        *(requester.request("tendril.commands", "command.lead.tag", tag(n)) for n in range(40))
    )
    assert [answer.result["id"] for answer in answers] == [f"t-{n}" for n in range(40)]
    assert answers[0].position == "03-17"


async def test_no_answer_is_a_timeout_that_says_so(requester: Requester) -> None:
    with pytest.raises(RequestTimeout, match=r"command\.lead\.tag"):
        await requester.request("tendril.commands", "command.lead.tag", tag(1), timeout_seconds=0.2)


async def test_without_a_broker_nothing_was_sent(stack: AsyncExitStack) -> None:
    url = f"amqp://guest:guest@127.0.0.1:{free_port()}/"
    publisher = Publisher(url, name="test")
    requester = Requester(url, name="test", publisher=publisher)
    for part in (publisher, requester):
        await part.start(wait=False)
        stack.push_async_callback(part.close)
    with pytest.raises(BrokerAway):
        await requester.request("tendril.commands", "command.lead.tag", tag(1), timeout_seconds=0.3)
