"""The real enrollment service in this process, with a dispatcher that a test scripts."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
import orjson

from services.enrollment.wiring import EnrollmentService, build
from shared.clock import Clock, SystemClock
from shared.events.definition import Limits, SequenceDefinition
from shared.events.dispatch import DressedStep, StopOrder
from shared.events.enrollment import Outcome, RecordSent
from shared.events.envelope import Envelope
from shared.events.message import Message
from shared.events.organization import FoundOrganization, SetSender
from shared.events.query import Answer
from shared.events.sequence import DraftSequence
from shared.ids import derived_id, new_id
from shared.messaging.frames import decode
from shared.messaging.publisher import Publisher
from shared.messaging.requests import Requester
from shared.messaging.topology import exchange_of, routing_key_of
from shared.settings import load_settings

ORGANIZATION = "demo"


class Bench:
    """What a test does with a running service: orders, leads, and playing the dispatcher."""

    def __init__(self, service: EnrollmentService, publisher: Publisher, requester: Requester, connection: Any) -> None:
        self.service = service
        self.publisher = publisher
        self.requester = requester
        self.connection = connection
        self.prefix = ""
        self.steps: list[Envelope] = []
        self.stops: list[Envelope] = []
        self.arrived = asyncio.Event()
        self.answer_steps: Callable[[Envelope], Outcome | None] = sent

    async def order(self, message: Message, *, message_id: str | None = None, lead_id: UUID | None = None) -> Answer:
        envelope = Envelope(
            id=message_id or new_id().hex,
            message=message,
            source="tests",
            time=SystemClock().now(),
            organization_id=ORGANIZATION,
            lead_id=lead_id,
            actor="member:tests",
        )
        return await self.requester.request(exchange_of(envelope), routing_key_of(envelope), envelope)

    async def done(self, message: Message, **options: Any) -> Answer:
        answer = await self.order(message, **options)
        assert answer.ok, answer.problem
        return answer

    async def sequence(self, steps: list[dict[str, Any]], **fields: Any) -> UUID:
        definition = SequenceDefinition.model_validate({"name": "Test", "steps": steps, **fields})
        sequence_id = derived_id("sequence", definition.model_dump_json())
        await self.done(DraftSequence(sequence_id=sequence_id, definition=definition, activate=True))
        return sequence_id

    async def lead(self, number: int, *, message_id: str | None = None, **fields: Any) -> None:
        body = {
            "organization_id": ORGANIZATION,
            "lead": {"email": f"lead{number}@example.com", "first_name": f"L{number}", **fields},
        }
        await self.publisher.publish_body(
            "tendril.leads",
            "lead.created",
            orjson.dumps(body),
            content_type="application/json",
            message_id=message_id or f"lead-{number}",
        )

    async def play_dispatcher(self) -> None:
        channel = await self.connection.channel()
        for queue in ("dispatcher.email", "dispatcher.webhook", "dispatcher.null"):
            await (await channel.declare_queue(queue, passive=True)).consume(self._step)
        await (await channel.declare_queue("dispatcher.stops", passive=True)).consume(self._stop)

    async def _step(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        envelopes = decode(message.body, message.content_type)
        self.steps += envelopes
        outcomes = [(step, outcome) for step in envelopes if (outcome := self.answer_steps(step)) is not None]
        if outcomes:
            await self.report([(step, outcome) for step, outcome in outcomes])
        await message.ack()
        self.arrived.set()

    async def report(self, outcomes: list[tuple[Envelope, Outcome]]) -> None:
        envelopes = [
            Envelope(
                id=f"{outcome.dispatch_id}:{outcome.attempt}:{outcome.TOPIC}",
                message=outcome,
                source="tests",
                time=SystemClock().now(),
                organization_id=step.organization_id,
                lead_id=step.lead_id,
                subject=step.subject,
            )
            for step, outcome in outcomes
        ]
        await self.publisher.publish("tendril.commands", "outcome.frame", envelopes)

    async def _stop(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        self.stops += decode(message.body, message.content_type)
        await message.ack()
        self.arrived.set()

    async def until(self, condition: Callable[[], Any], seconds: float = 20) -> Any:
        async with asyncio.timeout(seconds):
            while not (found := condition()):
                self.arrived.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.arrived.wait(), 0.05)
        return found

    def steps_of(self, step_id: str) -> list[Envelope]:
        return [
            each for each in self.steps if isinstance(each.message, DressedStep) and each.message.step_id == step_id
        ]

    def stop_orders(self) -> list[StopOrder]:
        return [each.message for each in self.stops if isinstance(each.message, StopOrder)]

    def topics(self) -> list[str]:
        return [event["type"] for event in self.service.store.page_events(0, 5_000)]


def sent(step: Envelope) -> Outcome | None:
    """The plain answer."""
    message = step.message
    assert isinstance(message, DressedStep)
    return RecordSent(
        enrollment_id=message.enrollment_id,
        execution=message.execution,
        attempt=message.attempt,
        dispatch_id=message.dispatch_id,
        sent_at=SystemClock().now(),
        message_id=f"<{message.dispatch_id.hex}@tests>",
    )


@contextlib.asynccontextmanager
async def running_service(
    home: Path,
    amqp_url: str,
    *,
    event_store: str | None = None,
    clock: Clock | None = None,
    mongo_url: str | None = None,
) -> AsyncIterator[Bench]:
    settings = load_settings(
        {},
        amqp_url=amqp_url,
        mongo_url=mongo_url,
        home=home,
        event_store=event_store or f"sqlite:///{home / 'tendril.db'}",
        master_key=base64.b64encode(b"k" * 32).decode(),
    )
    service = await build(settings, clock or SystemClock())
    publisher = Publisher(amqp_url, name="tests")
    requester = Requester(amqp_url, name="tests", publisher=publisher)
    await service.start()
    await publisher.start()
    await requester.start()
    connection = await aio_pika.connect(amqp_url)
    bench = Bench(service, publisher, requester, connection)
    bench.prefix = settings.database_prefix
    try:
        await bench.done(FoundOrganization(name="Demo"))
        await bench.done(SetSender(sender_id="default", name="Coach", email="coach@demo.example", limits=Limits()))
        await bench.play_dispatcher()
        yield bench
    finally:
        await connection.close()
        await requester.close()
        await service.close()
        await publisher.close()
