"""Forecasts and backtests as jobs: asked for by the gateway, run by a reader of the log, kept for a week.

In the database ``<prefix>_jobs``: ``jobs`` with a document per job, ``job_targets`` with the ids it is about,
``job_rows`` with what it found lead by lead. A job that runs beats; one whose beat stopped was lost with its reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from shared.persistence.mongo import Database, Document, MongoClient

Kind = Literal["forecast", "backtest"]
State = Literal["queued", "running", "done", "failed", "cancelled"]

KEPT = timedelta(days=7)
#: A job without a beat for so long is lost. Machine time.
LOST_AFTER = timedelta(seconds=60)
TARGETS_PER_DOCUMENT = 10_000
OPEN: tuple[State, ...] = ("queued", "running")


class TrialJobs:
    """All times are machine time, given by the caller."""

    def __init__(self, mongo: MongoClient, prefix: str) -> None:
        self._database: Database = mongo.database(f"{prefix}_jobs")
        self._jobs = self._database.collection("jobs")
        self._targets = self._database.collection("job_targets")
        self._rows = self._database.collection("job_rows")

    async def prepare(self) -> None:
        """Indexes. Safe to repeat."""
        for collection in (self._jobs, self._targets, self._rows):
            await collection.create_index("made_at", expireAfterSeconds=int(KEPT.total_seconds()))
        await self._targets.create_index([("job_id", 1), ("_id", 1)])
        await self._rows.create_index([("job_id", 1), ("number", 1)])

    async def add(
        self, job_id: str, organization_id: str, kind: Kind, asked: Document, targets: Sequence[str], now: datetime
    ) -> None:
        """A new job, queued. ``asked`` is shown with it."""
        for number in range(0, len(targets), TARGETS_PER_DOCUMENT):
            await self._targets.insert_one(
                {
                    "_id": f"{job_id}-{number:08d}",
                    "job_id": job_id,
                    "ids": list(targets[number : number + TARGETS_PER_DOCUMENT]),
                    "made_at": now,
                }
            )
        await self._jobs.insert_one(
            {
                "_id": job_id,
                "organization_id": organization_id,
                "kind": kind,
                "state": "queued",
                "asked": asked,
                "done": 0,
                "total": 0,
                "made_at": now,
                "beat_at": now,
                "result": None,
                "problem": None,
            }
        )

    async def targets(self, job_id: str) -> list[str]:
        """The ids it is about."""
        found = await self._targets.find({"job_id": job_id}, sort=[("_id", 1)]).to_list()
        return [each for document in found for each in document["ids"]]

    async def beat(self, job_id: str, state: State, done: int, total: int, now: datetime) -> bool:
        """It is alive. False when it is not wanted any more."""
        changes = {"state": state, "done": done, "total": total, "beat_at": now}
        found = await self._jobs.update_one({"_id": job_id, "state": {"$in": list(OPEN)}}, {"$set": changes})
        return found.matched_count == 1

    async def keep_rows(self, job_id: str, first: int, rows: Sequence[Document], now: datetime) -> None:
        """What was found for leads, numbered on from ``first``."""
        if rows:
            await self._rows.insert_many(
                [
                    {"_id": f"{job_id}-{number:08d}", "job_id": job_id, "number": number, "row": row, "made_at": now}
                    for number, row in enumerate(rows, first)
                ]
            )

    async def end(
        self, job_id: str, state: Literal["done", "failed"], now: datetime, *, result: Any = None, problem: Any = None
    ) -> None:
        """It is over; one that was cancelled meanwhile stays so."""
        changes = {"state": state, "result": result, "problem": problem, "beat_at": now, "ended_at": now}
        await self._jobs.update_one({"_id": job_id, "state": {"$in": list(OPEN)}}, {"$set": changes})

    async def cancel(self, job_id: str, organization_id: str, now: datetime) -> bool:
        """Nobody wants it any more. False when there is none; one that is over stays as it is."""
        wanted = {"_id": job_id, "organization_id": organization_id}
        changes = {"state": "cancelled", "ended_at": now}
        await self._jobs.update_one({**wanted, "state": {"$in": list(OPEN)}}, {"$set": changes})
        return await self._jobs.find_one(wanted, {"_id": 1}) is not None

    async def get(self, job_id: str, organization_id: str, now: datetime) -> Document | None:
        """A job as it stands; None when the organization has none with this id. A lost one reads failed."""
        found = await self._jobs.find_one({"_id": job_id, "organization_id": organization_id})
        if found is not None and found["state"] in OPEN and now - found["beat_at"] > LOST_AFTER:
            found["state"], found["problem"] = "failed", "interrupted: ask again"
        return found

    async def rows(self, job_id: str, after: int, limit: int) -> list[Document]:
        """Rows with a number above ``after``, in order. The caller has looked whose job it is."""
        wanted = {"job_id": job_id, "number": {"$gt": after}}
        return await self._rows.find(wanted, sort=[("number", 1)], limit=limit).to_list()
