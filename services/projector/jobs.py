"""Rebuilds and verifications: looked after by whoever owns partition 00, built by every partition's owner.

Every step is repeatable: a process may die anywhere, and the next owner of partition 00 goes on from the job, the
registry and the checkpoints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from services.projector.comparing import compare
from services.projector.generations import Generations
from services.projector.targets import Target
from shared.clock import Clock
from shared.ending import ended
from shared.faults import crash_point
from shared.persistence.mongo import Database, MongoClient
from shared.persistence.views import JOBS

log = structlog.get_logger()

#: Differences must still be there after this long, machine time.
CONFIRM_SECONDS = 2.0


class Jobs:
    """One look at all jobs is ``tend``; call it about once a second while ``in_charge``."""

    def __init__(
        self,
        mongo: MongoClient,
        database: Database,
        generations: Generations,
        clock: Clock,
        in_charge: Callable[[], bool],
    ) -> None:
        self._mongo = mongo
        self._database = database
        self._generations = generations
        self._clock = clock
        self._in_charge = in_charge
        self._jobs = database.collection(JOBS)
        self._comparing: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Give up comparisons; they begin again elsewhere."""
        await ended(*self._comparing.values())
        self._comparing.clear()

    async def tend(self) -> None:
        """Begin what is queued, move on what runs, clear away what is over."""
        if not self._in_charge():
            return
        for job in await self._jobs.find({"state": "queued"}, sort=[("_id", 1)]).to_list():
            await self._begin(job)
        await self._generations.refresh()
        builds = self._generations.builds()
        for target, entry in builds:
            await self._advance(target, entry)
        begun = {entry["job_id"] for _, entry in builds}
        for job in await self._jobs.find({"state": "running", "_id": {"$nin": sorted(begun)}}).to_list():
            await self._close_up(job)
        await self._generations.drop_retired(self._clock.wall())
        self._comparing = {job_id: task for job_id, task in self._comparing.items() if not task.done()}

    async def _begin(self, job: dict[str, Any]) -> None:
        view = self._generations.find(job["view"])
        if view is None:
            await self._end(job["_id"], "failed", error=f"there is no view {job['view']!r}")
            return
        await self._generations.begin(view, job["_id"], job["kind"])
        crash_point("projector.job_begun")
        await self._jobs.update_one(
            {"_id": job["_id"], "state": "queued"}, {"$set": {"state": "running", "started_at": self._clock.wall()}}
        )

    async def _advance(self, target: Target, entry: dict[str, Any]) -> None:
        job_id = entry["job_id"]
        job = await self._jobs.find_one({"_id": job_id})
        if job is None or job["state"] in {"done", "failed"} or entry["version"] != target.view.version:
            # Over, or begun by another version of this program that nobody runs any more.
            await self._generations.discard(target, self._clock.wall())
            if job is not None and job["state"] not in {"done", "failed"}:
                await self._end(
                    job_id, "failed", error=f"version {entry['version']} of the view is not wanted any more"
                )
            return
        progress, joined, broken = await self._generations.progress(target)
        if broken is not None:
            await self._end(job_id, "failed", error=f"at position {broken['position']}: {broken['error']}")
            await self._generations.discard(target, self._clock.wall())
        elif joined and entry["kind"] == "rebuild":
            await self._generations.switch(target, job_id, self._clock.wall())
            await self._end(job_id, "done", result={"generation": target.generation})
            log.info("view_switched", view=target.key)
        elif joined:
            if job_id not in self._comparing and await self._settled(target):
                self._comparing[job_id] = asyncio.create_task(
                    self._compare(target, job_id), name=f"compare {target.key}"
                )
        else:
            # Joining is the last hundredth, so that a watcher does not see 1 before the end.
            await self._jobs.update_one({"_id": job_id}, {"$set": {"progress": round(min(progress, 0.99), 4)}})

    async def _close_up(self, job: dict[str, Any]) -> None:
        """A job whose generation is not being built any more: whoever ended it died before noting that."""
        view = self._generations.find(job["view"])
        if view is not None and self._generations.has_switched(view, job["_id"]):
            await self._end(job["_id"], "done")
        else:
            await self._end(job["_id"], "failed", error="its generation is gone; ask again")

    async def _settled(self, fresh: Target) -> bool:
        """Whether the live generation is where the feed is, or will never be."""
        _, joined, broken = await self._generations.progress(self._live_of(fresh))
        return joined or broken is not None

    def _live_of(self, fresh: Target) -> Target:
        return next(target for target in self._generations.live if target.view is fresh.view)

    async def _compare(self, fresh: Target, job_id: str) -> None:
        live = self._live_of(fresh)

        async def still() -> bool:
            return self._in_charge()

        try:
            result = await compare(self._mongo, self._database, live, fresh, still)
            if result["differences"]:
                # An owner that had just taken a partition over may not have known of the new generation for a second.
                await asyncio.sleep(CONFIRM_SECONDS)
                result = await compare(self._mongo, self._database, live, fresh, still)
            if not self._in_charge():
                return
            await self._end(job_id, "done", result=result)
            await self._generations.discard(fresh, self._clock.wall())
            log.info("view_verified", view=live.key, differences=result["differences"], documents=result["documents"])
        except Exception as error:  # noqa: BLE001 - the job is tended again in a second
            log.warning("comparison_begins_again", view=live.key, error=repr(error))

    async def _end(
        self, job_id: str, state: str, *, error: str | None = None, result: dict[str, Any] | None = None
    ) -> None:
        changed = {
            "state": state,
            "error": error,
            "result": result,
            "progress": 1.0 if state == "done" else 0.0,
            "ended_at": self._clock.wall(),
        }
        await self._jobs.update_one({"_id": job_id, "state": {"$in": ["queued", "running"]}}, {"$set": changed})
