"""Comparing two generations of a view, document by document. Each chunk is read from both in one snapshot, and every
commit writes both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from services.projector.targets import Target
from shared.persistence.mongo import Collection, Database, Document, MongoClient, Session

#: Documents of each side in one snapshot; a transaction may last a minute, this takes far less.
CHUNK = 1_000
#: Differences told in full.
MOST_TOLD = 20


async def compare(
    mongo: MongoClient, database: Database, live: Target, fresh: Target, still: Callable[[], Awaitable[bool]]
) -> dict[str, Any]:
    """``{"differences": int, "documents": int, "first": [{"id", "problem", "fields"}]}``. ``still`` says whether to go
    on after each chunk.

    ``problem`` is ``missing`` (a replay has it, the view has not), ``surplus`` or ``different``; ``fields`` names what
    differs, without values.
    """
    one, two = database.collection(live.collection), database.collection(fresh.collection)
    count, documents, told, last = 0, 0, list[dict[str, Any]](), None
    while await still():

        async def read(session: Session, after: Any = last) -> tuple[list[Document], list[Document]]:
            return await _chunk(one, two, after, session)

        held, replayed = await mongo.run_in_transaction(read)
        if not held and not replayed:
            break
        by_id = {document["_id"]: document for document in replayed}
        for document in held:
            other = by_id.pop(document["_id"], None)
            documents += 1
            if other == document:
                continue
            count += 1
            if len(told) < MOST_TOLD:
                told.append(_difference(document, other))
        count += len(by_id)
        told += [
            {"id": str(missing), "problem": "missing", "fields": []} for missing in list(by_id)[: MOST_TOLD - len(told)]
        ]
        last = max(document["_id"] for document in (*held, *replayed))
    return {"differences": count, "documents": documents, "first": told}


async def _chunk(
    one: Collection, two: Collection, after: Any, session: Session
) -> tuple[list[Document], list[Document]]:
    """The same range of ids from both: up to the lower of the two last ids when there is more."""
    beyond: dict[str, Any] = {} if after is None else {"_id": {"$gt": after}}
    held = await one.find(beyond, sort=[("_id", 1)], limit=CHUNK, session=session).to_list()
    replayed = await two.find(beyond, sort=[("_id", 1)], limit=CHUNK, session=session).to_list()
    ends = [documents[-1]["_id"] for documents in (held, replayed) if len(documents) == CHUNK]
    if ends:
        end = min(ends)
        held = [document for document in held if document["_id"] <= end]
        replayed = [document for document in replayed if document["_id"] <= end]
    return held, replayed


def _difference(document: Document, other: Document | None) -> dict[str, Any]:
    if other is None:
        return {"id": str(document["_id"]), "problem": "surplus", "fields": []}
    fields = sorted(name for name in {*document, *other} if document.get(name) != other.get(name))
    return {"id": str(document["_id"]), "problem": "different", "fields": fields}
