"""Writes batches: every view's changes and the checkpoints that fence them, in one MongoDB transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from bson.errors import BSONError
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DocumentTooLarge

from services.projector.errors import Fenced, WriteRefused
from services.projector.mongo_writes import Write, writes_of
from services.projector.ops import Ops
from services.projector.sessions import Sessions
from services.projector.targets import Applied, PartitionWork, Target
from services.projector.telemetry import VIEWS_BROKEN
from shared.clock import Clock
from shared.faults import crash_point
from shared.persistence.mongo import Database, MongoClient, Session, is_transient, is_unavailable
from shared.persistence.views import CHECKPOINTS, checkpoint_id

log = structlog.get_logger()

#: What says that the content is at fault, and not the server's state.
_REFUSALS = (BulkWriteError, DocumentTooLarge, BSONError, OverflowError)


class Writer:
    """Applies events to targets and commits. One call at a time."""

    def __init__(self, mongo: MongoClient, database: Database, clock: Clock, sessions: Sessions) -> None:
        self._mongo = mongo
        self._database = database
        self._clock = clock
        self._sessions = sessions

    async def write(self, works: Sequence[PartitionWork]) -> None:
        """Commits the works and moves their checkpoints on, in MongoDB and here.

        A target whose ``apply`` raises, or whose writes MongoDB refuses for good, is marked broken in that partition
        and left out; the others
        go on. Raises Fenced, or what MongoDB raises when it is away: then nothing is known to have happened, and the
        checkpoints must be read again.
        """
        try:
            await self._commit(works)
        except WriteRefused as refused:
            if len(works) > 1:  # find out whose it is, one partition at a time
                for work in works:
                    await self.write([work])
                return
            self._set_aside(works[0], refused.target, refused.why)
            await self.write(works)

    async def _commit(self, works: Sequence[PartitionWork]) -> None:
        applied: dict[str, Applied] = {}
        for work in works:
            self._apply(work, applied)
        bulks = [
            (each.target, self._database.collection(each.target.collection), level)
            for each in applied.values()
            for level in writes_of(each.parts)
        ]
        checkpoints = [self._checkpoint_write(work) for work in works]
        holder = self._database.collection(CHECKPOINTS)

        async def transact(session: Session) -> None:
            await self._sessions.note(session)
            moved = await holder.bulk_write(checkpoints, session=session)
            if moved.matched_count != len(checkpoints):
                raise Fenced(
                    f"{len(checkpoints) - moved.matched_count} of {len(checkpoints)} checkpoints are elsewhere"
                )
            crash_point("projector.after_checkpoint")
            for target, collection, level in bulks:
                await _bulk(target, collection, level, session)
            crash_point("projector.before_commit")

        await self._mongo.run_in_transaction(transact)
        crash_point("projector.after_commit")
        for work in works:
            work.checkpoint.head = work.head
            work.checkpoint.positions.update({item.target.key: item.after for item in work.items})

    def _apply(self, work: PartitionWork, applied: dict[str, Applied]) -> None:
        for item in tuple(work.items):
            view, ops, event = item.target.view, Ops(), None
            handlers = view.handlers
            try:
                for event in item.events:
                    handler = handlers.get(event.topic)
                    if handler is not None:
                        handler(view, event, ops)
            except Exception as error:  # noqa: BLE001 - whatever a view raises is that view's own trouble
                why = f"{type(error).__name__} at {event.topic if event else '?'}: {error}"
                self._set_aside(work, item.target, why, event.position if event else None)
                continue
            if ops:
                applied.setdefault(item.target.key, Applied(item.target)).parts.append(ops)

    def _set_aside(self, work: PartitionWork, target: Target, why: str, position: int | None = None) -> None:
        """The target stays where it was, marked broken; the mark is written with the batch."""
        checkpoint = work.checkpoint
        work.items = [item for item in work.items if item.target != target]
        checkpoint.broken[target.key] = work.set_aside[target.key] = {
            "position": position if position is not None else checkpoint.position(target) + 1,
            "error": why[:2_000],
            "at": self._clock.wall(),
        }
        VIEWS_BROKEN.labels(target.view.name).inc()
        log.error("view_broken", view=target.key, partition=checkpoint.partition, position=position, error=why)

    def _checkpoint_write(self, work: PartitionWork) -> UpdateOne:
        """Moves a partition's checkpoint, if it is where we believe it to be."""
        checkpoint = work.checkpoint
        expected: dict[str, Any] = {
            "_id": checkpoint_id(checkpoint.partition),
            "epoch": checkpoint.epoch,
            "head": checkpoint.head,
        }
        changed: dict[str, Any] = {"head": work.head, "committed_at": self._clock.wall()}
        for item in work.items:
            path = f"positions.{item.target.key}"
            expected[path] = checkpoint.positions.get(item.target.key)  # None also matches a missing one
            changed[path] = item.after
        for key, trouble in work.set_aside.items():
            changed[f"broken.{key}"] = trouble
        if work.events:
            late = self._clock.now() - work.events[-1].at
            changed["lag_seconds"] = self._clock.to_wall_seconds(late)
            changed["reached_at"] = work.events[-1].at
        return UpdateOne(expected, {"$set": changed})


async def _bulk(target: Target, collection: Any, level: list[Write], session: Session) -> None:
    """One unordered bulk. Raises WriteRefused when it is the content that MongoDB refuses."""
    try:
        await collection.bulk_write(level, session=session)
    except _REFUSALS as error:
        if is_transient_or_away(error):
            raise
        raise WriteRefused(target, f"{type(error).__name__}: {_reason(error)}") from error


def is_transient_or_away(error: BaseException) -> bool:
    """Whether the failure is the server's state, not the content."""
    return is_transient(error) or is_unavailable(error)


def _reason(error: BaseException) -> str:
    details = getattr(error, "details", None)
    failures: Iterable[dict[str, Any]] = (details or {}).get("writeErrors", ()) if isinstance(details, dict) else ()
    return "; ".join(str(failure.get("errmsg", ""))[:300] for failure in failures) or str(error)[:1_000]
