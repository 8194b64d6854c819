"""The feed: frames of the partitions we own, taken from RabbitMQ and held until their events are committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue

from shared.events.errors import InvalidMessage
from shared.messaging.connection import BROKER_ERRORS, Link
from shared.messaging.frames import raw_events
from shared.messaging.topology import declare, partition_queue

log = structlog.get_logger()

#: Frames of one partition on their way to us or held by us. The relay's frames hold up to 1,000 events, most about 60.
PREFETCH = 32


@dataclass(slots=True)
class Frame:
    """One AMQP message: the events of a partition after ``previous`` up to ``last``."""

    previous: int
    last: int
    events: Sequence[dict[str, Any]]
    message: AbstractIncomingMessage


class Feed:
    """Consumes ``projector.<partition>`` for the partitions opened. A lost connection comes back by itself; what was
    held then comes again.
    """

    def __init__(
        self, url: str, *, name: str, partitions: int, arrived: Callable[[], None], prefetch: int = PREFETCH
    ) -> None:
        self._partitions = partitions
        self._prefetch = prefetch
        self._arrived = arrived
        self._link = Link(url, name=name, opened=self._opened, lost=self._lost)
        self._channel: AbstractChannel | None = None
        self._consumers: dict[int, tuple[AbstractQueue, str]] = {}
        self._wanted: set[int] = set()
        self._changing = asyncio.Lock()
        self.frames: dict[int, list[Frame]] = {}

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._link.is_up

    @property
    def pending_events(self) -> int:
        """Events held and not yet committed."""
        return sum(len(frame.events) for frames in self.frames.values() for frame in frames)

    async def start(self) -> None:
        """Begin to connect."""
        await self._link.start(wait=False)

    async def close(self) -> None:
        """Stop; what is held goes back to its queues."""
        await self._link.close()

    async def open(self, partition: int) -> None:
        """Consume a partition from now on."""
        async with self._changing:
            self._wanted.add(partition)
            if self._channel is not None and partition not in self._consumers:
                try:
                    await self._consume(self._channel, partition)
                except BROKER_ERRORS as error:
                    log.warning("partition_not_consumed", partition=partition, error=repr(error))

    async def shut(self, partition: int) -> None:
        """Consume a partition no more; its frames go back."""
        async with self._changing:
            self._wanted.discard(partition)
            consumer = self._consumers.pop(partition, None)
            held = self.frames.pop(partition, [])
            try:
                if consumer is not None:
                    await consumer[0].cancel(consumer[1])
                for frame in [*held, *self.frames.pop(partition, [])]:
                    await frame.message.nack(requeue=True)
            except BROKER_ERRORS as error:
                log.info("partition_let_go_with_its_channel", partition=partition, error=repr(error))

    async def ack(self, frames: Iterable[Frame]) -> None:
        """Their events are committed. A connection lost meanwhile brings them again, and they are skipped."""
        for frame in frames:
            try:
                await frame.message.ack()
            except BROKER_ERRORS as error:
                log.info("frame_not_acked", error=repr(error))

    async def _opened(self, connection: AbstractConnection) -> Sequence[asyncio.Future[object]]:
        declaring = await connection.channel(publisher_confirms=False)
        await declare(declaring, partitions=self._partitions)
        await declaring.close()
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=self._prefetch)
        async with self._changing:
            self._consumers.clear()
            self.frames.clear()
            for partition in sorted(self._wanted):
                await self._consume(channel, partition)
            self._channel = channel
        underlay = await channel.get_underlay_channel()
        return [underlay.closing]

    def _lost(self) -> None:
        self._channel = None
        self._consumers.clear()
        self.frames.clear()

    async def _consume(self, channel: AbstractChannel, partition: int) -> None:
        queue = await channel.get_queue(partition_queue(partition), ensure=False)

        async def take(message: AbstractIncomingMessage) -> None:
            await self._take(partition, channel, message)

        self._consumers[partition] = (queue, await queue.consume(take))

    async def _take(self, partition: int, channel: AbstractChannel, message: AbstractIncomingMessage) -> None:
        try:
            frame = read_frame(message)
        except InvalidMessage as error:
            # Its events are not lost: the next frame shows the gap, and a reader fills it.
            log.warning("frame_unreadable", partition=partition, error=str(error))
            await message.reject(requeue=False)
            return
        if partition in self._wanted and (self._channel is None or self._channel is channel):
            self.frames.setdefault(partition, []).append(frame)
            self._arrived()


def read_frame(message: AbstractIncomingMessage) -> Frame:
    """A frame from its message. Raises InvalidMessage."""
    events = raw_events(message.body, message.content_type)
    if any(not isinstance(event, Mapping) for event in events):
        raise InvalidMessage([{"field": "", "problem": "must be CloudEvents JSON objects"}])
    previous = message.headers.get("previous_position")
    last = message.headers.get("last_position")
    if not isinstance(previous, int):
        raise InvalidMessage([{"field": "previous_position", "problem": "header must be a whole number"}])
    if not isinstance(last, int):
        last = events[-1].get("position")
    if not isinstance(last, int) or not all(isinstance(event.get("position"), int) for event in events):
        raise InvalidMessage([{"field": "position", "problem": "must be a whole number in every event"}])
    return Frame(previous, last, events, message)


def chain(frames: list[Frame], head: int) -> tuple[list[Frame], list[Frame], list[dict[str, Any]], int]:
    """What can be taken in from ``head`` on: frames done with, frames left, their new events, and the new head.

    Frames may come twice or out of order (after another owner gave them back). Those left start beyond the new head:
    there is a gap.
    """
    done: list[Frame] = []
    left: list[Frame] = []
    events: list[dict[str, Any]] = []
    for frame in sorted(frames, key=lambda frame: (frame.previous, frame.last)):
        if frame.last <= head:
            done.append(frame)
        elif frame.previous <= head:
            events += [event for event in frame.events if head < event["position"] <= frame.last]
            head = frame.last
            done.append(frame)
        else:
            left.append(frame)
    return done, left, events, head
