"""Builds the tracker from one settings object."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import uvicorn

from services.tracker import telemetry
from services.tracker.inbound import InboundHandler, session
from services.tracker.machine import warm_up
from services.tracker.outbox import Outbox
from services.tracker.spool import Spool
from services.tracker.web import Door
from shared.clock import Clock
from shared.messaging.publisher import Publisher
from shared.settings import Settings
from shared.tokens import Tokens

SPOOL_FOLDER = "spool"
#: Requests that run are given this long at the end.
GRACE_SECONDS = 5
BACKLOG = 1_024


class _Server(uvicorn.Server):
    """Leaves signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class TrackerService:
    """The parts of one process, started and closed in order. It is ready without the broker: then it spools."""

    settings: Settings
    publisher: Publisher
    spool: Spool
    outbox: Outbox
    door: Door
    handler: InboundHandler
    listening: dict[str, bool] = field(default_factory=lambda: {"http": False, "smtp": False})
    _http: _Server | None = None
    _serving: asyncio.Task[None] | None = None
    _smtp: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens on both doors. Raises OSError when a port is taken."""
        await self.publisher.start(wait=False)
        await self.outbox.start()
        await self.door.start()
        await self._start_http()
        loop = asyncio.get_running_loop()
        self._smtp = await loop.create_server(
            lambda: session(self.handler, self.settings.inbound_domain),
            self.settings.host,
            self.settings.inbound_smtp_port,
        )
        self.listening["smtp"] = True

    async def close(self) -> None:
        """Closes the doors, then sees what came in off to the broker or the disk."""
        if self._smtp is not None:
            self._smtp.close()
            self.listening["smtp"] = False
        if self._http is not None and self._serving is not None:
            self._http.should_exit = True
            await self._serving
            self.listening["http"] = False
        await self.door.close()
        await self.outbox.close()
        await self.publisher.close()
        await asyncio.to_thread(self.spool.close)

    def readiness(self) -> dict[str, bool]:
        """Each door, and the disk. The broker is not among them."""
        return {**self.listening, "spool": not self.outbox.broken.is_set()}

    async def _start_http(self) -> None:
        config = uvicorn.Config(
            self.door,
            host=self.settings.host,
            port=self.settings.tracker_port,
            loop="none",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._http = _Server(config)
        self._serving = asyncio.create_task(self._http.serve(sockets=[config.bind_socket()]), name="tracker http")
        while not self._http.started:
            if self._serving.done():
                await self._serving
                raise OSError("the web server ended at its start")
            await asyncio.sleep(0.005)
        self.listening["http"] = True


async def build(settings: Settings, clock: Clock, *, publisher: Publisher | None = None) -> TrackerService:
    """Makes the parts and takes a spool folder; connects nothing. Raises SpoolFull, and SettingsError for what is
    missing.
    """
    await asyncio.to_thread(warm_up)
    tokens = Tokens(settings.secret_key_list)
    publisher = publisher or Publisher(settings.require_amqp_url(), name="tracker", partitions=settings.partitions)
    spool = await asyncio.to_thread(Spool, settings.home / SPOOL_FOLDER)
    outbox = Outbox(publisher, spool)
    telemetry.BROKER_UP.set_function(lambda: publisher.is_up)

    def ready() -> dict[str, bool]:
        return service.readiness()

    door = Door(tokens, outbox, now=clock.now, monotonic=clock.monotonic, readiness=ready)
    handler = InboundHandler(tokens, outbox, settings.inbound_domain, clock.now)
    service = TrackerService(settings, publisher, spool, outbox, door, handler)
    return service
