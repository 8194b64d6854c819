"""Connections to RabbitMQ: heartbeats, names, and a link that comes back by itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection, AbstractRobustConnection
from aio_pika.exceptions import AMQPError
from yarl import URL

from shared.ending import ended
from shared.messaging.errors import MessagingError

#: A half-open connection is noticed after about three of these.
HEARTBEAT_SECONDS = 10
CONNECT_TIMEOUT_SECONDS = 10.0
#: The first pause before connecting again; it doubles up to the longest. A refused connection costs little, and what is
#: back is not to be noticed late.
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0
#: What a connection that no longer answers may take to close.
CLOSE_TIMEOUT_SECONDS = 3.0

#: Everything that a lost or missing broker raises.
BROKER_ERRORS = (AMQPError, OSError, asyncio.TimeoutError, RuntimeError, MessagingError)

_log = structlog.get_logger(__name__)


def pauses() -> Iterator[float]:
    """Seconds before each further try to reach what is away, without end; jittered down to half."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def broker_url(url: str, *, name: str) -> str:
    """The URL with heartbeat, reconnect interval and connection name; what it says itself stays."""
    parsed = URL(url)
    wanted = {"heartbeat": str(HEARTBEAT_SECONDS), "reconnect_interval": "1", "name": name}
    return str(parsed.update_query({**wanted, **dict(parsed.query)}))


async def connect(url: str, *, name: str) -> AbstractRobustConnection:
    """A connection that restores its channels, queues and consumers by itself. Raises AMQPConnectionError when the
    broker is away."""
    return await aio_pika.connect_robust(broker_url(url, name=name), timeout=CONNECT_TIMEOUT_SECONDS)


class Link:
    """One plain connection that is made again whenever it, or a channel on it, is lost.

    ``opened`` is called with every new connection, sets up what its owner needs, and returns the futures that mean
    "lost"
    (closing of channels). ``lost`` is called, without awaiting, once that happens. Errors in ``opened`` count as a
    failed attempt.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        opened: Callable[[AbstractConnection], Awaitable[Sequence[asyncio.Future[object]]]],
        lost: Callable[[], None],
    ) -> None:
        self._url = broker_url(url, name=name)
        self._name = name
        self._opened = opened
        self._lost = lost
        self._up = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def start(self, *, wait: bool = True) -> None:
        """Begins to connect; with ``wait`` returns only once it stands, however long that takes."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name=f"link {self._name}")
        if wait:
            await self._up.wait()

    async def wait_up(self) -> None:
        """Returns once the link stands."""
        await self._up.wait()

    async def close(self) -> None:
        """Closes for good. Never hangs, whatever the broker does."""
        self._closing = True
        task, self._task = self._task, None
        await ended(task)

    async def _keep(self) -> None:
        waits = pauses()
        while not self._closing:
            connection: AbstractConnection | None = None
            try:
                connection = await aio_pika.connect(self._url, timeout=CONNECT_TIMEOUT_SECONDS)
                async with asyncio.timeout(3 * CONNECT_TIMEOUT_SECONDS):
                    endings = [*await self._opened(connection), _closing_of(connection)]
                waits = pauses()
                self._up.set()
                await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
                _log.warning("broker connection lost", connection=self._name)
            except BROKER_ERRORS as error:
                _log.warning("broker is away", connection=self._name, error=repr(error))
            finally:
                self._up.clear()
                self._lost()
                await close_quietly(connection)
            await asyncio.sleep(next(waits))


def _closing_of(connection: AbstractConnection) -> asyncio.Future[object]:
    """Done when the transport below is closed, for whatever reason."""
    transport = connection.transport
    if transport is None:
        raise AMQPError("the connection has no transport")
    closing: asyncio.Future[object] = transport.connection.closing
    return closing


async def close_quietly(connection: AbstractConnection | None) -> None:
    """Closes within ``CLOSE_TIMEOUT_SECONDS``; errors are of no interest any more."""
    if connection is None:
        return
    with suppress(*BROKER_ERRORS, asyncio.CancelledError):
        await asyncio.wait_for(connection.close(), CLOSE_TIMEOUT_SECONDS)
