"""The clerk: the one process per store that runs scheduler, relay and errands (bulks, stops of companies, wakes).
Others stand by until its lock is free."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from services.enrollment.errand import Errand
from services.enrollment.relay import Relay
from services.enrollment.scheduler import Scheduler
from services.enrollment.telemetry import CLERK_ACTIVE
from shared.ending import ended
from shared.persistence.eventstore import ClerkLock, EventStore, StoreUnavailable

log = structlog.get_logger()

#: How often a stand-by asks for the lock, and the holder checks that it still has it.
POLL_SECONDS = 2.0
#: How often answered messages and past quota slots are cleared away, machine time.
PRUNE_SECONDS = 3_600.0


class Clerk:
    """Holds the store's clerk lock while scheduler, relay and errands run; lets all go the moment it is lost."""

    def __init__(self, store: EventStore, scheduler: Scheduler, relay: Relay, errands: Sequence[Errand]) -> None:
        self._store = store
        self._scheduler = scheduler
        self._relay = relay
        self._errands = errands
        self._task: asyncio.Task[None] | None = None
        self.active = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="clerk")

    async def close(self) -> None:
        await ended(self._task)

    async def _run(self) -> None:
        while True:
            lock = self._store.clerk_lock()
            try:
                acquired = await asyncio.to_thread(lock.acquire)
            except StoreUnavailable as error:
                log.warning("clerk_waits", error=str(error))
                acquired = False
            if not acquired:
                await asyncio.sleep(POLL_SECONDS)
                continue
            try:
                await self._serve(lock)
            finally:
                self.active = False
                CLERK_ACTIVE.set(0)
                await asyncio.to_thread(lock.release)

    async def _serve(self, lock: ClerkLock) -> None:
        log.info("clerk_active")
        self.active = True
        CLERK_ACTIVE.set(1)
        works = [
            asyncio.create_task(self._scheduler.run(), name="scheduler"),
            asyncio.create_task(self._relay.run(), name="relay"),
            *(asyncio.create_task(each.run(), name=each.NAME) for each in self._errands),
            asyncio.create_task(self._prune(), name="prune"),
        ]
        try:
            while await asyncio.to_thread(lock.held):
                done, _ = await asyncio.wait(works, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                for work in done:
                    work.result()
        finally:
            await ended(*works, again_seconds=1.0)  # sooner than this task is told again
        log.warning("clerk_lock_lost")

    async def _prune(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                await asyncio.to_thread(self._store.prune)
            await asyncio.sleep(PRUNE_SECONDS)
