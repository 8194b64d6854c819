"""Group commit: what is pending is decided and saved in one transaction, in arrival order, each on the state the ones
before it left.

The store is synchronous and is written from one thread; while a batch is being committed the next one gathers. Acks
follow the commit: ``submit`` returns once the events stand in the log.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import orjson
import structlog

from services.enrollment.batch_world import BatchWorld, Versions
from services.enrollment.domain.full_slots import FullSlots
from services.enrollment.round import Page, Pending, Round, cursor, prefetch
from services.enrollment.states import States
from services.enrollment.telemetry import BATCH_SIZE, CONFLICTS, EVENTS
from shared.clock import Clock
from shared.ending import ended
from shared.events.envelope import Envelope
from shared.events.query import Answer
from shared.faults import crash_point
from shared.persistence.eventstore import (
    AppendConflict,
    Effects,
    EventStore,
    IdentityTaken,
    InboxDuplicate,
    QuotaExceeded,
    StaleVersion,
    StoreUnavailable,
    SyncFailed,
)

log = structlog.get_logger()

#: Commands in one transaction: above this the wait for the batch costs more than the shared sync saves.
MAX_BATCH = 512
#: Times a batch is decided again after conflicts before its commands go back to their queues.
MAX_ROUNDS = 30
#: With several processes, how long slots count as full before they are looked at again: another may have given back a
#: place.
FULL_SLOTS_SECONDS = 60.0


class Committer:
    """Takes commands from any task of the loop; one writer thread decides and saves them.

    ``on_commit`` (set by who wants it) is called on the loop after every commit that wrote something.
    """

    def __init__(
        self,
        store: EventStore,
        states: States,
        clock: Clock,
        *,
        partitions: int,
        channel_consumed: Callable[[str], bool] = lambda _channel: True,
        max_batch: int = MAX_BATCH,
    ) -> None:
        self._store = store
        self._states = states
        self._clock = clock
        self._partitions = partitions
        self._channel_consumed = channel_consumed
        self.on_commit: Callable[[], None] = lambda: None
        self._max_batch = max_batch
        self._versions = Versions(store)
        self._full_slots = FullSlots()
        self._full_since = 0.0
        self._pending: list[Pending] = []
        self._arrived = asyncio.Event()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._task: asyncio.Task[None] | None = None

    @property
    def versions(self) -> Versions:
        return self._versions

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="committer")

    async def close(self) -> None:
        """Commits what is pending, then stops."""
        if self._task is not None:
            while self._pending:
                self._arrived.set()
                last = self._pending[-1].waiter
                await asyncio.wait([last.done if isinstance(last, Page) else last])
            await ended(self._task)
        self._writer.shutdown()

    def enqueue(self, envelope: Envelope, *, exchange: str | None) -> asyncio.Future[Answer]:
        """The answer to come. Its exceptions: StoreUnavailable (not committed, try again), or what a defect in a
        decision raised."""
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending.append(Pending(envelope, exchange, done))
        self._arrived.set()
        return done

    async def submit_page(self, envelopes: Sequence[Envelope], *, exchange: str | None) -> list[Answer | BaseException]:
        """The same for many that are waited for together, with one wait in all: an answer or an error for each."""
        if not envelopes:
            return []
        page = Page(asyncio.get_running_loop().create_future(), len(envelopes))
        given = [Pending(envelope, exchange, page) for envelope in envelopes]
        self._pending += given
        self._arrived.set()
        await page.done
        return [said for pending in given if (said := pending.error or pending.answer) is not None]

    async def submit(self, envelope: Envelope, *, exchange: str | None) -> Answer:
        """Decides and commits one command; returns after the commit. A refusal is an answer, not an exception."""
        return await self.enqueue(envelope, exchange=exchange)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch, self._pending = self._pending[: self._max_batch], self._pending[self._max_batch :]
            if not self._pending:
                self._arrived.clear()
            if not batch:
                continue
            try:
                wrote = await loop.run_in_executor(self._writer, self._commit, batch)
            except SyncFailed:
                log.critical("sync_failed")  # what was acknowledged stands; what was not will come again
                os._exit(74)  # EX_IOERR: rather stop than guess what the disk holds
            except BaseException as error:
                for pending in batch:
                    pending.error = error if isinstance(error, Exception) else asyncio.CancelledError()
                    pending.tell()
                if not isinstance(error, Exception):
                    raise
                continue
            for pending in batch:
                pending.tell()
            if wrote:
                self.on_commit()

    # --- in the writer thread -------------------------------------------------------------------------------------

    def _commit(self, batch: list[Pending]) -> bool:
        """Settles every command of the batch. True when something was written. Raises StoreUnavailable when nothing
        could be."""
        BATCH_SIZE.observe(len(batch))
        try:
            return self._commit_together(batch)
        except (StoreUnavailable, SyncFailed, MemoryError):
            raise
        except Exception as error:
            if len(batch) == 1:
                log.exception("commit_failed", topic=batch[0].envelope.topic, message_id=batch[0].envelope.id)
                batch[0].error = error
                return False
        # One command of the batch cannot be saved; alone, it harms no other.
        wrote = False
        for pending in batch:
            if not pending.settled:
                wrote = self._commit([pending]) or wrote
        return wrote

    def _commit_together(self, batch: list[Pending]) -> bool:
        for _ in range(MAX_ROUNDS):
            with self._store.reading_together():
                self._name_organizations(batch)
                todo = self._not_yet_answered([pending for pending in batch if not pending.settled])
                if not todo:
                    return False
                decided = self._decide(todo)
            if stale := self._states.refresh(list(decided.silent_reads)):
                CONFLICTS.labels("stale_read").inc()
                self._states.drop(stale)
                continue
            crash_point("committer.before_commit")
            try:
                positions = self._save(decided)
            except AppendConflict as conflict:
                CONFLICTS.labels(type(conflict).__name__).inc()
                self._after_conflict(conflict, decided)
                continue
            crash_point("committer.after_commit")
            self._states.put_all(decided.world.decided)
            decided.settle(positions)
            return bool(positions) or bool(decided.effects) or bool(decided.inbox)
        raise StoreUnavailable("the same batch met conflicts too often")

    def _name_organizations(self, batch: Sequence[Pending]) -> None:
        """A signal from an address token names no organization: its enrollment does."""
        nameless = [pending for pending in batch if pending.envelope.organization_id is None]
        for pending in nameless:
            enrollment_id = getattr(pending.envelope.message, "enrollment_id", None)
            known = self._states.get(enrollment_id) if enrollment_id is not None else None
            if known is not None and known.state is not None:
                pending.belongs_to(known.state.organization_id, known.state.lead_id)

    def _not_yet_answered(self, batch: Sequence[Pending]) -> list[Pending]:
        keys = [pending.key for pending in batch if pending.key is not None]
        answered = self._store.inbox(keys) if keys else {}
        todo = []
        for pending in batch:
            stored = answered.get(pending.key) if pending.key is not None else None
            if stored is None:
                todo.append(pending)
            else:
                kept = orjson.loads(stored.answer)
                answer = Answer.model_validate(kept["answer"])
                position = cursor(stored.position, kept["partition"])
                pending.answer = answer.model_copy(update={"position": position})
        return todo

    def _decide(self, batch: Sequence[Pending]) -> Round:
        leads = prefetch(batch, self._states)
        if self._states.shared and self._clock.monotonic() - self._full_since > FULL_SLOTS_SECONDS:
            self._forget_full_slots()
        world = BatchWorld(
            self._store, self._states, self._versions, self._clock, self._channel_consumed, self._full_slots
        )
        world.prefetch_suppressions((lead.organization_id, "email", lead.email) for lead in leads if lead.email)
        decided = Round(batch, world, self._store, partitions=self._partitions)
        decided.decide()
        return decided

    def _save(self, decided: Round) -> list[int]:
        effects = Effects.folded(decided.effects)
        effects.inbox = decided.inbox
        if not decided.envelopes and effects.is_empty():
            return []
        if self._states.shared:
            effects.read_versions = dict(decided.world.base_versions)
        positions = self._store.append(decided.envelopes, effects)
        EVENTS.inc(len(positions))
        return positions

    def _forget_full_slots(self) -> None:
        self._full_slots.clear()
        self._full_since = self._clock.monotonic()

    def _after_conflict(self, conflict: AppendConflict, decided: Round) -> None:
        self._forget_full_slots()  # some were filled by what was not written
        match conflict:
            case StaleVersion():
                self._states.drop(decided.world.base_versions)
            case InboxDuplicate() | IdentityTaken() | QuotaExceeded():
                self._states.refresh(list(decided.world.base_versions))
