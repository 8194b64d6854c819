"""Request-reply: an order goes out, its answer comes back to a queue of this process alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import structlog
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from pydantic import ValidationError

from shared.events import Envelope
from shared.events.query import Answer
from shared.messaging.connection import Link
from shared.messaging.errors import BrokerAway, PublishUnknown, RequestTimeout
from shared.messaging.publisher import Publisher
from shared.messaging.topology import routing_key_of

__all__ = ["Requester", "routing_key_of"]

#: The pause before asking again after a publish without a confirm.
AGAIN_SECONDS = 0.2

_log = structlog.get_logger(__name__)


class Requester:
    """Sends orders and queries and waits for their answers: a future per correlation id, any number at a time.

    The reply queue is exclusive to a connection of its own. When that connection is lost, a new queue is made and
    everything still
    waiting is asked again with the same id, so that the inbox gives the same answer.
    """

    def __init__(self, url: str, *, name: str, publisher: Publisher) -> None:
        self._publisher = publisher
        self._name = name
        self._queue: str | None = None
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._lost_queue = asyncio.Event()
        self._link = Link(url, name=f"{name} replies", opened=self._opened, lost=self._lost)

    @property
    def is_up(self) -> bool:
        return self._link.is_up

    async def start(self, *, wait: bool = True) -> None:
        """Connects; with ``wait`` returns only once the reply queue is there."""
        await self._link.start(wait=wait)

    async def close(self) -> None:
        """Closes the connection; whoever still waits gets a RequestTimeout when its time is up."""
        await self._link.close()

    async def request(
        self, exchange: str, routing_key: str, envelope: Envelope, *, timeout_seconds: float = 10.0
    ) -> Answer:
        """Publishes the envelope and returns the answer to it.

        Raises BrokerAway when nothing could be sent within the time, RequestTimeout when no answer came, Unroutable.
        """
        correlation_id = uuid4().hex
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[correlation_id] = answer
        sent = False
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    queue, lost = await self._reply_queue()
                    try:
                        await self._publisher.publish(
                            exchange,
                            routing_key,
                            [envelope],
                            reply_to=queue,
                            correlation_id=correlation_id,
                            timeout_seconds=timeout_seconds,
                        )
                        sent = True
                    except PublishUnknown:
                        sent = True
                        await asyncio.sleep(AGAIN_SECONDS)
                        continue
                    if await self._answered(answer, lost):
                        return answer.result()
        except TimeoutError:
            if not sent:
                raise BrokerAway("RabbitMQ is not there or takes no messages at present") from None
            raise RequestTimeout(routing_key, timeout_seconds) from None
        finally:
            self._waiting.pop(correlation_id, None)

    async def _reply_queue(self) -> tuple[str, asyncio.Event]:
        """The queue to be answered at, and the event that tells of its loss."""
        while self._queue is None:
            await self._link.wait_up()
        return self._queue, self._lost_queue

    async def _answered(self, answer: asyncio.Future[Answer], lost: asyncio.Event) -> bool:
        """True when the answer is there, False when the queue it was to come to is gone."""
        losing = asyncio.ensure_future(lost.wait())
        try:
            await asyncio.wait((answer, losing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            losing.cancel()
        return answer.done()

    async def _opened(self, connection: AbstractConnection) -> Sequence[asyncio.Future[object]]:
        channel = await connection.channel(publisher_confirms=False)
        # A new name each time: the broker may still hold the old queue for a connection it believes alive.
        queue = await channel.declare_queue(f"reply.{self._name}.{uuid4().hex}", exclusive=True, auto_delete=True)
        await queue.consume(self._receive, no_ack=True)
        self._lost_queue = asyncio.Event()
        self._queue = queue.name
        return [(await channel.get_underlay_channel()).closing]

    def _lost(self) -> None:
        self._queue = None
        self._lost_queue.set()

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        waiting = self._waiting.get(message.correlation_id or "")
        if waiting is None or waiting.done():
            return  # nobody waits any more
        try:
            waiting.set_result(Answer.model_validate_json(message.body))
        except ValidationError as error:
            _log.error("unreadable answer", error=str(error))
