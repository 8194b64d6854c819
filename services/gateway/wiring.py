"""Builds the gateway from one settings object."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import socketio
import structlog
import uvicorn

from services.gateway.app import DIST, create_app
from services.gateway.bootstrap import ensure_admin
from services.gateway.commands import Commands
from services.gateway.deadletters import DeadLetters
from services.gateway.directory import Directory
from services.gateway.erasure import Erasure
from services.gateway.idempotency import Idempotency
from services.gateway.imports import Imports
from services.gateway.live import Live
from services.gateway.notifications import Notifications
from services.gateway.parts import Parts
from services.gateway.queues import Queues
from services.gateway.signin import SignIn
from services.gateway.tries import Tries
from shared.clock import Clock
from shared.ending import ended
from shared.messaging.publisher import Publisher
from shared.messaging.requests import Requester
from shared.persistence.figures import Figures
from shared.persistence.files import Files
from shared.persistence.mongo import MongoClient, connect, is_unavailable
from shared.persistence.trial_jobs import TrialJobs
from shared.persistence.views import ViewReader
from shared.settings import Settings
from shared.webhook_signing import secret_of

HOST = "127.0.0.1"
GRACE_SECONDS = 5
RETRY_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """Leaves signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class GatewayService:
    """The parts of one process, started and closed in order. It answers without broker or database, with 503."""

    settings: Settings
    mongo: MongoClient
    publisher: Publisher
    requester: Requester
    live: Live
    parts: Parts
    dist: Path = DIST
    host: str = HOST
    _mongo_there: bool = False
    _prepared: bool = False
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    _server: _Server | None = None
    _serving: asyncio.Task[None] | None = None

    def readiness(self) -> dict[str, bool]:
        """What it depends on, and whether it is there."""
        return {
            "rabbitmq": self.publisher.is_up and self.requester.is_up,
            "mongodb": self._mongo_there and self._prepared,
        }

    async def start(self) -> None:
        """Listens. Raises OSError when the port is taken."""
        await self.publisher.start(wait=False)
        await self.requester.start(wait=False)
        self._tasks.append(asyncio.create_task(self._watch_mongo(), name="watch mongodb"))
        erasure = Erasure(self.parts.database, self.parts.views)
        self._tasks.append(asyncio.create_task(erasure.run(), name="forget erased leads"))
        self.parts.dead_letters.start()
        self.live.start()
        app = socketio.ASGIApp(self.live.server, create_app(self.parts, self.readiness, self.dist))
        config = uvicorn.Config(
            app,
            host=self.host,
            port=self.settings.gateway_port,
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            ws_max_size=64 * 1024,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(), name="gateway http")
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
                raise OSError(f"port {self.settings.gateway_port} cannot be listened on")
            await asyncio.sleep(0.01)
        if self.settings.admin_email and self.settings.admin_password:
            secret = self.settings.admin_password.get_secret_value()
            admin = ensure_admin(self.parts.commands, self.parts.sign_in, self.settings.admin_email, secret)
            self._tasks.append(asyncio.create_task(admin, name="first admin"))

    async def close(self) -> None:
        """Answers what was asked, then ends."""
        await ended(*self._tasks)
        await self.live.close()
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            with suppress(asyncio.TimeoutError, SystemExit):
                await asyncio.wait_for(self._serving, 2 * GRACE_SECONDS)
        await self.parts.imports.close()
        await self.parts.dead_letters.close()
        await self.requester.close()
        await self.publisher.close()
        await self.mongo.close()

    async def _watch_mongo(self) -> None:
        while True:
            try:
                await self.mongo.ping()
                self._mongo_there = True
                if not self._prepared:
                    await self._prepare()
            except Exception as error:  # noqa: BLE001
                if not is_unavailable(error):
                    _log.error("database not prepared", exc_info=error)
                self._mongo_there = False
            await asyncio.sleep(RETRY_SECONDS)

    async def _prepare(self) -> None:
        await self.parts.sign_in.prepare()
        await self.parts.idempotency.prepare()
        await self.parts.dead_letters.prepare()
        await self.parts.form_tries.prepare()
        await self.parts.test_tries.prepare()
        await self.parts.imports.prepare()
        await self.parts.trials.prepare()
        mails = self.parts.database.collection("mailbox")
        await mails.create_index([("organization_id", 1), ("at", -1), ("_id", 1)])
        await mails.create_index([("lead_id", 1), ("at", -1)])
        self._prepared = True


async def build(settings: Settings, clock: Clock, **overrides: Any) -> GatewayService:
    """The service, not yet started. ``overrides`` replace fields of GatewayService (``dist``, ``host``). Raises
    SettingsError."""
    url = settings.require_amqp_url()
    mongo = connect(settings.require_mongo_url(), settings.mongo_driver, server_selection_seconds=2.0)
    prefix = settings.database_prefix
    database = mongo.database(f"{prefix}_gateway")
    views = ViewReader(mongo, prefix)
    directory = Directory(views)
    publisher = Publisher(url, name="gateway", partitions=settings.partitions)
    requester = Requester(url, name="gateway", publisher=publisher)
    sign_in = SignIn(database, directory, clock, settings.secret_key_list)
    parts = Parts(
        clock=clock,
        views=views,
        figures=Figures(views),
        directory=directory,
        sign_in=sign_in,
        idempotency=Idempotency(database, clock),
        commands=Commands(requester, clock),
        dead_letters=DeadLetters(url, database, publisher, clock, directory),
        notifications=Notifications(database, views, clock),
        queues=Queues(url, settings.partitions),
        webhook_secret=partial(secret_of, settings.secret_key_list[0]),
        imports=Imports(database, publisher, clock),
        form_tries=Tries(database, clock, "form_tries"),
        test_tries=Tries(database, clock, "test_tries"),
        trials=TrialJobs(mongo, prefix),
        files=Files(mongo, prefix),
        database=database,
        ledger=mongo.database(f"{prefix}_ledger"),
    )
    live = Live(url, sign_in, directory, views, clock, settings.partitions)
    return GatewayService(settings, mongo, publisher, requester, live, parts, **overrides)
