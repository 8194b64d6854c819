"""Which channels have a dispatcher: a step's silence counts against it only while somebody takes from its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelClosed

from shared.ending import ended
from shared.messaging.connection import BROKER_ERRORS, Link
from shared.messaging.topology import dispatch_queue

log = structlog.get_logger()

POLL_SECONDS = 5.0


class ChannelWatch:
    """Asks the broker for the consumers of each channel's queue. Before the first answer, and while the broker is
    away, nobody consumes."""

    def __init__(self, amqp_url: str, channels: Sequence[str]) -> None:
        self._channels = channels
        self._consumed: frozenset[str] = frozenset()
        self._connection: AbstractConnection | None = None
        self._link = Link(amqp_url, name="enrollment watch", opened=self._opened, lost=self._lost)
        self._task: asyncio.Task[None] | None = None

    def consumed(self, channel: str) -> bool:
        """Had the channel's queue a consumer at the last look?"""
        return channel in self._consumed

    async def start(self) -> None:
        await self._link.start(wait=False)
        self._task = asyncio.create_task(self._poll(), name="channel watch")

    async def close(self) -> None:
        await ended(self._task)
        await self._link.close()

    async def _opened(self, connection: AbstractConnection) -> Sequence[asyncio.Future[object]]:
        self._connection = connection
        return []

    def _lost(self) -> None:
        self._connection = None
        self._consumed = frozenset()

    async def _poll(self) -> None:
        while True:
            connection = self._connection
            if connection is not None:
                try:
                    found = [channel for channel in self._channels if await self._has_consumer(connection, channel)]
                    self._consumed = frozenset(found)
                except BROKER_ERRORS as error:
                    log.debug("channel_watch_failed", error=repr(error))
                    self._consumed = frozenset()
            await asyncio.sleep(POLL_SECONDS)

    @staticmethod
    async def _has_consumer(connection: AbstractConnection, channel: str) -> bool:
        asking = await connection.channel(publisher_confirms=False)
        try:
            queue = await asking.declare_queue(dispatch_queue(channel), passive=True)
        except ChannelClosed:
            return False
        await asking.close()
        return bool(queue.declaration_result.consumer_count)
