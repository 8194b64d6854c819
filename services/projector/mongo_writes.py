"""Orders for documents, in MongoDB's update language. Nothing else in the projector knows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pymongo import DeleteOne, InsertOne, UpdateMany, UpdateOne

from services.projector.ops import Derivation, FirstOf, Join, Ops, Stage, Union

Write = InsertOne[dict[str, Any]] | UpdateOne | UpdateMany | DeleteOne


def writes_of(parts: Iterable[Ops]) -> list[list[Write]]:
    """Unordered bulks, to be carried out one after the other: usually a single one."""
    levels: list[list[Write]] = [[]]
    derived: list[Write] = []
    last: list[Write] = []
    for ops in parts:
        for document_id, document in ops.documents.items():
            for number, stage in enumerate(document.stages):
                write = _write(document_id, stage)
                if write is None:
                    continue
                if number == len(levels):
                    levels.append([])
                levels[number].append(write)
            if document.derived:
                fields = {name: _expression(how) for name, how in document.derived.items()}
                derived.append(UpdateOne({"_id": document_id}, [{"$set": fields}]))
        last.extend(UpdateMany({name: value}, {"$set": fields}) for name, value, fields in ops.wheres)
    return [level for level in (*levels, derived, last) if level]


def _write(document_id: Any, stage: Stage) -> Write | None:
    if stage.remove:
        return DeleteOne({"_id": document_id})
    if stage.new:
        document = {"_id": document_id, **stage.on_insert}
        stage.change(document)
        return InsertOne(document)
    update: dict[str, Any] = {}
    if stage.set:
        update["$set"] = stage.set
    if stage.inc:
        update["$inc"] = stage.inc
    if stage.on_insert:
        update["$setOnInsert"] = stage.on_insert
    if stage.high:
        update["$max"] = stage.high
    if stage.low:
        update["$min"] = stage.low
    if stage.add:
        update["$addToSet"] = {path: {"$each": values} for path, values in stage.add.items()}
    if stage.removed:
        update["$pull"] = {path: {"$in": values} for path, values in stage.removed.items()}
    if stage.unset:
        update["$unset"] = dict.fromkeys(stage.unset, "")
    return UpdateOne({"_id": document_id}, update, upsert=True) if update else None


def _expression(how: Derivation) -> dict[str, Any]:
    fields = [f"${path}" for path in how.paths]
    match how:
        case Union():
            union = {"$setUnion": [{"$ifNull": [field, []]} for field in fields]}
            return {"$sortArray": {"input": union, "sortBy": 1}}
        case Join():
            given = {"$filter": {"input": fields, "cond": {"$gt": ["$$this", ""]}}}  # neither missing, null nor empty
            spaced = {"$reduce": {"input": given, "initialValue": "", "in": {"$concat": ["$$value", " ", "$$this"]}}}
            text = {"$trim": {"input": spaced}}
            return {"$cond": [{"$eq": [text, ""]}, None, text]}
        case FirstOf():
            return {"$ifNull": [*fields, None]}
