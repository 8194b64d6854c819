"""A projector in this process, between a log in memory and real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.projector.views import ALL_VIEWS, View
from services.projector.wiring import ProjectorService, build
from shared.clock import SystemClock
from shared.messaging.push import Push
from shared.persistence.mongo import connect
from shared.persistence.views import CHECKPOINTS, VIEW_NAMES, ViewReader
from shared.settings import Settings, load_settings
from tests.projector.log import Log, LogPages, Relay, publish_sequence
from tests.support.waiting import eventually


class Pushes:
    """Keeps what was pushed."""

    def __init__(self) -> None:
        self.sent: list[Push] = []

    async def send(self, pushes: Sequence[Push]) -> None:
        """As a sender does."""
        self.sent += pushes


class Bench:
    """Everything a test of the running projector needs."""

    def __init__(self, settings: Settings, relay: Relay) -> None:
        self.settings = settings
        self.relay = relay
        self.log = relay.log
        self.pages = LogPages(self.log)
        self.pushes = Pushes()
        self.mongo = connect(settings.require_mongo_url())
        self.reader = ViewReader(self.mongo, settings.database_prefix)

    @asynccontextmanager
    async def projector(self, views: Sequence[View] = ALL_VIEWS, **changed: Any) -> AsyncIterator[ProjectorService]:
        """A running projector."""
        options: dict[str, Any] = {
            "pages": self.pages,
            "sender": self.pushes,
            "gather_seconds": 0.01,
            "lease_seconds": (2.0, 0.3),
            **changed,
        }
        service = await build(self.settings, SystemClock(), views=views, **options)
        await service.start()
        try:
            yield service
        finally:
            await service.close()

    async def caught_up(self, views: Sequence[str] = VIEW_NAMES, timeout_seconds: float = 20.0) -> None:
        """Every view has all of the log."""
        last = {int(event["partition"]): event["position"] for event in self.log.events}

        async def reached() -> bool:
            for view in views:
                positions = await self.reader.positions(view)
                if any(positions[partition] < position for partition, position in last.items()):
                    return False
            return True

        await eventually(reached, timeout_seconds, "views have not caught up")

    async def documents(self, view: str) -> dict[Any, dict[str, Any]]:
        """All live documents of a view, by id."""
        collection = await self.reader.collection(view)
        return {document["_id"]: document for document in await collection.find().to_list()}

    async def job(self, kind: Any, view: str) -> dict[str, Any]:
        """A job, run to its end."""
        return await self.finished(await self.reader.request_job(kind, view))

    async def finished(self, job_id: str) -> dict[str, Any]:
        """A job at its end."""

        async def over() -> dict[str, Any] | None:
            job = await self.reader.job(job_id)
            return job if job is not None and job["state"] in {"done", "failed"} else None

        done: dict[str, Any] | None = await eventually(over, 60.0, "the job does not end")
        assert done is not None
        return done

    async def checkpoints(self) -> list[dict[str, Any]]:
        """All checkpoint documents, in partition order."""
        return await self.reader.database.collection(CHECKPOINTS).find(sort=[("_id", 1)]).to_list()


@pytest.fixture
async def bench(amqp_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """A log with one published sequence, not yet relayed."""
    settings = load_settings({}, amqp_url=amqp_url, mongo_url=mongo_url, home=tmp_path)
    log = Log()
    publish_sequence(log)
    relay = Relay(log)
    await relay.connect(amqp_url)
    bench = Bench(settings, relay)
    yield bench
    await relay.close()
    await bench.mongo.close()
