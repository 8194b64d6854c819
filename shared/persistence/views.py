"""Reading the views: which collection is live, how far each has come, and what the operator asked of them.

The projector writes what is read here. In the database ``<prefix>_views``: a collection ``<view>.g<generation>`` per
generation;
``generations`` says per view which one is live; ``checkpoints`` holds a document per partition with its head and the
position of
every generation; ``jobs`` the rebuilds and verifications.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from shared.ids import new_id
from shared.persistence.mongo import Collection, Database, Document, MongoClient

GENERATIONS = "generations"
CHECKPOINTS = "checkpoints"
JOBS = "jobs"
LEASES = "leases"
SESSIONS = "sessions"

VIEW_NAMES = (
    "organizations",
    "sequences",
    "sequence_versions",
    "templates",
    "attachments",
    "leads",
    "enrollments",
    "messages",
    "timeline",
    "statistics",
    "tasks",
    "bulks",
    "bulk_refusals",
    "notifications",
    "audit",
    "funnels",
)

#: What an entry of the timeline can be filtered by.
TIMELINE_GROUPS = ("message", "signal", "task", "call", "meeting", "email", "note", "enrollment", "change")

#: The live generation is asked again after this long; the old one stays a minute after a switch.
GENERATION_SECONDS = 1.0
#: How often the checkpoints are looked at while somebody waits.
POLL_SECONDS = 0.02

JobKind = Literal["rebuild", "verify"]


class UnknownView(Exception):
    """There is no view of this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"there is no view {name!r}; there are {', '.join(VIEW_NAMES)}")


class ViewBehind(Exception):
    """The views have not reached a cursor in time."""

    def __init__(self, cursor: str, views: Sequence[str]) -> None:
        self.cursor = cursor
        self.views = tuple(views)
        super().__init__(f"{', '.join(views)} not at {cursor} yet")


class BadCursor(ValueError):
    """A cursor reads ``<partition>-<position>``."""


def database_name(prefix: str) -> str:
    """The database of the views."""
    return f"{prefix}_views"


def collection_name(view: str, generation: int) -> str:
    """The collection of one generation."""
    return f"{view}.g{generation}"


def target_key(view: str, generation: int) -> str:
    """A generation's name inside checkpoint documents."""
    return f"{view}:{generation}"


def checkpoint_id(partition: int) -> str:
    """Id of a partition's checkpoint document."""
    return f"{partition:02d}"


def parse_cursor(cursor: str) -> tuple[int, int]:
    """Partition and position. Raises BadCursor."""
    partition, dash, position = cursor.partition("-")
    if not dash or not partition.isdecimal() or not position.isdecimal() or len(partition) > 4 or len(position) > 18:
        raise BadCursor(f"a cursor reads <partition>-<position>, got {cursor[:40]!r}")
    return int(partition), int(position)


