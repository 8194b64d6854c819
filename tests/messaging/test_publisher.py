from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from shared.messaging.errors import BrokerAway, Unroutable
from shared.messaging.publisher import Publisher, publish_until_confirmed
from tendril.embedded.ports import free_port
from tests.messaging.conftest import Peek
from tests.messaging.examples import pause, tag
from tests.support.waiting import eventually


async def test_a_confirmed_message_lies_in_its_queue(publisher: Publisher, peek: Peek) -> None:
    await publisher.publish("tendril.commands", "command.enrollment.pause", [pause()], headers={"a": 1})
    message = await peek.take("enrollment.commands")
    assert message is not None
    assert (message.message_id, message.content_type) == ("c-1", "application/cloudevents+json")
    assert (message.delivery_mode, message.headers["a"]) == (2, 1)


async def test_a_key_that_no_queue_takes_raises_and_harms_nobody(publisher: Publisher, peek: Peek) -> None:
    results = await asyncio.gather(
        *(
            publisher.publish("tendril.commands", "nowhere.at_all" if n % 2 else "command.lead.tag", [tag(n)])
            for n in range(20)
        ),
        return_exceptions=True,
    )
    assert [isinstance(result, Unroutable) for result in results] == [n % 2 == 1 for n in range(20)]
    assert await peek.count("enrollment.commands") == 10


async def test_an_exchange_that_does_not_exist_costs_a_reconnect_only(publisher: Publisher) -> None:
    with pytest.raises(Exception, match=r"no confirm|not connected"):
        await publisher.publish("tendril.nonsense", "x", [pause()])
    await publish_until_confirmed(publisher, "tendril.commands", "command.enrollment.pause", [pause()])


async def test_without_a_broker_it_is_said_at_once(stack: AsyncExitStack) -> None:
    lonely = Publisher(f"amqp://guest:guest@127.0.0.1:{free_port()}/", name="test", timeout_seconds=0.2)
    await lonely.start(wait=False)
    stack.push_async_callback(lonely.close)
    with pytest.raises(BrokerAway):
        await lonely.publish("tendril.commands", "command.enrollment.pause", [pause()])
    stop = asyncio.Event()
    stop.set()
    with pytest.raises(BrokerAway):
        await publish_until_confirmed(lonely, "tendril.commands", "command.x.y", [pause()], stop=stop)


async def test_many_at_once_are_all_confirmed(publisher: Publisher, peek: Peek) -> None:
    await asyncio.gather(*(publisher.publish("tendril.commands", "command.lead.tag", [tag(n)]) for n in range(1500)))

    async def all_there() -> bool:
        return await peek.count("enrollment.commands") == 1500

    await eventually(all_there)


@pytest.mark.parametrize(("wrong", "name"), [({"timeout_seconds": 0}, "timeout"), ({"max_in_flight": 0}, "in_flight")])
def test_wrong_knobs_are_refused_where_they_are_set(wrong: dict[str, int], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Publisher("amqp://x", name="test", **wrong)  # type: ignore[arg-type] # both are given as int
