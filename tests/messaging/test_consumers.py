from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from shared.events.lead import LeadCreated
from shared.messaging import frames
from shared.messaging.consumers import Consumers, Delivery, Subscription
from shared.messaging.errors import DependencyAway
from shared.messaging.publisher import Publisher
from tests.messaging.conftest import Peek
from tests.messaging.examples import NOW, pause, tag
from tests.support.waiting import eventually

COMMANDS = "enrollment.commands"
Handler = Callable[[Delivery], Awaitable[None]]
Start = Callable[..., Awaitable[Consumers]]


@pytest.fixture
def consume(amqp_url: str, publisher: Publisher, stack: AsyncExitStack) -> Start:
    async def start(handle: Handler, *, queue: str = COMMANDS, prefetch: int = 10, **more: Any) -> Consumers:
        consumers = Consumers(
            amqp_url,
            name="test",
            publisher=publisher,
            queues=[Subscription(queue, prefetch, handle)],
            now=lambda: NOW,
            **more,
        )
        await consumers.start()
        stack.push_async_callback(consumers.close)
        return consumers

    return start


async def send(publisher: Publisher, *numbers: int) -> None:
    for number in numbers:
        await publisher.publish("tendril.commands", "command.lead.tag", [tag(number)])


async def is_empty(peek: Peek, queue: str = COMMANDS) -> bool:
    return await peek.count(queue) == 0


async def reasons_of_dead(peek: Peek) -> dict[str, Any]:
    message = await eventually(lambda: peek.take("tendril.dead"))
    assert message is not None
    headers = dict(message.headers)
    return {**headers, "body": message.body, "key": message.routing_key, "message_id": message.message_id}


async def test_a_handled_message_is_gone(publisher: Publisher, consume: Start, peek: Peek) -> None:
    seen: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery)

    consumers = await consume(handle)
    await publisher.publish("tendril.commands", "command.enrollment.pause", [pause()], headers={"k": "v"})
    await eventually(lambda: seen)
    await consumers.close()
    assert await is_empty(peek)
    delivery = seen[0]
    assert delivery.envelopes == [pause()]
    assert (delivery.routing_key, delivery.message_id, delivery.redelivered) == (
        "command.enrollment.pause",
        "c-1",
        False,
    )
    assert delivery.headers["k"] == "v"


async def test_handlers_run_together_up_to_the_prefetch(publisher: Publisher, consume: Start) -> None:
    running = 0
    most = 0
    go_on = asyncio.Event()

    async def handle(_: Delivery) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1

    await consume(handle, prefetch=7)
    await send(publisher, *range(20))
    await eventually(lambda: running == 7)
    go_on.set()
    await eventually(lambda: running == 0)
    assert most == 7


async def test_closing_finishes_what_runs_and_gives_the_rest_back(
    publisher: Publisher, consume: Start, peek: Peek
) -> None:
    started: list[str] = []
    finished: list[str] = []
    go_on = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        started.append(delivery.envelopes[0].id)
        await go_on.wait()
        finished.append(delivery.envelopes[0].id)

    consumers = await consume(handle, prefetch=2)
    await send(publisher, *range(5))
    await eventually(lambda: len(started) == 2)
    closing = asyncio.create_task(consumers.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert finished == started == ["t-0", "t-1"]

    async def three_left() -> bool:
        return await peek.count(COMMANDS) == 3

    await eventually(three_left)


async def test_what_does_not_validate_is_dead_at_once_with_reasons(
    publisher: Publisher, consume: Start, peek: Peek
) -> None:
    seen: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery)

    await consume(handle)
    event = orjson.loads(frames.encode([tag(1)])[0])
    event["data"]["lead_id"] = "nobody"
    event["leadid"] = "11111111-1111-4111-8111-111111111111"
    body = orjson.dumps(event)
    await publisher.publish_body(
        "tendril.commands", "command.lead.tag", body, content_type=frames.CLOUD_EVENT, message_id="m-1"
    )
    dead = await reasons_of_dead(peek)
    assert dead["body"] == body
    assert (dead["key"], dead["x-queue"], dead["x-reason"]) == (COMMANDS, COMMANDS, "invalid")
    assert (dead["x-message-id"], dead["x-lead-id"]) == ("m-1", event["leadid"])
    assert dead["x-routing-key"] == "command.lead.tag"
    assert orjson.loads(dead["x-reasons"])[0]["field"] == "lead_id"
    assert datetime.fromisoformat(dead["x-died-at"]).tzinfo == UTC
    assert not seen


