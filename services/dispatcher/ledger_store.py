"""How the ledger lies in MongoDB: documents, indexes, and batched compare-and-set.

A change is one operation with a fresh mark. A batch of changes is one bulk write, majority and journaled; when
MongoDB counts as many changes as there are operations, all took place and nothing is read. Else one find tells by the
marks which did. A change that took place and was overtaken within the same round trip counts as lost: its caller then
reads the row and goes by that, which is right. Rows are made in batches of their own, as inserts: MongoDB puts many in
one transaction of its storage, and says by index which were there already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from pymongo import IndexModel, InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from services.dispatcher.batching import Batch
from services.dispatcher.errors import LedgerAway
from services.dispatcher.outcomes import Ending, ending_to_document, state_after
from services.dispatcher.states import OPEN, Row, State, Step
from services.dispatcher.stops import StopKey, key_from_document
from shared.persistence.mongo import Database, is_unavailable

DUPLICATE_KEY = 11000

DISPATCH_INDEXES = [
    # A stop looks through what can still be held back: what is claimed or deferred, a small part of the rows. An index
    # of their seven keys each would cost every dispatch fourteen entries made and removed.
    IndexModel([("position", 1)], name="open", partialFilterExpression={"open": True}),
    IndexModel([("claim.until", 1)], name="handing_over", partialFilterExpression={"state": "handing_over"}),
    IndexModel([("lead_id", 1)], name="by_lead"),
    IndexModel(
        [("organization_id", 1), ("times.in_doubt", 1)], name="in_doubt", partialFilterExpression={"state": "in_doubt"}
    ),
]


@dataclass(frozen=True, slots=True)
class Change:
    """A compare-and-set of one row."""

    dispatch_id: UUID
    expect: Mapping[str, Any]
    update: dict[str, Any]


class RowStore:
    """The collection ``dispatches``, in batches. Raises LedgerAway."""

    def __init__(self, database: Database) -> None:
        self._rows = database.collection("dispatches")
        self._keys = database.collection("stop_keys")
        self._changes: Batch[Change, bool] = Batch(self._run_changes)
        self._makings: Batch[dict[str, Any], bool] = Batch(self._run_makings)
        self._reads: Batch[UUID, Row | None] = Batch(self._run_reads)
        self._key_reads: Batch[tuple[str, ...], list[StopKey]] = Batch(self._run_key_reads)

    async def make_indexes(self) -> None:
        """Makes the indexes that are not there."""
        await self._rows.create_indexes(DISPATCH_INDEXES)

    async def change(self, change: Change) -> bool:
        """Whether the change took place."""
        return await self._changes.ask(change)

    async def make(self, document: dict[str, Any]) -> bool:
        """Whether the row was made; False when there is one with its id."""
        return await self._makings.ask(document)

    async def row(self, dispatch_id: UUID) -> Row | None:
        """The row as it stands."""
        return await self._reads.ask(dispatch_id)

    async def keys(self, names: tuple[str, ...]) -> list[StopKey]:
        """Those of these keys that exist."""
        return await self._key_reads.ask(names)

    async def _run_changes(self, changes: list[Change]) -> list[bool]:
        batch = uuid4().hex
        marks = [f"{batch}{number}" for number in range(len(changes))]
        operations = [_operation(change, mark) for change, mark in zip(changes, marks, strict=True)]
        try:
            counted = await self._rows.bulk_write(operations, ordered=False)
        except BulkWriteError as error:
            raise LedgerAway(str(error)) from error
        except PyMongoError as error:
            raise away(error) from error
        if counted.modified_count == len(changes):
            return [True] * len(changes)
        found = await self._marks([change.dispatch_id for change in changes])
        return [found.get(change.dispatch_id) == mark for change, mark in zip(changes, marks, strict=True)]

    async def _run_makings(self, documents: list[dict[str, Any]]) -> list[bool]:
        try:
            await self._rows.bulk_write([InsertOne(document) for document in documents], ordered=False)
        except BulkWriteError as error:
            counted = error.details or {}
            if counted.get("writeConcernErrors") or any(e["code"] != DUPLICATE_KEY for e in counted["writeErrors"]):
                raise LedgerAway(str(error)) from error
            known = {each["index"] for each in counted["writeErrors"]}
            return [index not in known for index in range(len(documents))]
        except PyMongoError as error:
            raise away(error) from error
        return [True] * len(documents)

    async def _marks(self, ids: list[UUID]) -> dict[UUID, str]:
        try:
            found = await self._rows.find({"_id": {"$in": ids}}, {"mark": 1}).to_list()
        except PyMongoError as error:
            raise away(error) from error
        return {document["_id"]: document.get("mark", "") for document in found}

    async def _run_reads(self, ids: list[UUID]) -> list[Row | None]:
        try:
            found = await self._rows.find({"_id": {"$in": ids}}).to_list()
        except PyMongoError as error:
            raise away(error) from error
        rows = {document["_id"]: row_from_document(document) for document in found}
        return [rows.get(dispatch_id) for dispatch_id in ids]

    async def _run_key_reads(self, wanted: list[tuple[str, ...]]) -> list[list[StopKey]]:
        names = {name for each in wanted for name in each}
        try:
            found = await self._keys.find({"_id": {"$in": list(names)}}).to_list()
        except PyMongoError as error:
            raise away(error) from error
        keys = {document["_id"]: key_from_document(document) for document in found}
        return [[keys[name] for name in each if name in keys] for each in wanted] if keys else [[] for _ in wanted]


def away(error: PyMongoError) -> Exception:
    """What to raise for a driver's error: LedgerAway when the server is the cause, else the error itself."""
    return LedgerAway(f"MongoDB does not answer: {error!r}") if is_unavailable(error) else error


