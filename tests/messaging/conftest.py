"""A publisher, and consumers that are closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from shared.messaging.connection import close_quietly
from shared.messaging.publisher import Publisher


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is pushed here is closed when the test ends, last first."""
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def publisher(amqp_url: str, stack: AsyncExitStack) -> Publisher:
    made = Publisher(amqp_url, name="test", timeout_seconds=5)
    await made.start()
    stack.push_async_callback(made.close)
    return made


@pytest.fixture
async def peek(amqp_url: str, stack: AsyncExitStack) -> Peek:
    connection = await aio_pika.connect(amqp_url)
    stack.push_async_callback(close_quietly, connection)
    return Peek(await connection.channel())


class Peek:
    """Looks into queues by hand."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel) -> None:
        self._channel = channel

    async def count(self, queue: str) -> int:
        """Ready messages."""
        declared = await self._channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def take(self, queue: str) -> AbstractIncomingMessage | None:
        """The next message, acked; None when there is none."""
        declared = await self._channel.get_queue(queue)
        return await declared.get(no_ack=True, fail=False)

    async def bind(self, exchange: str, key: str) -> str:
        """An own queue on an exchange; its name."""
        queue = await self._channel.declare_queue(exclusive=True)
        await queue.bind(exchange, key)
        return queue.name
