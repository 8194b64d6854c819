"""Dead letters at rest: messages that were given up, drained from their queue into a collection, where a person looks
at them, sends them again or drops them.

Collection ``dead_letters`` of the database ``<prefix>_gateway``. A document: ``_id``, ``message_id``, ``queue`` (where
it died), ``reason`` (a word: invalid, failed, or the broker's), ``reasons`` (list of ``{"field", "problem"}``),
``died_at``, ``lead_id``, ``organization_id``, ``exchange`` and ``routing_key`` (it was published with, None when not
known), ``headers``, ``content_type``, ``body`` (bytes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from pymongo import ASCENDING, DESCENDING, IndexModel

from shared.messaging.publisher import Publisher
from shared.persistence.mongo import Collection, Document, MongoClient

COLLECTION = "dead_letters"
MAX_TEXT = 500


class UnknownDeadLetter(Exception):
    """There is none of this id (any more)."""

    def __init__(self, letter_id: str) -> None:
        super().__init__(f"there is no dead letter {letter_id!r}")


class DeadLetterBox:
    """The collection."""

    def __init__(self, mongo: MongoClient, prefix: str) -> None:
        self._letters: Collection = mongo.database(f"{prefix}_gateway").collection(COLLECTION)

    async def prepare(self) -> None:
        """Makes the indexes."""
        await self._letters.create_indexes(
            [
                IndexModel([("died_at", DESCENDING), ("_id", DESCENDING)]),
                IndexModel([("queue", ASCENDING), ("died_at", DESCENDING)]),
                IndexModel([("lead_id", ASCENDING)]),
                IndexModel([("organization_id", ASCENDING), ("died_at", DESCENDING)]),
            ]
        )

    async def keep(self, letters: list[Document]) -> None:
        """Stores documents made by ``document_of``; one that is there already stays as it is."""
        for letter in letters:
            await self._letters.update_one({"_id": letter["_id"]}, {"$setOnInsert": letter}, upsert=True)

    async def newest(
        self,
        limit: int,
        *,
        queue: str | None = None,
        organization_id: str | None = None,
        before: tuple[datetime, str] | None = None,
    ) -> list[Document]:
        """Newest first; ``before`` is (died_at, id) of the last one of the page before."""
        wanted: Document = {}
        if queue is not None:
            wanted["queue"] = queue
        if organization_id is not None:
            wanted["organization_id"] = organization_id
        if before is not None:
            wanted["$or"] = [{"died_at": {"$lt": before[0]}}, {"died_at": before[0], "_id": {"$lt": before[1]}}]
        return await self._letters.find(wanted, sort=[("died_at", -1), ("_id", -1)], limit=limit).to_list()

    async def get(self, letter_id: str) -> Document:
        """The whole document. Raises UnknownDeadLetter."""
        found = await self._letters.find_one({"_id": letter_id})
        if found is None:
            raise UnknownDeadLetter(letter_id)
        return found

    async def count(self, *, queue: str | None = None) -> int:
        """How many there are."""
        return await self._letters.count_documents({} if queue is None else {"queue": queue})

    async def drop(self, letter_id: str) -> None:
        """Gone for good. Raises UnknownDeadLetter."""
        result = await self._letters.delete_one({"_id": letter_id})
        if not result.deleted_count:
            raise UnknownDeadLetter(letter_id)

    async def forget_lead(self, lead_id: str) -> int:
        """Removes all that name a lead; how many."""
        return (await self._letters.delete_many({"lead_id": lead_id})).deleted_count

    async def requeue(self, letter_id: str, publisher: Publisher) -> None:
        """Published as it was at first, with the id it had, then removed: a crash between the two sends it twice, which
        the inbox settles. Raises UnknownDeadLetter, Unroutable, PublishUnknown, BrokerAway.
        """
        letter = await self.get(letter_id)
        known = letter["exchange"] is not None and letter["routing_key"] is not None
        await publisher.publish_body(
            letter["exchange"] if known else "",
            letter["routing_key"] if known else letter["queue"],
            bytes(letter["body"]),
            content_type=letter["content_type"] or "application/json",
            message_id=letter["message_id"],
            headers={name: value for name, value in letter["headers"].items() if not name.startswith("x-")},
        )
        await self._letters.delete_one({"_id": letter_id})


def document_of(
    body: bytes, *, content_type: str | None, headers: Mapping[str, Any], message_id: str | None, routing_key: str
) -> Document:
    """What is stored of a message from the queue ``tendril.dead``; the same message gives the same id."""
    queue = str(headers.get("x-queue") or headers.get("x-first-death-queue") or routing_key)
    died_at = _moment(headers.get("x-died-at"))
    known = message_id or headers.get("x-message-id")
    exchange, first_key = _origin(headers)
    first = _first(body)
    mark = hashlib.blake2b(digest_size=16)
    for part in (queue, str(known), str(headers.get("x-died-at")), ""):
        mark.update(part.encode() + b"\x00")
    mark.update(body)
    return {
        "_id": mark.hexdigest(),
        "message_id": str(known) if known else None,
        "queue": queue,
        "reason": str(headers.get("x-reason") or headers.get("x-first-death-reason") or "unknown")[:MAX_TEXT],
        "reasons": _reasons(headers.get("x-reasons")),
        "died_at": died_at,
        "lead_id": _text(headers.get("x-lead-id")) or _text(first.get("leadid")),
        "organization_id": _text(first.get("organizationid")) or _text(first.get("organization_id")),
        "exchange": exchange,
        "routing_key": first_key,
        "headers": orjson.loads(orjson.dumps(dict(headers), default=str, option=orjson.OPT_NON_STR_KEYS)),
        "content_type": content_type,
        "body": body,
    }


def _origin(headers: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Exchange and routing key of the first publishing: as a service noted them, else as the broker did."""
    exchange, key = _text(headers.get("x-exchange")), _text(headers.get("x-routing-key"))
    deaths = headers.get("x-death")
    if exchange is None and isinstance(deaths, list) and deaths and isinstance(deaths[-1], dict):
        keys = deaths[-1].get("routing-keys")
        exchange = _text(deaths[-1].get("exchange"))
        key = _text(keys[0]) if isinstance(keys, list) and keys else None
    return exchange, key


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return datetime.now(UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _reasons(value: Any) -> list[dict[str, str]]:
    try:
        found = orjson.loads(value) if isinstance(value, str | bytes) else []
    except orjson.JSONDecodeError:
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _first(body: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    first = data[0] if isinstance(data, list) and data else data
    return first if isinstance(first, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
