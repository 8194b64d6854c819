"""The whole service over real RabbitMQ, MongoDB and SMTP."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from services.dispatcher.channels.smtp import SmtpChannel
from services.dispatcher.channels.smtp_line import read_smtp_url
from services.dispatcher.wiring import DispatcherService, build
from shared.clock import SystemClock
from shared.events import Envelope
from shared.events.dispatch import DressedStep, ForgetLead, SettleDispatch, WebhookCall
from shared.events.enrollment import RecordDeferred, RecordInDoubt, RecordSent, RecordStopped, RecordUndressed
from shared.messaging import frames, topology
from shared.messaging.publisher import Publisher
from shared.persistence.files import Files
from shared.settings import Settings, load_settings
from tests.dispatcher.making import LEAD, attached, dressed, envelope, order_envelope, stop
from tests.dispatcher.smtp_sink import Sink
from tests.dispatcher.test_webhook import OK, Receiver
from tests.support.waiting import eventually


class World:
    """What stands around the dispatcher: the sink, the clerk's publisher, and the write side's queue of outcomes."""

    def __init__(self, settings: Settings, sink: Sink, publisher: Publisher) -> None:
        self.settings = settings
        self.sink = sink
        self.publisher = publisher
        self.outcomes: list[Envelope] = []

    async def send(self, *steps: DressedStep, position: int = 10, channel: str = "email") -> None:
        await self.publisher.publish(topology.DISPATCH, channel, [envelope(step, position=position) for step in steps])

    async def order(self, message: Any, organization_id: str | None = "demo") -> None:
        sent = order_envelope(message, organization_id=organization_id)
        await self.publisher.publish(topology.STOPS, topology.routing_key_of(sent), [sent])

    def answers(self, step: DressedStep) -> list[Any]:
        return [o.message for o in self.outcomes if getattr(o.message, "dispatch_id", None) == step.dispatch_id]

    async def answer(self, step: DressedStep, count: int = 1) -> Any:
        await eventually(lambda: len(self.answers(step)) >= count, message=f"outcomes: {self.outcomes}")
        return self.answers(step)[count - 1]


@pytest.fixture
def settings(amqp_url: str, mongo_url: str, tmp_path: Path) -> Settings:
    return load_settings(
        {},
        amqp_url=amqp_url,
        mongo_url=mongo_url,
        home=tmp_path,
        secret_keys="0123456789abcdef0123",
        inbound_domain="in.example",
    )


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    publisher = Publisher(settings.require_amqp_url(), name="clerk")
    await publisher.start()
    connection = await aio_pika.connect(settings.require_amqp_url())
    async with Sink() as sink, connection:
        world = World(settings, sink, publisher)
        channel = await connection.channel()
        queue = await channel.get_queue(topology.QUEUE_OUTCOMES, ensure=False)

        async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            world.outcomes += frames.decode(message.body, message.content_type)
            await message.ack()

        await queue.consume(note)
        yield world
    await publisher.close()


@asynccontextmanager
async def running(world: World, **options: Any) -> AsyncIterator[DispatcherService]:
    clock = SystemClock()
    address = read_smtp_url(world.sink.url)
    channel = SmtpChannel(address, clock.monotonic, verb_seconds=5, answer_seconds=2, late_seconds=10)
    service = await build(world.settings, clock, adapters={"email": channel}, **options)
    await service.start()
    try:
        yield service
    finally:
        await service.close()


async def test_a_frame_goes_out_and_comes_back_as_outcomes(world: World) -> None:
    first, second = dressed(), dressed(content={"subject": "Hi {{ nickname }}", "html": "<p>x</p>"})
    async with running(world) as service:
        await world.send(first, second)
        sent, undressed = await world.answer(first), await world.answer(second)
        row = (
            await service.mongo.database(service_database(world))
            .collection("dispatches")
            .find_one({"_id": first.dispatch_id})
        )
    assert isinstance(sent, RecordSent)
    assert isinstance(undressed, RecordUndressed)
    assert undressed.missing == ["nickname"]
    assert len({o.id for o in world.outcomes}) == 2
    [mail] = world.sink.mails
    assert mail.to == "ada@example.com"
    assert mail.sender.startswith("bounce+")
    parsed = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert parsed["Subject"] == "Hi Ada"
    assert parsed["Message-ID"] == sent.message_id
    assert parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert row is not None
    assert row["state"] == "sent"
    assert row["message"]["raw"] == mail.content


def service_database(world: World) -> str:
    return f"{world.settings.database_prefix}_ledger"


async def test_the_null_channel_goes_through_the_whole_ledger(world: World) -> None:
    steps = [dressed(channel="null") for _ in range(25)]
    async with running(world) as service:
        await world.send(*steps, channel="null")
        for step in steps:
            assert isinstance(await world.answer(step), RecordSent)
        rows = await service.mongo.database(service_database(world)).collection("dispatches").find().to_list()
    assert {row["state"] for row in rows} == {"sent"}
    assert {tuple(row["times"]) for row in rows} == {("claimed", "handing_over", "sent")}


async def test_duplicates_are_sent_once_and_answered_alike(world: World) -> None:
    step = dressed()
    async with running(world), running(world):
        for _ in range(6):
            await world.send(step, step)
        await world.answer(step, 12)
    assert len(world.sink.mails) == 1
    assert {o.id for o in world.outcomes} == {f"{step.dispatch_id}:1:record_sent"}
    assert len({o.message.sent_at for o in world.outcomes if isinstance(o.message, RecordSent)}) == 1


async def test_a_stop_before_the_step_holds_and_answers_at_once(world: World) -> None:
    step = dressed()
    async with running(world):
        order = stop("enrollment", str(step.enrollment_id), 11, answer_to=step.dispatch_id, execution=1, attempt=1)
        await world.order(order)
        assert isinstance(await world.answer(step), RecordStopped)
        await world.send(step)
        assert isinstance(await world.answer(step, 2), RecordStopped)
    assert world.sink.mails == []


async def test_the_trackers_stop_holds_without_naming_an_organization(world: World) -> None:
    step, other = dressed(), dressed()
    async with running(world) as service:
        await world.order(stop("enrollment", str(step.enrollment_id), None), organization_id=None)
        keys = service.mongo.database(service_database(world)).collection("stop_keys")
        await eventually(lambda: keys.find_one({"_id": f"enrollment:{step.enrollment_id}"}))
        await world.send(step, other)
        assert isinstance(await world.answer(step), RecordStopped)
        assert isinstance(await world.answer(other), RecordSent)


async def test_a_swallowed_answer_is_in_doubt_and_settled_by_order(world: World) -> None:
    step = dressed()
    world.sink.script.answers["dot"] = "swallow"
    async with running(world) as service:
        await world.send(step)
        assert isinstance(await world.answer(step), RecordInDoubt)
        await world.send(step)
        assert isinstance(await world.answer(step, 2), RecordInDoubt)
        await world.order(SettleDispatch(dispatch_id=step.dispatch_id, outcome="sent", by="opened"))
        await eventually(lambda: state_is(service, step, "sent"))
        await world.order(ForgetLead(lead_id=LEAD))
        await eventually(lambda: forgotten(service, step))
    assert len(world.sink.mails) == 1


async def test_a_late_answer_settles_it(world: World) -> None:
    step = dressed()
    world.sink.script.answers["dot"] = "late 3 250 2.0.0 at last"
    async with running(world) as service:
        await world.send(step)
        assert isinstance(await world.answer(step), RecordInDoubt)
        assert isinstance(await world.answer(step, 2), RecordSent)
        assert await state_is(service, step, "sent")


async def test_stop_and_send_race_and_one_of_them_wins(world: World) -> None:
    """Every stop is either in time, and nothing goes out, or too late, and the step counts as sent."""
    steps = [dressed() for _ in range(120)]
    async with running(world), running(world):

        async def raced(number: int, step: DressedStep) -> None:
            order = stop("enrollment", str(step.enrollment_id), 11, answer_to=step.dispatch_id, execution=1, attempt=1)
            first, second = (
                (world.send(step), world.order(order)) if number % 2 else (world.order(order), world.send(step))
            )
            await asyncio.gather(first, second)

        await asyncio.gather(*(raced(number, step) for number, step in enumerate(steps)))
        for step in steps:
            await world.answer(step)
    token_of = {mail.sender for mail in world.sink.mails}
    assert len(token_of) == len(world.sink.mails)
    sent = {step.dispatch_id.hex for step in steps if any(isinstance(a, RecordSent) for a in world.answers(step))}
    stopped = {step.dispatch_id.hex for step in steps if any(isinstance(a, RecordStopped) for a in world.answers(step))}
    assert sent.isdisjoint(stopped)
    assert len(sent) + len(stopped) == len(steps)
    in_sink = {email.message_from_bytes(mail.content)["Message-ID"][1:33] for mail in world.sink.mails}
    assert in_sink == sent
    assert stopped


async def state_is(service: DispatcherService, step: DressedStep, state: str) -> bool:
    row = await service.ledger.row(step.dispatch_id)
    return row is not None and row.state == state


async def forgotten(service: DispatcherService, step: DressedStep) -> bool:
    row = await service.ledger.row(step.dispatch_id)
    return row is not None and row.message is None


async def test_a_webhook_is_called_once_however_often_its_step_arrives(settings: Settings, world: World) -> None:
    world.settings = settings.model_copy(update={"allow_private_webhooks": True})
    receiver = Receiver(answer=b"HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n")
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    call = WebhookCall(url=receiver.url, method="POST")
    first = dressed(kind="webhook", channel="webhook", address=receiver.url, content={"body": None}, webhook=call)
    second = first.model_copy(update={"attempt": 2})
    async with server, running(world):
        await world.send(first, channel="webhook")
        assert isinstance(await world.answer(first), RecordDeferred)
        receiver.answer = OK
        await world.send(second, channel="webhook")
        assert isinstance(await world.answer(first, 2), RecordSent)
        await world.send(second, channel="webhook", position=11)
        assert isinstance(await world.answer(first, 3), RecordSent)
    assert len(receiver.got) == 2
    assert receiver.got[0][2] == receiver.got[1][2]
    assert {headers["webhook-id"] for _, headers, _ in receiver.got} == {str(first.dispatch_id)}


async def test_an_attachment_arrives_byte_for_byte_and_a_lost_one_ends_the_send(world: World) -> None:
    data = bytes(range(256)) * 8_000
    file, gone = attached(data, "Größe der Liste.pdf"), attached(b"never stored", "gone.pdf")
    first, second = dressed(attachments=[file]), dressed(attachments=[file, gone])
    world.sink.script.answers["dot"] = ["451 4.3.0 later", None]
    async with running(world) as service:
        files = Files(service.mongo, world.settings.database_prefix)
        assert await files.put("demo", data) == file.sha256
        assert await files.put("demo", data) == file.sha256
        assert await files.get("other", file.sha256) is None
        await world.send(first)
        assert isinstance(await world.answer(first), RecordDeferred)
        row = await service.mongo.database(service_database(world)).collection("dispatches").find_one({})
        again = first.model_copy(update={"attempt": 2})
        await world.send(again, position=11)
        assert isinstance(await world.answer(first, 2), RecordSent)
        await world.send(second)
        undressed = await world.answer(second)
    assert isinstance(undressed, RecordUndressed)
    assert undressed.reason == "the attachment gone.pdf is missing in the store"
    assert row is not None
    assert len(row["message"]["raw"]) < 20_000
    [mail] = world.sink.mails
    parsed = email.message_from_bytes(mail.content, _class=EmailMessage, policy=email.policy.default)
    [part] = list(parsed.iter_attachments())
    assert (part.get_filename(), part.get_payload(decode=True)) == ("Größe der Liste.pdf", data)
    assert mail.content.startswith(row["message"]["raw"])
