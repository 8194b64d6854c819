"""Transactions that a dead process leaves open: MongoDB would hold their locks for up to a minute, and nobody could
take its partitions over.

Each process notes the sessions it writes with. Who takes a partition over and is kept waiting ends those of the one
before. A living
process whose session is ended this way loses one transaction, reads its checkpoints again and goes on.
"""

from __future__ import annotations

from typing import Any

import structlog
from bson.binary import Binary

from shared.persistence.mongo import Database, MongoClient, Session
from shared.persistence.views import SESSIONS

log = structlog.get_logger()


class Sessions:
    """The sessions of one process (``owner``, unique per start)."""

    def __init__(self, mongo: MongoClient, database: Database, owner: str) -> None:
        self._admin = mongo.database("admin")
        self._documents = database.collection(SESSIONS)
        self._noted: set[bytes] = set()
        self.owner = owner

    async def note(self, session: Session) -> None:
        """Make known that this session is about to write. The driver keeps a handful and takes them in turn, so this
        seldom writes.
        """
        number = session.session_id["id"]
        if bytes(number) not in self._noted:
            await self._documents.update_one({"_id": self.owner}, {"$addToSet": {"ids": number}}, upsert=True)
            self._noted.add(bytes(number))

    async def end_those_of(self, owner: str) -> None:
        """End the sessions of another process, with what they have open."""
        document = await self._documents.find_one({"_id": owner})
        if document is None or owner == self.owner:
            return
        ids: list[dict[str, Any]] = [{"id": Binary.from_uuid(number)} for number in document["ids"]]
        await self._admin.command({"killSessions": ids})
        await self._documents.delete_one({"_id": owner})
        log.info("sessions_ended", owner=owner, count=len(ids))

    async def forget(self) -> None:
        """This process is done."""
        await self._documents.delete_one({"_id": self.owner})
