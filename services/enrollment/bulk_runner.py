"""Carries bulks out: one command per target, in chunks, each with an id made of bulk and target.

A chunk that was interrupted is simply given again: the inbox answers what was decided, so figures stay right. Several
bulks take turns, and only one chunk of each is under way, so that a person's order never waits behind more than that.

A bulk over those inside a sequence first gets its targets named, page by page; a clerk that takes over names those
that are left. Moves to a version wait for moves of the same sequence that were ordered before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

import structlog

from services.enrollment.committer import Committer
from services.enrollment.errand import Errand
from services.enrollment.insiders import insiders
from shared.clock import Clock
from shared.events.bulk import (
    BULK_KINDS,
    PAGE,
    BeginBulk,
    BulkAdvanced,
    BulkBegun,
    BulkOrdered,
    BulkTargetsNamed,
    NameBulkTargets,
    RecordBulkProgress,
    Refusal,
    command_of,
)
from shared.events.enrollment import MigrateEnrollment
from shared.events.envelope import Envelope
from shared.events.message import Command
from shared.events.query import Answer
from shared.faults import crash_point
from shared.ids import derived_id
from shared.persistence.eventstore import EventStore, StoreUnavailable

log = structlog.get_logger()

#: Targets under way at once: half a batch of the committer, so that others' orders find room in the same transaction.
CHUNK = 256
#: The commands' place in the inbox.
EXCHANGE = "bulk"
SOURCE = "tendril/bulk"


@dataclass(slots=True)
class Run:
    """A bulk that is being carried out. ``template`` is the command for nobody; ``at`` the next target's index.

    The commands' actor is the bulk, whose own first event names the person: so a person's deeds stay readable.
    """

    organization_id: str
    bulk_id: UUID
    template: Command
    target_field: str
    targets: list[UUID]
    at: int
    cause: str
    ordered_at: int  #: position
    moves: UUID | None  #: the sequence within which it moves everybody
    gathers: UUID | None  #: the sequence whose enrollments are still to be named
    pages: int

    def command(self, target: UUID, now: datetime) -> Envelope:
        message = self.template.model_copy(update={self.target_field: target})
        return Envelope(
            id=derived_id(EXCHANGE, self.bulk_id, target).hex,
            message=message,
            source=SOURCE,
            time=now,
            organization_id=self.organization_id,
            subject=target,
            lead_id=target if self.target_field == "lead_id" else None,
            causation_id=self.cause,
            actor=f"bulk:{self.bulk_id}",
        )


class BulkRunner(Errand):
    NAME = "bulks"

    def __init__(self, store: EventStore, committer: Committer, clock: Clock) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock
        self._runs: dict[UUID, Run] = {}

    async def turn(self) -> bool:
        """A chunk of each bulk. After a fault of the store it is read anew how far they are."""
        try:
            running = await asyncio.to_thread(self._store.running_bulks)
            self._runs = {bulk_id: self._runs[bulk_id] for _, bulk_id in running if bulk_id in self._runs}
            for organization_id, bulk_id in running:
                if bulk_id not in self._runs:
                    self._runs[bulk_id] = await asyncio.to_thread(self._read, organization_id, bulk_id)
            for run in [run for run in self._runs.values() if not self._waits(run)]:
                await (self._advance(run) if run.gathers is None else self._gather(run, run.gathers))
        except StoreUnavailable:
            self._runs.clear()
            raise
        return bool(running)

    def _waits(self, run: Run) -> bool:
        """Does it move those that another, ordered before, is still to move?"""
        return run.moves is not None and any(
            other.moves == run.moves and other.ordered_at < run.ordered_at for other in self._runs.values()
        )

    async def _gather(self, run: Run, sequence_id: UUID) -> None:
        """Names everybody who was inside when it was ordered and is so still; then it begins.

        A move takes all who began in an earlier version: another process may have decided one on the old version and
        written it after the publishing.
        """
        named = set(run.targets)
        move = run.template if isinstance(run.template, MigrateEnrollment) else None
        bound = {"below": move.version} if move is not None else {"before": run.ordered_at}
        found = await asyncio.to_thread(partial(insiders, self._store, sequence_id, **bound))
        left = [target for target in found if target not in named]
        page = run.pages
        for start in range(0, len(left), PAGE):
            page += 1
            crash_point("bulk.before_page")
            message = NameBulkTargets(bulk_id=run.bulk_id, page=page, targets=left[start : start + PAGE])
            answer = await self._committer.submit(self._own(run, message, f"page-{page}"), exchange=None)
            crash_point("bulk.after_page")
            if not answer.ok:  # it was cancelled meanwhile
                log.warning("bulk_not_gathered", bulk_id=str(run.bulk_id), problem=answer.problem)
                break
        await self._committer.submit(self._own(run, BeginBulk(bulk_id=run.bulk_id, pages=page), "begin"), exchange=None)
        crash_point("bulk.begun")
        del self._runs[run.bulk_id]

    async def _advance(self, run: Run) -> None:
        """One chunk, and the record of it."""
        chunk = run.targets[run.at : run.at + CHUNK]
        crash_point("bulk.before_chunk")
        now = self._clock.now()
        answers = await self._committer.submit_page([run.command(target, now) for target in chunk], exchange=EXCHANGE)
        for answer in answers:
            if isinstance(answer, StoreUnavailable):
                raise answer
        crash_point("bulk.after_chunk")
        end = run.at + len(chunk)
        await self._committer.submit(self._progress(run, chunk, end, answers), exchange=None)
        run.at = end
        crash_point("bulk.after_progress")

    def _progress(
        self, run: Run, chunk: Sequence[UUID], end: int, answers: Sequence[Answer | BaseException]
    ) -> Envelope:
        done = unchanged = 0
        refusals, stays = [], []
        for target, answer in zip(chunk, answers, strict=True):
            if isinstance(answer, BaseException):
                log.error("bulk_target_failed", bulk_id=str(run.bulk_id), target=str(target), error=repr(answer))
                refusals.append(Refusal(target=target, code="failed", detail="the order could not be decided"))
            elif not answer.ok:
                code = answer.problem.code if answer.problem is not None else "refused"
                detail = answer.problem.detail if answer.problem is not None else ""
                refusals.append(Refusal(target=target, code=code, detail=detail))
            elif answer.position is None:
                unchanged += 1
            else:
                done += 1
                if left := answer.result.get("stays"):
                    stays.append(Refusal(target=target, code="stays", detail=left))
        message = RecordBulkProgress(
            bulk_id=run.bulk_id, begin=run.at, end=end, done=done, unchanged=unchanged, refusals=refusals, stays=stays
        )
        return self._own(run, message, str(run.at))

    def _own(self, run: Run, message: Command, name: str) -> Envelope:
        """An order to the bulk itself."""
        return Envelope(
            id=f"bulk-{run.bulk_id.hex}-{name}",
            message=message,
            source=SOURCE,
            time=self._clock.now(),
            organization_id=run.organization_id,
            subject=run.bulk_id,
            causation_id=run.cause,
            actor="system",
        )

    def _read(self, organization_id: str, bulk_id: UUID) -> Run:
        """The bulk and its targets, from the log."""
        first, *rest = self._store.load(bulk_id)
        ordered = first.message
        assert isinstance(ordered, BulkOrdered)
        at = max((each.message.handled for each in rest if isinstance(each.message, BulkAdvanced)), default=0)
        begun = any(isinstance(each.message, BulkBegun) for each in rest)
        named = self._store.load(ordered.source) if ordered.source is not None else rest
        targets = [
            target for each in named if isinstance(each.message, BulkTargetsNamed) for target in each.message.targets
        ]
        return Run(
            organization_id=organization_id,
            bulk_id=bulk_id,
            template=command_of(ordered.kind, ordered.order),
            target_field=BULK_KINDS[ordered.kind].target,
            targets=targets,
            at=at,
            cause=first.id,
            ordered_at=first.position or 0,
            moves=ordered.inside if ordered.kind == "migrate" else None,
            gathers=None if begun else ordered.inside,
            pages=sum(isinstance(each.message, BulkTargetsNamed) for each in rest),
        )
