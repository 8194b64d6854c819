"""Pushing to browsers: python-socketio over RabbitMQ, rooms, and one AMQP message for many rooms.

A service that only pushes uses ``PushSender``; the Socket.IO server has a ``PushServer`` as its client manager. A
push is a hint: it may be lost, and
clients fetch again by cursor.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import UUID

import aio_pika
import orjson
from socketio import AsyncAioPikaManager, AsyncManager

from shared.messaging.connection import broker_url

NAMESPACE = "/live"
#: The exchange between senders and servers.
EXCHANGE = "tendril.push"
_FRAME = "frame"

#: Event, data, room (None: everybody).
Push = tuple[str, Any, str | None]


def organization_room(organization_id: str) -> str:
    """Everything of an organization."""
    return f"org:{organization_id}"


def activity_room(organization_id: str) -> str:
    """The feed of an organization: it names leads."""
    return f"org:{organization_id}:activity"


def sequence_room(organization_id: str, sequence_id: UUID | str) -> str:
    """One sequence."""
    return f"org:{organization_id}:sequence:{sequence_id}"


def enrollment_room(organization_id: str, enrollment_id: UUID | str) -> str:
    """One enrollment."""
    return f"org:{organization_id}:enrollment:{enrollment_id}"


def lead_room(organization_id: str, lead_id: UUID | str) -> str:
    """One lead."""
    return f"org:{organization_id}:lead:{lead_id}"


def tasks_room(organization_id: str) -> str:
    """An organization's tasks."""
    return f"org:{organization_id}:tasks"


def operations_room(organization_id: str) -> str:
    """Views, queues, dead letters."""
    return f"org:{organization_id}:operations"


class _Json:
    """orjson in the place of the standard library's module."""

    @staticmethod
    def dumps(value: Any) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: bytes | str) -> Any:
        return orjson.loads(text)


class _Manager(AsyncAioPikaManager):  # type: ignore[misc]  # python-socketio ships no types
    """The manager with a queue that every RabbitMQ takes: exclusive, since transient queues of other kinds are
    refused from 4.3 on.
    """

    def __init__(self, url: str, *, write_only: bool) -> None:
        super().__init__(broker_url(url, name="push"), channel=EXCHANGE, write_only=write_only, json=_Json)

    async def _queue(self, channel: Any, exchange: Any) -> Any:
        queue = await channel.declare_queue(durable=False, exclusive=True, auto_delete=True)
        await queue.bind(exchange)
        return queue


class PushSender:
    """Sends only. Connects at the first push."""

    def __init__(self, url: str) -> None:
        self._manager = _Manager(url, write_only=True)

    async def send(self, pushes: Sequence[Push]) -> None:
        """Send to rooms of all servers, as one AMQP message. Raises what aio-pika raises when the broker is away and
        was never there.
        """
        items = [[event, data, room] for event, data, room in pushes]
        await self._manager._publish({"method": _FRAME, "items": items, "host_id": self._manager.host_id})

    async def close(self) -> None:
        """Let the connection go."""
        connection: aio_pika.abc.AbstractConnection | None = self._manager.publisher_connection
        if connection is not None:
            await connection.close()


class PushServer(_Manager):
    """The Socket.IO server's client manager. ``missed`` is called when the listener is back after a break: pushes may
    be lost, so clients should fetch again.
    """

    def __init__(self, url: str, *, missed: Callable[[], None] | None = None) -> None:
        super().__init__(url, write_only=False)
        self._missed = missed
        self._listened = False

    async def _queue(self, channel: Any, exchange: Any) -> Any:
        queue = await super()._queue(channel, exchange)
        if self._listened and self._missed is not None:
            self._missed()
        self._listened = True
        return queue

    async def _listen(self) -> AsyncIterator[bytes]:
        async for body in super()._listen():
            message = orjson.loads(body)
            if message.get("method") != _FRAME:
                yield body
                continue
            for event, data, room in message["items"]:
                await self._emit_here(event, data, room)

    async def _emit_here(self, event: str, data: Any, room: str | None) -> None:
        """To this server's own clients; rooms without any cost a look."""
        if room in self.rooms.get(NAMESPACE, {}):
            await AsyncManager.emit(self, event, data, namespace=NAMESPACE, room=room)
