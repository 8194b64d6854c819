"""The real servers of a test run. Each starts when it is first asked for, and ends with the run.

They live in an event loop of their own in a thread, because every test has a loop of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tendril.embedded.rabbitmq import RabbitServer

T = TypeVar("T")
CALL_SECONDS = 120.0
POOL = 16  # virtual hosts are made in batches: one call takes as long as sixteen


class Server(Protocol):
    """What all private servers do."""

    async def start(self) -> None:
        """Start and wait until it is ready."""

    async def stop(self) -> None:
        """End it."""


class ServerLoop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-servers", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it there and give its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def server_home(name: str) -> Iterator[Path]:
    """A folder that other users may enter (PostgreSQL does not run as root), removed at the end."""
    home = Path(tempfile.mkdtemp(prefix=f"tendril-test-{name}-"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running(loop: ServerLoop, server: Server) -> Iterator[None]:
    """The server runs inside the block."""
    loop.call(server.start())
    try:
        yield
    finally:
        loop.call(server.stop())


class VirtualHosts:
    """A fresh virtual host for each test; used ones are removed with the next batch."""

    def __init__(self, loop: ServerLoop, server: RabbitServer) -> None:
        self._loop = loop
        self._server = server
        self._made = 0
        self._fresh: list[str] = []
        self._used: list[str] = []

    def take(self) -> str:
        """The address of an empty virtual host."""
        if not self._fresh:
            names = [f"test-{number}" for number in range(self._made, self._made + POOL)]
            self._loop.call(self._server.change_vhosts(add=names, delete=self._used))
            self._made += POOL
            self._fresh, self._used = names[::-1], []
        return self._server.vhost_url(self._fresh.pop())

    def give_back(self, url: str) -> None:
        """It is not used any more."""
        self._used.append(url.rpartition("/")[2])