class ViewReader:
    """The gateway's eyes on the views. Reads only, but for ``request_job``."""

    def __init__(self, mongo: MongoClient, prefix: str, *, partitions: int = 16) -> None:
        self._partitions = partitions
        self.database: Database = mongo.database(database_name(prefix))
        self._generations: dict[str, Document] = {}
        self._read_at = float("-inf")
        self._snapshot: asyncio.Task[dict[int, Document]] | None = None

    async def collection(self, view: str) -> Collection:
        """The live generation of a view. Raises UnknownView."""
        return self.database.collection(collection_name(view, await self.generation(view)))

    async def generation(self, view: str) -> int:
        """The number of the live generation, at most a second old; 1 before the projector has ever run. Raises
        UnknownView.
        """
        if view not in VIEW_NAMES:
            raise UnknownView(view)
        now = time.monotonic()
        if now - self._read_at > GENERATION_SECONDS:
            documents = await self.database.collection(GENERATIONS).find().to_list()
            self._generations = {document["_id"]: document for document in documents}
            self._read_at = now
        return int(self._generations.get(view, {}).get("live", 1))

    async def checkpoint(self, view: str, partition: int) -> int:
        """The position that a view has reached in a partition; 0 before any."""
        key = target_key(view, await self.generation(view))
        document = await self.database.collection(CHECKPOINTS).find_one({"_id": checkpoint_id(partition)})
        return _position(document, key)

    async def positions(self, view: str) -> list[int]:
        """The positions that a view has reached, in partition order."""
        key = target_key(view, await self.generation(view))
        checkpoints = await self._checkpoints()
        return [_position(checkpoints.get(partition), key) for partition in range(self._partitions)]

    async def wait_for(self, cursor: str, views: Sequence[str], timeout_seconds: float = 5.0) -> None:
        """Returns once all these views have reached the cursor. Raises ViewBehind after the timeout, BadCursor,
        UnknownView.
        """
        partition, position = parse_cursor(cursor)
        deadline = time.monotonic() + timeout_seconds
        while True:
            keys = [target_key(view, await self.generation(view)) for view in views]
            document = (await self._shared_checkpoints()).get(partition)
            if all(_position(document, key) >= position for key in keys):
                return
            if time.monotonic() >= deadline:
                raise ViewBehind(cursor, views)
            await asyncio.sleep(POLL_SECONDS)

    async def names_of(self, lead_ids: Iterable[str | None]) -> dict[str, str | None]:
        """Names of leads, else their e-mail or phone; None when erased. Unknown ids are left out."""
        wanted = sorted({lead_id for lead_id in lead_ids if lead_id})
        if not wanted:
            return {}
        leads = await self.collection("leads")
        found = await leads.find({"_id": {"$in": wanted}}, {"name": 1, "email": 1, "phone": 1}).to_list()
        return {lead["_id"]: lead.get("name") or lead.get("email") or lead.get("phone") for lead in found}

    async def status(self) -> list[dict[str, Any]]:
        """A row per view: ``name``, ``version``, ``generation``, ``state`` (live, rebuilding, broken), ``lag_seconds``,
        ``position`` (highest),
        ``positions`` (by partition) and ``broken`` ({partition: {position, error, at}} or None)."""
        generations = {
            document["_id"]: document for document in await self.database.collection(GENERATIONS).find().to_list()
        }
        checkpoints = await self._checkpoints()
        return [_status(name, generations.get(name, {}), checkpoints, self._partitions) for name in VIEW_NAMES]

    async def lag_seconds(self) -> float:
        """Machine seconds from an event to its commit, of each partition's newest batch; the highest."""
        checkpoints = await self._checkpoints()
        return max((float(document.get("lag_seconds", 0.0)) for document in checkpoints.values()), default=0.0)

    async def request_job(self, kind: JobKind, view: str) -> str:
        """Ask the projector to rebuild or verify a view; the job's id. Raises UnknownView."""
        if view not in VIEW_NAMES:
            raise UnknownView(view)
        job_id = str(new_id())
        await self.database.collection(JOBS).insert_one(
            {
                "_id": job_id,
                "kind": kind,
                "view": view,
                "state": "queued",
                "progress": 0.0,
                "error": None,
                "result": None,
            }
        )
        return job_id

    async def job(self, job_id: str) -> dict[str, Any] | None:
        """``{"job_id", "kind", "view", "state", "progress", "error", "result"}``; ``state`` is queued, running, done
        or failed.
        """
        document = await self.database.collection(JOBS).find_one({"_id": job_id})
        if document is None:
            return None
        return {
            "job_id": job_id,
            **{name: document.get(name) for name in ("kind", "view", "state", "progress", "error", "result")},
        }

    async def _shared_checkpoints(self) -> dict[int, Document]:
        """One reading for all who wait at this moment; one each looks again until it is satisfied."""
        if self._snapshot is None or self._snapshot.done():
            self._snapshot = asyncio.create_task(self._checkpoints())
        return await asyncio.shield(self._snapshot)

    async def _checkpoints(self) -> dict[int, Document]:
        documents = await self.database.collection(CHECKPOINTS).find().to_list()
        return {int(document["partition"]): document for document in documents}


def _position(document: Document | None, key: str) -> int:
    return int((document or {}).get("positions", {}).get(key, 0))


def _status(name: str, generation: Document, checkpoints: dict[int, Document], partitions: int) -> dict[str, Any]:
    live = int(generation.get("live", 1))
    key = target_key(name, live)
    positions = [_position(checkpoints.get(partition), key) for partition in range(partitions)]
    broken = {
        f"{number:02d}": document["broken"][key]
        for number, document in checkpoints.items()
        if key in document.get("broken", {})
    }
    rebuilding = any(entry["kind"] == "rebuild" for entry in generation.get("building", ()))
    return {
        "name": name,
        "version": generation.get("version"),
        "generation": live,
        "state": "broken" if broken else "rebuilding" if rebuilding else "live",
        "lag_seconds": max((float(document.get("lag_seconds", 0.0)) for document in checkpoints.values()), default=0.0),
        "position": max(positions, default=0),
        "positions": positions,
        "broken": broken or None,
    }
