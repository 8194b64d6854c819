"""Queues of the broker: how many messages wait and who consumes."""

from __future__ import annotations

import asyncio
from typing import Any

import aio_pika
from aio_pika.exceptions import ChannelClosed

from shared.messaging import topology
from shared.messaging.connection import BROKER_ERRORS, broker_url, close_quietly
from shared.messaging.errors import BrokerAway

LOOK_SECONDS = 5.0


class Queues:
    """Looks on a connection of its own each time: an operator's page, not a hot path."""

    def __init__(self, url: str, partitions: int) -> None:
        self._url = broker_url(url, name="gateway queues")
        self._names = [spec.name for spec in topology.queues(("sms", "whatsapp", "webhook"), partitions)]

    async def look(self) -> list[dict[str, Any]]:
        """``[{"name", "messages", "consumers"}]`` of those that exist; messages ready to be taken. Raises
        BrokerAway."""
        connection = None
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                connection = await aio_pika.connect(self._url)
                return await self._counts(connection)
        except BROKER_ERRORS as error:
            raise BrokerAway("RabbitMQ is not there") from error
        finally:
            await close_quietly(connection)

    async def _counts(self, connection: aio_pika.abc.AbstractConnection) -> list[dict[str, Any]]:
        counts = []
        channel = await connection.channel()
        for name in self._names:
            try:
                queue = await channel.declare_queue(name, passive=True)
            except ChannelClosed:  # there is none, which closes the channel
                channel = await connection.channel()
                continue
            seen = queue.declaration_result
            counts.append({"name": name, "messages": seen.message_count or 0, "consumers": seen.consumer_count or 0})
        return counts
