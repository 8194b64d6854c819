"""A tracker in this process, on a broker's empty virtual host, and what it published."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
import httpx
import pytest

from services.tracker.wiring import TrackerService, build
from shared.clock import ManualClock
from shared.events import Envelope
from shared.events.dispatch import StopOrder
from shared.events.engagement import RecordSignal
from shared.messaging import frames
from shared.settings import Settings, load_settings
from shared.tokens import LinkClaims, LinkKind, Tokens
from tendril.embedded.ports import free_port
from tests.support.waiting import eventually

SECRET = "a secret that is long enough for this"
DOMAIN = "in.demo.example"
LEAD = UUID("11111111-2222-4333-8444-555555555555")
ENROLLMENT = UUID("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")
SEQUENCE = UUID("99999999-8888-4777-8666-555555555555")
TARGET = "https://example.com/pricing?plan=a&x=%C3%BC"
#: What a person's browser says of itself.
BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "accept-language": "en",
}
TOKENS = Tokens([SECRET])


def link(
    kind: LinkKind, *, execution: int = 2, sequence_id: UUID | None = SEQUENCE, target: str | None = TARGET
) -> str:
    """A good token."""
    return TOKENS.link_token(
        LinkClaims(
            organization_id="demo",
            lead_id=LEAD,
            enrollment_id=ENROLLMENT,
            execution=execution,
            channel="email",
            kind=kind,
            target=target if kind == "click" else None,
            sequence_id=sequence_id if kind == "unsubscribe" else None,
        )
    )


def tracker_settings(home: Path, amqp_url: str) -> Settings:
    """Ports of its own."""
    return load_settings(
        {},
        home=home,
        amqp_url=amqp_url,
        secret_keys=SECRET,
        inbound_domain=DOMAIN,
        tracker_port=free_port(),
        inbound_smtp_port=free_port(),
        telemetry_port=free_port(),
    )


@dataclass
class Running:
    """A tracker, a browser that does not follow redirects, and the queues it publishes to."""

    service: TrackerService
    clock: ManualClock
    http: httpx.AsyncClient
    broker: str

    @property
    def smtp_port(self) -> int:
        return self.service.settings.inbound_smtp_port

    async def published(self, queue: str = "enrollment.signals") -> list[Envelope]:
        """Everything in a queue, in order; taken out of it."""
        return await taken(self.broker, queue)

    async def signals(self, count: int) -> list[RecordSignal]:
        """The next ``count`` signals, once they are there; and no more than these."""
        found: list[RecordSignal] = []

        async def enough() -> bool:
            found.extend(signal_of(envelope) for envelope in await self.published())
            return len(found) >= count

        await eventually(enough, message=f"{count} signals")
        assert len(found) == count, found
        return found

    async def stops(self) -> list[StopOrder]:
        orders = [envelope.message for envelope in await self.published("dispatcher.stops")]
        assert all(isinstance(order, StopOrder) for order in orders)
        return [order for order in orders if isinstance(order, StopOrder)]


def signal_of(envelope: Envelope) -> RecordSignal:
    assert isinstance(envelope.message, RecordSignal)
    return envelope.message


async def taken(url: str, queue_name: str) -> list[Envelope]:
    """Empties a queue, as a bare client."""
    envelopes: list[Envelope] = []
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(queue_name, ensure=False)
        while (message := await queue.get(fail=False)) is not None:
            envelopes += frames.decode(message.body, message.content_type)
            await message.ack()
    return envelopes


@asynccontextmanager
async def running_tracker(home: Path, amqp_url: str, *, wait_for_broker: bool = True) -> AsyncIterator[Running]:
    """Started, and closed at the end."""
    clock = ManualClock()
    service = await build(tracker_settings(home, amqp_url), clock)
    await service.start()
    try:
        if wait_for_broker:
            await asyncio.wait_for(service.publisher.wait_up(), 30)
            await eventually(lambda: not service.outbox.spool_waits)
        base = f"http://127.0.0.1:{service.settings.tracker_port}"
        async with httpx.AsyncClient(base_url=base, headers=BROWSER, timeout=20) as http:
            yield Running(service, clock, http, amqp_url)
    finally:
        await service.close()


@pytest.fixture
async def tracker(tmp_path: Path, amqp_url: str) -> AsyncIterator[Running]:
    """A tracker on a broker that is there."""
    async with running_tracker(tmp_path, amqp_url) as running:
        yield running


Mail = Callable[..., bytes]


def mail(text: str = "Yes, tell me more.", *, headers: dict[str, str] | None = None, kind: str = "text/plain") -> bytes:
    """A plain mail."""
    fields: dict[str, Any] = {
        "From": "Ada <ada@example.com>",
        "To": "reply@in.demo.example",
        "Subject": "Re: Welcome",
        "Message-ID": "<1@example.com>",
        "MIME-Version": "1.0",
        "Content-Type": f"{kind}; charset=utf-8",
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{head}\r\n{text}\r\n".encode()