async def test_the_good_events_of_a_frame_are_handled_and_the_bad_one_is_dead_alone(
    publisher: Publisher, consume: Start, peek: Peek
) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        seen.extend(envelope.id for envelope in delivery.envelopes)

    await consume(handle)
    events = [orjson.loads(frames.encode([tag(n)])[0]) for n in range(3)]
    events[1]["type"] = "lead.unheard_of.v1"
    body, content_type = frames.encode_raw(events)
    await publisher.publish_body(
        "tendril.commands", "command.lead.tag", body, content_type=content_type, message_id="f"
    )
    dead = await reasons_of_dead(peek)
    assert orjson.loads(dead["body"])["id"] == "t-1"
    assert dead["x-reason"] == "invalid"
    assert seen == ["t-0", "t-2"]


async def test_a_failing_message_comes_five_times_and_the_queue_goes_on(
    publisher: Publisher, consume: Start, peek: Peek
) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.envelopes[0].id)
        if delivery.envelopes[0].id == "t-1":
            raise KeyError("a bug")

    await consume(handle)
    await send(publisher, 0, 1, 2)
    dead = await reasons_of_dead(peek)
    assert dead["x-reason"] == "failed"
    assert "a bug" in orjson.loads(dead["x-reasons"])[0]["problem"]
    assert seen.count("t-1") == 5
    assert seen.count("t-0") == seen.count("t-2") == 1


async def test_failures_without_a_message_id_are_counted_by_body(
    publisher: Publisher, consume: Start, peek: Peek
) -> None:
    tries = 0

    async def handle(_: Delivery) -> None:
        nonlocal tries
        tries += 1
        raise ZeroDivisionError

    await consume(handle)
    body, content_type = frames.encode([tag(1)])
    await publisher.publish_body(
        "tendril.commands", "command.lead.tag", body, content_type=content_type, message_id=None
    )
    assert (await reasons_of_dead(peek))["x-reason"] == "failed"
    assert tries == 5


async def test_a_missing_dependency_is_never_the_messages_fault(
    publisher: Publisher, consume: Start, peek: Peek
) -> None:
    there = False
    probes = 0
    done: set[str] = set()

    async def available() -> bool:
        nonlocal probes
        probes += 1
        if probes == 2:
            raise OSError("still away")
        return there

    async def handle(delivery: Delivery) -> None:
        if not there:
            raise DependencyAway("the store is locked")
        done.add(delivery.envelopes[0].id)

    consumers = await consume(handle, prefetch=5, available=available)
    await send(publisher, *range(8))
    await eventually(lambda: probes >= 3 and not consumers.is_up)

    async def all_given_back() -> bool:
        return await peek.count(COMMANDS) == 8

    await eventually(all_given_back)
    there = True
    await eventually(lambda: len(done) == 8)
    await consumers.close()
    assert await is_empty(peek)
    assert await is_empty(peek, "tendril.dead")


async def test_pause_and_resume_by_hand(publisher: Publisher, consume: Start, peek: Peek) -> None:
    seen: list[str] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.envelopes[0].id)

    consumers = await consume(handle)
    await consumers.pause()
    await send(publisher, 1, 2)
    assert await peek.count(COMMANDS) == 2
    assert seen == []
    await consumers.resume()
    await eventually(lambda: sorted(seen) == ["t-1", "t-2"])


async def test_funnels_may_send_bare_data(publisher: Publisher, consume: Start, peek: Peek) -> None:
    seen: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery)

    await consume(handle, queue="enrollment.leads")
    body = orjson.dumps({"organization_id": "demo", "lead": {"email": "a@example.com"}})
    for key, message_id in (("lead.created", "m-1"), ("lead.invented", "m-2")):
        await publisher.publish_body("tendril.leads", key, body, content_type=frames.JSON, message_id=message_id)
    dead = await reasons_of_dead(peek)
    assert (dead["x-message-id"], dead["x-queue"]) == ("m-2", "enrollment.leads")
    await eventually(lambda: seen)
    assert isinstance(seen[0].envelopes[0].message, LeadCreated)
    assert (seen[0].envelopes[0].id, seen[0].envelopes[0].time) == ("m-1", NOW)


def test_a_prefetch_must_be_stated() -> None:
    async def handle(_: Delivery) -> None: ...

    for wrong in (0, -1, 65_536):
        with pytest.raises(ValueError, match="prefetch"):
            Subscription(COMMANDS, wrong, handle)
