"""Dead letters as an operator of the machine sees them: of every organization, and of none.

The gateway drains them into the collection ``dead_letters`` of its database. A document: ``_id``, ``message_id``,
``queue`` (where it died), ``reason`` (a word), ``reasons`` (list of ``{"field", "problem"}``), ``died_at``,
``lead_id``, ``organization_id``, ``exchange`` and ``routing_key`` (it was first published with; empty when not known),
``headers``, ``content_type``, ``body`` (bytes), ``cut`` (true when it was too long to be kept whole).
"""

from __future__ import annotations

from datetime import datetime

from shared.messaging.publisher import Publisher
from shared.persistence.mongo import Document, MongoClient

COLLECTION = "dead_letters"


class UnknownDeadLetter(Exception):
    """There is none of this id (any more)."""

    def __init__(self, letter_id: str) -> None:
        super().__init__(f"there is no dead letter {letter_id!r}")


class CutDeadLetter(Exception):
    """Only its beginning was kept: it cannot be sent again."""

    def __init__(self, letter_id: str) -> None:
        super().__init__(f"dead letter {letter_id} was too long to be kept whole: it can only be dropped")


class DeadLetterBox:
    """The collection."""

    def __init__(self, mongo: MongoClient, prefix: str) -> None:
        self._letters = mongo.database(f"{prefix}_gateway").collection(COLLECTION)

    async def newest(
        self, limit: int, *, queue: str | None = None, before: tuple[datetime, str] | None = None
    ) -> list[Document]:
        """Newest first; ``before`` is (died_at, id) of the last one of the page before."""
        wanted: Document = {} if queue is None else {"queue": queue}
        if before is not None:
            wanted["$or"] = [{"died_at": {"$lt": before[0]}}, {"died_at": before[0], "_id": {"$lt": before[1]}}]
        return await self._letters.find(wanted, sort=[("died_at", -1), ("_id", -1)], limit=limit).to_list()

    async def get(self, letter_id: str) -> Document:
        """The whole document. Raises UnknownDeadLetter."""
        found = await self._letters.find_one({"_id": letter_id})
        if found is None:
            raise UnknownDeadLetter(letter_id)
        return found

    async def count(self) -> int:
        """How many there are."""
        return await self._letters.count_documents({})

    async def drop(self, letter_id: str) -> None:
        """Gone for good. Raises UnknownDeadLetter."""
        if not (await self._letters.delete_one({"_id": letter_id})).deleted_count:
            raise UnknownDeadLetter(letter_id)

    async def requeue(self, letter_id: str, publisher: Publisher) -> None:
        """Published as it was at first, with the id it had, then removed: a crash between the two sends it twice, which
        the inbox settles. Raises UnknownDeadLetter, CutDeadLetter, Unroutable, PublishUnknown, BrokerAway.
        """
        letter = await self.get(letter_id)
        if letter.get("cut"):
            raise CutDeadLetter(letter_id)
        known = bool(letter["exchange"])
        await publisher.publish_body(
            letter["exchange"] if known else "",
            letter["routing_key"] if known else letter["queue"],
            bytes(letter["body"]),
            content_type=letter["content_type"] or "application/json",
            message_id=letter["message_id"],
            headers=letter["headers"],
        )
        await self._letters.delete_one({"_id": letter_id})
