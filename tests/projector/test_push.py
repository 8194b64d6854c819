"""Pushes over a real broker: one message, many rooms, the exclusive queue."""

from __future__ import annotations

import asyncio
from typing import Any

import aio_pika
import pytest
from aio_pika.exceptions import AMQPError

from shared.messaging.push import (
    NAMESPACE,
    PushSender,
    PushServer,
    enrollment_room,
    lead_room,
    operations_room,
    organization_room,
    sequence_room,
    tasks_room,
)
from tests.support.waiting import eventually


class Listening(PushServer):
    """Keeps what arrives in place of sending it to sockets."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.heard: list[tuple[str, Any, str | None]] = []

    async def _emit_here(self, event: str, data: Any, room: str | None) -> None:
        self.heard.append((event, data, room))


async def listen(server: PushServer) -> None:
    """As the Socket.IO server's background task does."""
    async for _ in server._listen():
        pass


async def test_one_message_reaches_the_rooms_of_every_server(amqp_url: str) -> None:
    one, two, sender = Listening(amqp_url), Listening(amqp_url), PushSender(amqp_url)
    tasks = [asyncio.create_task(listen(server)) for server in (one, two)]
    pushes = [("changed", {"view": "leads", "cursor": "01-5"}, "org:demo"), ("resync", {}, None)]

    async def arrived() -> bool:
        await sender.send(pushes)
        return bool(one.heard and two.heard)

    await eventually(arrived, 20.0)
    assert one.heard[:2] == two.heard[:2] == pushes
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await sender.close()
    await eventually(lambda: len(asyncio.all_tasks()) == 1)  # the connections' own tasks have ended


async def test_the_queue_is_exclusive(amqp_url: str) -> None:
    manager = PushServer(amqp_url)
    connection = await aio_pika.connect(amqp_url)
    other = await aio_pika.connect(amqp_url)
    channel = await connection.channel()
    queue = await manager._queue(channel, await manager._exchange(channel))
    with pytest.raises(AMQPError):
        await (await other.channel()).declare_queue(queue.name, passive=True)
    await connection.close()
    await other.close()


async def test_a_listener_that_comes_back_says_so(amqp_url: str) -> None:
    missed: list[bool] = []
    manager = PushServer(amqp_url, missed=lambda: missed.append(True))
    for expected in (0, 1, 2):
        connection = await aio_pika.connect(amqp_url)
        channel = await connection.channel()
        await manager._queue(channel, await manager._exchange(channel))
        await connection.close()
        assert len(missed) == expected


def test_rooms_belong_to_an_organization() -> None:
    assert NAMESPACE == "/live"
    assert organization_room("o") == "org:o"
    rooms = {
        sequence_room("o", "1"),
        enrollment_room("o", "1"),
        lead_room("o", "1"),
        tasks_room("o"),
        operations_room("o"),
    }
    assert len(rooms) == 5
    assert all(room.startswith("org:o:") for room in rooms)
