"""Consuming: FastStream subscribers with manual ack and a stated prefetch, and the rule of whose fault a failure is.

- The handler returns: the message is acked.
- The message does not validate: it is dead-lettered at once, with a reason for every field. One bad event does not
  take its frame along.
- The handler raises DependencyAway: never the message's fault. All consumers of the service are cancelled, what they
  hold goes back,
  and they resume once ``available`` says so.
- Any other failure is counted per message in this process; the message comes back after a short pause, and is
  dead-lettered after five.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from faststream.middlewares import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
from faststream.rabbit.message import RabbitMessage

from shared.ending import ended
from shared.events import InvalidMessage, UnknownTopic
from shared.messaging import frames, topology
from shared.messaging.connection import BROKER_ERRORS, CONNECT_TIMEOUT_SECONDS, broker_url, pauses
from shared.messaging.deadletters import Failures, dead_letter, reasons_of
from shared.messaging.delivery import Delivery, Subscription
from shared.messaging.errors import DependencyAway, MessagingError
from shared.messaging.publisher import Publisher
from shared.telemetry import counter

__all__ = ["Consumers", "Delivery", "Subscription", "dead_letter"]

#: A failure of its own is retried this often before the message is dead-lettered.
MAX_FAILURES = 5
#: The pause before a failed message comes back; it doubles with every failure.
RETRY_PAUSE_SECONDS = 0.2
#: What running handlers may take to finish when consuming stops.
DRAIN_SECONDS = 15.0

_log = structlog.get_logger(__name__)
_handled = counter("messages_handled_total", "Messages by queue and what became of them", ["queue", "result"])


class Consumers:
    """The consumers of one service, on a connection of their own.

    ``available`` probes what the handlers depend on (None: try again after a pause). ``now`` gives the arrival time
    of funnels' messages
    (business time). Handlers of a queue run concurrently up to its prefetch, and run to their end even when the
    connection is lost
    meanwhile; their message then comes again.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        publisher: Publisher,
        queues: Sequence[Subscription],
        available: Callable[[], Awaitable[bool]] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        channels: Sequence[str] = topology.DEFAULT_CHANNELS,
        partitions: int = topology.PARTITIONS,
    ) -> None:
        self._url = broker_url(url, name=f"{name} consumers")
        self._name = name
        self._publisher = publisher
        self._subscriptions = list(queues)
        self._available = available
        self._now = now
        self._channels = channels
        self._partitions = partitions
        self._failures = Failures()
        self._running: set[asyncio.Task[None]] = set()
        self._taking = False
        self._held = False  # paused by hand
        self._dependency_away: str | None = None
        self._changed = asyncio.Event()
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._broker: RabbitBroker | None = None
        self._declaring: AbstractChannel | None = None

    @property
    def is_up(self) -> bool:
        """Whether messages are being taken."""
        return self._up.is_set()

    @property
    def running(self) -> bool:
        """The same."""
        return self.is_up

    async def start(self, *, wait: bool = True) -> None:
        """Begins to consume; with ``wait`` returns only once it does, however long the broker takes to come."""
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise(), name=f"consumers {self._name}")
        if wait:
            await self._up.wait()

    async def pause(self) -> None:
        """Takes nothing more, finishes what runs, gives the rest back. Returns once that is done."""
        self._held = True
        self._changed.set()
        await self._down.wait()

    async def resume(self) -> None:
        """Takes messages again after ``pause``; returns once it does."""
        self._held = False
        self._changed.set()
        await self._up.wait()

    async def close(self) -> None:
        """Stops taking, finishes what runs (at most 15 s), then closes. What was held and not finished goes back."""
        supervisor, self._supervisor = self._supervisor, None
        await ended(supervisor)
        await self._shut()

    async def _supervise(self) -> None:
        while True:
            await self._open_with_patience()
            self._up.set()
            while not self._held and self._dependency_away is None:
                self._changed.clear()
                await self._changed.wait()
            await self._shut()
            await self._until_wanted()

    async def _until_wanted(self) -> None:
        """Returns once nobody holds the consumers and what the handlers depend on is there."""
        waits = pauses()
        while self._held or self._dependency_away is not None:
            if self._held:
                self._changed.clear()
                await self._changed.wait()
                continue
            await asyncio.sleep(next(waits))
            if await self._is_available():
                _log.info("dependency is back", service=self._name)
                self._dependency_away = None

    async def _is_available(self) -> bool:
        if self._available is None:
            return True
        try:
            async with asyncio.timeout(10):
                return await self._available()
        except Exception as error:  # noqa: BLE001
            _log.info("dependency is still away", service=self._name, error=repr(error))
            return False

    async def _open_with_patience(self) -> None:
        waits = pauses()
        while True:
            try:
                async with asyncio.timeout(3 * CONNECT_TIMEOUT_SECONDS):
                    await self._open()
            except BROKER_ERRORS as error:
                _log.warning("broker is away", service=self._name, error=repr(error))
            else:
                return
            await self._shut()
            await asyncio.sleep(next(waits))

    async def _open(self) -> None:
        """A new broker object each time: a closed one keeps stale channels."""
        self._down.clear()
        broker = self._broker = RabbitBroker(
            self._url,
            decoder=_whole_message,
            apply_types=False,
            logger=None,
            graceful_timeout=None,
            log_level=logging.DEBUG,
        )
        connection = await broker.connect()
        # A robust channel: what is declared on it is declared again by itself after a reconnect, before consumers
        # come back.
        self._declaring = await connection.channel(publisher_confirms=False)
        await topology.declare(self._declaring, self._channels, self._partitions)
        for subscription in self._subscriptions:
            self._subscribe(broker, subscription)
        self._taking = True
        await broker.start()

    def _subscribe(self, broker: RabbitBroker, subscription: Subscription) -> None:
        async def receive(message: RabbitMessage) -> None:
            if not self._taking:
                return  # closing the connection gives it back
            task = asyncio.create_task(self._take(subscription, message.raw_message))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            # A lost connection cancels FastStream's task, not the handler: work half done is worse than work done
            # twice.
            await asyncio.shield(task)

        broker.subscriber(
            RabbitQueue(subscription.queue, declare=False),
            channel=Channel(prefetch_count=subscription.prefetch, publisher_confirms=False),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
        )(receive)

    async def _shut(self) -> None:
        self._taking = False
        self._up.clear()
        if self._running:
            _, late = await asyncio.wait(tuple(self._running), timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
        broker = self._broker
        if broker is not None:
            with suppress(*BROKER_ERRORS):
                await asyncio.wait_for(broker.stop(), CONNECT_TIMEOUT_SECONDS)
        self._broker = self._declaring = None
        self._down.set()

    async def _take(self, subscription: Subscription, raw: AbstractIncomingMessage) -> None:
        """One message, from decoding to its ack. Nothing escapes."""
        queue = subscription.queue
        try:
            result = await self._work(subscription, raw)
        except DependencyAway as error:
            if self._dependency_away is None:
                _log.warning("dependency is away", service=self._name, queue=queue, error=str(error))
            self._dependency_away = str(error)
            self._changed.set()
            result = "dependency_away"
        except MessagingError as error:  # the dead letter could not be published: the message must not be lost
            _log.warning("kept for another try", queue=queue, error=str(error))
            await asyncio.sleep(RETRY_PAUSE_SECONDS)
            await self._answer_broker(raw, ack=False)
            result = "kept"
        _handled.labels(queue, result).inc()

    async def _work(self, subscription: Subscription, raw: AbstractIncomingMessage) -> str:
        key = self._failures.key_of(raw)
        try:
            delivery = self._read(subscription, raw)
            await subscription.handle(delivery)
        except (InvalidMessage, UnknownTopic) as error:
            await dead_letter_message(
                self._publisher, subscription.queue, raw, reasons_of(error), "invalid", self._died_at()
            )
            await self._answer_broker(raw, ack=True)
            return "invalid"
        except (DependencyAway, MessagingError) as error:
            raise error if isinstance(error, DependencyAway) else DependencyAway(str(error)) from error
        except Exception as error:  # noqa: BLE001
            return await self._failed(subscription, raw, key, error)
        self._failures.forget(key)
        for unreadable in delivery.unreadable:
            body, content_type = frames.encode_raw([unreadable.event])
            await dead_letter(
                self._publisher,
                subscription.queue,
                body,
                content_type,
                _origin(raw),
                reasons_of(unreadable.error),
                "invalid",
                died_at=self._died_at(),
            )
        await self._answer_broker(raw, ack=True)
        return "done"

    async def _failed(
        self, subscription: Subscription, raw: AbstractIncomingMessage, key: str, error: Exception
    ) -> str:
        failures = self._failures.count(key)
        queue = subscription.queue
        if failures < MAX_FAILURES:
            _log.warning("handler failed", queue=queue, failures=failures, message_id=raw.message_id, exc_info=error)
            await asyncio.sleep(RETRY_PAUSE_SECONDS * 2 ** (failures - 1))
            await self._answer_broker(raw, ack=False)
            return "retried"
        _log.error("message given up", queue=queue, failures=failures, message_id=raw.message_id, exc_info=error)
        reasons = [{"field": "", "problem": f"failed {failures} times: {type(error).__name__}: {error}"}]
        await dead_letter_message(self._publisher, queue, raw, reasons, "failed", self._died_at())
        self._failures.forget(key)
        await self._answer_broker(raw, ack=True)
        return "given_up"

    def _read(self, subscription: Subscription, raw: AbstractIncomingMessage) -> Delivery:
        """Raises InvalidMessage or UnknownTopic."""
        unreadable: list[frames.Unreadable] = []
        if subscription.queue == topology.QUEUE_LEADS:
            envelopes = [
                frames.decode_inbound(raw.body, raw.content_type, raw.routing_key or "", raw.message_id, self._now())
            ]
        else:
            envelopes, unreadable = frames.decode_each(raw.body, raw.content_type)
            if not envelopes:
                raise unreadable[0].error
        return Delivery(
            envelopes=envelopes,
            queue=subscription.queue,
            exchange=raw.exchange or "",
            routing_key=raw.routing_key or "",
            headers=dict(raw.headers),
            message_id=raw.message_id,
            reply_to=raw.reply_to,
            correlation_id=raw.correlation_id,
            redelivered=bool(raw.redelivered),
            body=raw.body,
            content_type=raw.content_type,
            unreadable=unreadable,
            publisher=self._publisher,
        )

    async def _answer_broker(self, raw: AbstractIncomingMessage, *, ack: bool) -> None:
        """Ack, or give back. On a connection lost meanwhile neither is possible nor needed: the message comes again."""
        try:
            await (raw.ack() if ack else raw.nack(requeue=True))
        except BROKER_ERRORS as error:
            _log.info("answered too late", service=self._name, error=repr(error))

    def _died_at(self) -> datetime:
        return datetime.now(UTC)


async def _whole_message(message: RabbitMessage) -> RabbitMessage:
    """FastStream's decoder: hands the handler the message itself, body as bytes."""
    return message


def _origin(raw: AbstractIncomingMessage) -> dict[str, Any]:
    """Headers of a dead letter that tell where it came from."""
    headers: dict[str, Any] = {k: v for k, v in raw.headers.items() if not k.startswith("x-")}
    headers["x-exchange"] = raw.exchange or ""
    headers["x-routing-key"] = raw.routing_key or ""
    if raw.message_id:
        headers["x-message-id"] = raw.message_id
    return headers


async def dead_letter_message(
    publisher: Publisher,
    queue: str,
    raw: AbstractIncomingMessage,
    reasons: list[dict[str, str]],
    error: str,
    died_at: datetime,
) -> None:
    """A whole message to the dead letters. Raises PublishUnknown or BrokerAway: then it must not be acked."""
    await dead_letter(
        publisher, queue, raw.body, raw.content_type or frames.JSON, _origin(raw), reasons, error, died_at=died_at
    )