def _operation(change: Change, mark: str) -> UpdateOne:
    update = {**change.update, "$set": {**change.update.get("$set", {}), "mark": mark}}
    # With the index named, MongoDB need not weigh the partial ones.
    return UpdateOne({"_id": change.dispatch_id, **change.expect}, update, hint="_id_")


def new_document(
    step: Step, state: State, ending: Ending | None, now: datetime, claim: dict[str, Any] | None
) -> dict[str, Any]:
    """A row that was not there."""
    document: dict[str, Any] = {
        "_id": step.dispatch_id,
        "organization_id": step.organization_id,
        "lead_id": step.lead_id,
        "enrollment_id": step.enrollment_id,
        "sequence_id": step.sequence_id,
        "execution": step.execution,
        "step_id": step.step_id,
        "channel": step.channel,
        "attempt": step.attempt,
        "state": state,
        "claim": claim or {"token": "", "owner": "", "until": None},
        "keys": list(step.keys),
        "position": step.position,
        "times": {state: now},
        "report": ending_to_document(ending) if ending else None,
        "message": None,
    }
    if state in OPEN:
        document["open"] = True
    return document


def ending_update(ending: Ending, now: datetime) -> dict[str, Any]:
    """The update that ends a row so."""
    state = state_after(ending)
    report = ending_to_document(ending)
    changed = {
        "state": state,
        "report": report,
        f"times.{state}": now,
        "provider_answer": report.get("answer"),
        "error": report.get("reason"),
    }
    if state in OPEN:
        return {"$set": {**changed, "open": True}}
    return {"$set": changed, "$unset": {"open": ""}}


def row_from_document(document: Mapping[str, Any]) -> Row:
    """A row from its document."""
    return Row(
        dispatch_id=document["_id"],
        organization_id=document["organization_id"],
        lead_id=document["lead_id"],
        enrollment_id=document["enrollment_id"],
        execution=document["execution"],
        attempt=document["attempt"],
        state=State(document["state"]),
        position=document["position"],
        token=document["claim"]["token"],
        until=document["claim"]["until"],
        ending=document["report"],
        message=document.get("message"),
    )
