"""Generations: which builds of the views exist, which one is live, which are being built, and which wait to be dropped.

A document per view: ``{_id: name, version, live, next, building: [{generation, version, job_id, kind}], retired:
[{generation, drop_at}]}``. All changes are
compare-and-set, so any process may die anywhere and the next one goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo import IndexModel

from services.projector.targets import Checkpoint, Target
from services.projector.views import View
from services.projector.views.view import Keys, Partial
from shared.faults import crash_point
from shared.persistence.mongo import Database, Document, MongoClient, is_duplicate_key
from shared.persistence.views import CHECKPOINTS, GENERATIONS, JOBS, checkpoint_id, collection_name, target_key

#: Readers may still use the old generation for this long after a switch.
KEEP_OLD = timedelta(seconds=60)
#: Owners learn of a generation's end within a second; it is dropped once they have.
KEEP_CHECKED = timedelta(seconds=5)

#: Of each view, the newest jobs that have switched it.
JOBS_REMEMBERED = 50


class Generations:
    """The registry as one process knows it; ``refresh`` reads it again."""

    def __init__(self, mongo: MongoClient, database: Database, views: Sequence[View], partitions: int) -> None:
        self._mongo = mongo
        self._database = database
        self._views = {view.name: view for view in views}
        self._partitions = partitions
        self._documents = database.collection(GENERATIONS)
        self._checkpoints = database.collection(CHECKPOINTS)
        self._known: list[Document] = []
        self.live: list[Target] = []
        self.building: list[Target] = []

    @property
    def targets(self) -> list[Target]:
        """All that is written."""
        return self.live + self.building

    async def prepare(self) -> None:
        """Make what a fresh database lacks, and ask for a rebuild of every view whose version has changed."""
        for partition in range(self._partitions):
            checkpoint = {
                "_id": checkpoint_id(partition),
                "partition": partition,
                "epoch": 0,
                "head": 0,
                "positions": {},
                "broken": {},
            }
            await _insert_if_missing(self._checkpoints, checkpoint)
        for view in self._views.values():
            if await self._documents.find_one({"_id": view.name}) is None:
                await self.make_collection(view, 1)
                first = {"_id": view.name, "version": view.version, "live": 1, "next": 2, "building": [], "retired": []}
                await _insert_if_missing(self._documents, first)
        await self.refresh()
        for document in self._known:
            view = self._views[document["_id"]]
            if document["version"] != view.version and not any(
                entry["version"] == view.version for entry in document["building"]
            ):
                # The id names the wanted version, so that two processes that start together ask once.
                job_id = f"{view.name}-version-{view.version}"
                job = {
                    "_id": job_id,
                    "kind": "rebuild",
                    "view": view.name,
                    "state": "queued",
                    "progress": 0.0,
                    "error": None,
                    "result": None,
                }
                await _insert_if_missing(self._database.collection(JOBS), job)

    async def refresh(self) -> None:
        """Read which targets there are."""
        documents = await self._documents.find().to_list()
        self._known = [document for document in documents if document["_id"] in self._views]
        self._known.sort(key=lambda document: list(self._views).index(document["_id"]))
        self.live = [Target(self._views[document["_id"]], document["live"]) for document in self._known]
        self.building = [
            Target(self._views[document["_id"]], entry["generation"])
            for document in self._known
            for entry in document["building"]
            if entry["version"] == self._views[document["_id"]].version
        ]

    def builds(self) -> list[tuple[Target, dict[str, Any]]]:
        """Every generation being built, with its entry."""
        return [
            (Target(self._views[document["_id"]], entry["generation"]), entry)
            for document in self._known
            for entry in document["building"]
        ]

    def find(self, name: str) -> View | None:
        """The view of this name."""
        return self._views.get(name)

    async def make_collection(self, view: View, generation: int) -> None:
        """The collection of a generation with its indexes; outside any transaction, as MongoDB wants it."""
        models = [index_model(index) for index in view.indexes]
        await self._database.collection(collection_name(view.name, generation)).create_indexes(models)

    async def begin(self, view: View, job_id: str, kind: str) -> None:
        """Start a generation for a job; nothing happens when it has one already."""
        document = await self._documents.find_one({"_id": view.name})
        if document is None or any(entry["job_id"] == job_id for entry in document["building"]):
            return
        generation = document["next"]
        await self.make_collection(view, generation)
        crash_point("projector.generation_made")
        entry = {"generation": generation, "version": view.version, "job_id": job_id, "kind": kind}
        await self._documents.update_one(
            {"_id": view.name, "next": generation, "building.job_id": {"$ne": job_id}},
            {"$set": {"next": generation + 1}, "$push": {"building": entry}},
        )

    async def progress(self, target: Target) -> tuple[float, bool, dict[str, Any] | None]:
        """How much of the log a generation holds (0 to 1), whether it has joined the feed in every partition, and
        what broke it, if anything.
        """
        documents = await self._checkpoints.find().to_list()
        checkpoints = [checkpoint_of(document) for document in documents]
        broken = next((each.broken[target.key] for each in checkpoints if target.key in each.broken), None)
        heads = sum(each.head for each in checkpoints)
        reached = sum(min(each.position(target), each.head) for each in checkpoints)
        joined = len(checkpoints) == self._partitions and all(
            each.position(target) == each.head for each in checkpoints
        )
        return (reached / heads if heads else 1.0), joined and broken is None, broken

    async def switch(self, target: Target, job_id: str, now: datetime) -> None:
        """Make a generation that has joined everywhere the live one. The old one stays a while for readers."""
        document = await self._documents.find_one({"_id": target.view.name})
        if document is None or document["live"] == target.generation:
            return
        crash_point("projector.before_switch")
        await self._documents.update_one(
            {"_id": target.view.name, "live": document["live"], "building.generation": target.generation},
            {
                "$set": {"live": target.generation, "version": target.view.version, "switched_at": now},
                "$pull": {"building": {"generation": target.generation}},
                "$push": {
                    "retired": {"generation": document["live"], "drop_at": now + KEEP_OLD},
                    "switched_by": {"$each": [job_id], "$slice": -JOBS_REMEMBERED},
                },
            },
        )
        crash_point("projector.after_switch")

    def has_switched(self, view: View, job_id: str) -> bool:
        """Whether a job's generation has become live at some time."""
        return any(
            document["_id"] == view.name and job_id in document.get("switched_by", ()) for document in self._known
        )

    async def discard(self, target: Target, now: datetime) -> None:
        """Give up a generation that is not to become live."""
        await self._documents.update_one(
            {"_id": target.view.name, "building.generation": target.generation},
            {
                "$pull": {"building": {"generation": target.generation}},
                "$push": {"retired": {"generation": target.generation, "drop_at": now + KEEP_CHECKED}},
            },
        )

    async def drop_retired(self, now: datetime) -> None:
        """Remove generations whose time is over. First their positions: from then on nobody's checkpoint filter fits
        them any more.
        """
        for document in await self._documents.find({"retired.drop_at": {"$lte": now}}).to_list():
            for entry in document["retired"]:
                if entry["drop_at"] > now:
                    continue
                key = target_key(document["_id"], entry["generation"])
                await self._checkpoints.update_many({}, {"$unset": {f"positions.{key}": "", f"broken.{key}": ""}})
                await self._database.drop_collection(collection_name(document["_id"], entry["generation"]))
                crash_point("projector.after_drop")
                await self._documents.update_one(
                    {"_id": document["_id"]}, {"$pull": {"retired": {"generation": entry["generation"]}}}
                )

    async def claim(self, partition: int, epoch: int, owner: str) -> Checkpoint | None:
        """The partition's checkpoint under our epoch: whoever held it before is fenced from here on.

        None when a newer owner has it. Waits while a transaction holds the document.
        """
        wanted = {"_id": checkpoint_id(partition), "epoch": {"$lte": epoch}}
        changed = {"$set": {"epoch": epoch, "owner": owner}}
        document = await self._checkpoints.find_one_and_update(wanted, changed)
        return None if document is None else checkpoint_of(document)

    async def owner_of(self, partition: int) -> str | None:
        """Who claimed the partition last; None when nobody ever has."""
        document = await self._checkpoints.find_one({"_id": checkpoint_id(partition)}, {"owner": 1})
        return None if document is None else document.get("owner")

    async def load(self, partition: int) -> Checkpoint | None:
        """The partition's checkpoint as it is stored."""
        document = await self._checkpoints.find_one({"_id": checkpoint_id(partition)})
        return None if document is None else checkpoint_of(document)


def checkpoint_of(document: Document) -> Checkpoint:
    """A checkpoint from its document."""
    return Checkpoint(
        partition=int(document["partition"]),
        epoch=int(document["epoch"]),
        head=int(document["head"]),
        positions={key: int(position) for key, position in document["positions"].items()},
        broken=dict(document.get("broken", {})),
    )


def index_model(index: Keys | Partial) -> IndexModel:
    """What MongoDB is asked for."""
    if isinstance(index, Partial):
        name = f"{index.field}_{index.value}_by_{index.keys[0][0]}"
        return IndexModel(list(index.keys), name=name, partialFilterExpression={index.field: index.value})
    return IndexModel(list(index))


async def _insert_if_missing(collection: Any, document: Document) -> None:
    if await collection.find_one({"_id": document["_id"]}, {"_id": 1}) is None:
        try:
            await collection.insert_one(document)
        except Exception as error:
            if not is_duplicate_key(error):
                raise
