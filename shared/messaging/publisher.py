"""Publishing with confirms, on a connection of its own: a publisher that the broker blocks never stops acks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import aiormq
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, DeliveryError
from aiormq.exceptions import ChannelInvalidStateError, PublishError
from pamqp.commands import Basic
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter

from shared.events import Envelope
from shared.messaging import frames, topology
from shared.messaging.connection import Link
from shared.messaging.errors import BrokerAway, PublishRefused, PublishUnknown, Unroutable

PERSISTENT = 2


class Publisher:
    """Publishes persistent, mandatory messages and returns after the broker's confirm.

    ``timeout_seconds`` bounds one publish, waiting for a free slot included; ``max_in_flight`` bounds those without a
    confirm.
    Every (re)connect declares the whole topology first, for ``channels`` and ``partitions``. Safe for concurrent use.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        timeout_seconds: float = 10.0,
        max_in_flight: int = 512,
        channels: Sequence[str] = topology.DEFAULT_CHANNELS,
        partitions: int = topology.PARTITIONS,
    ) -> None:
        if timeout_seconds <= 0:
            raise ValueError(f"timeout_seconds must be above 0, got {timeout_seconds}")
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be 1 or more, got {max_in_flight}")
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(max_in_flight)
        self._channels = channels
        self._partitions = partitions
        self._channel: aiormq.Channel | None = None
        self._link = Link(url, name=f"{name} publisher", opened=self._opened, lost=self._lost)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection to publish on."""
        return self._link.is_up

    @property
    def connected(self) -> bool:
        """The same."""
        return self.is_up

    async def start(self, *, wait: bool = True) -> None:
        """Connects; with ``wait`` returns only once the broker is there, however long that takes."""
        await self._link.start(wait=wait)

    async def close(self) -> None:
        """Closes the connection. What has no confirm by then ends as PublishUnknown."""
        await self._link.close()

    async def wait_up(self) -> None:
        """Returns once there is a connection."""
        await self._link.wait_up()

    async def publish(
        self,
        exchange: str,
        routing_key: str,
        envelopes: Sequence[Envelope],
        *,
        headers: dict[str, Any] | None = None,
        message_id: str | None = None,
        reply_to: str | None = None,
        correlation_id: str | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        """Publishes envelopes as one message: a CloudEvent for one, a frame for several.

        ``message_id`` is made from the envelopes when left out, so a repeat carries the same one.
        Raises Unroutable, PublishUnknown, BrokerAway.
        """
        body, content_type = frames.encode(envelopes)
        first = envelopes[0]
        if first.traceparent and "traceparent" not in (headers or {}):
            headers = {**(headers or {}), "traceparent": first.traceparent}
        await self.publish_body(
            exchange,
            routing_key,
            body,
            content_type=content_type,
            headers=headers,
            message_id=message_id or message_id_of(envelopes),
            reply_to=reply_to,
            correlation_id=correlation_id,
            timeout_seconds=timeout_seconds,
        )

    async def publish_body(  # noqa: PLR0913
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        *,
        content_type: str,
        message_id: str | None,
        headers: dict[str, Any] | None = None,
        reply_to: str | None = None,
        correlation_id: str | None = None,
        timeout_seconds: float | None = None,
        persistent: bool = True,
        mandatory: bool = True,
    ) -> None:
        """Publishes a ready body. Without ``mandatory`` nobody need listen. Raises Unroutable, PublishUnknown,
        BrokerAway."""
        properties = Basic.Properties(
            content_type=content_type,
            delivery_mode=PERSISTENT if persistent else 1,
            message_id=message_id or None,
            headers=headers or None,
            reply_to=reply_to,
            correlation_id=correlation_id,
            timestamp=datetime.now(UTC),
        )
        sent = False
        try:
            async with asyncio.timeout(timeout_seconds or self._timeout_seconds), self._slots:
                channel = self._channel
                if channel is None:
                    raise BrokerAway("not connected to RabbitMQ")
                # A blocked connection takes nothing: waiting here keeps what was not sent known as not sent.
                await channel.connection.ready()
                sent = True
                await channel.basic_publish(
                    body,
                    exchange=exchange,
                    routing_key=routing_key,
                    properties=properties,
                    mandatory=mandatory,
                    wait=False,
                )
        except TimeoutError:
            if not sent:
                raise BrokerAway("RabbitMQ takes no messages at present") from None
            raise PublishUnknown(exchange, routing_key, "timed out") from None
        except PublishError:
            raise Unroutable(exchange, routing_key) from None
        except DeliveryError as error:
            raise PublishRefused(exchange, routing_key, "refused by the broker") from error
        except (AMQPError, ChannelInvalidStateError, OSError, RuntimeError) as error:
            raise PublishUnknown(exchange, routing_key, repr(error)) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise PublishUnknown(exchange, routing_key, "connection lost") from error

    async def _opened(self, connection: AbstractConnection) -> Sequence[asyncio.Future[object]]:
        declaring = await connection.channel(publisher_confirms=False)
        await topology.declare(declaring, self._channels, self._partitions)
        await declaring.close()
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        underlay = await channel.get_underlay_channel()
        assert isinstance(underlay, aiormq.Channel)
        self._channel = underlay
        return [underlay.closing]

    def _lost(self) -> None:
        self._channel = None


def message_id_of(envelopes: Sequence[Envelope]) -> str:
    """The envelope's id; for a frame, the first one's with the count."""
    first = envelopes[0].id
    return first if len(envelopes) == 1 else f"{first}+{len(envelopes) - 1}"


async def publish_until_confirmed(
    publisher: Publisher,
    exchange: str,
    routing_key: str,
    envelopes: Sequence[Envelope],
    *,
    headers: dict[str, Any] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Publishes, with the same ids, until the broker confirms; jittered pauses from 0.1 to 5 s.

    Once ``stop`` is set the last error is raised instead of another try. Raises Unroutable at once.
    """
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type((PublishUnknown, BrokerAway)),
        wait=wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.5),
        stop=lambda _: stop is not None and stop.is_set(),
        reraise=True,
    ):
        with attempt:
            await publisher.publish(exchange, routing_key, envelopes, headers=headers)
