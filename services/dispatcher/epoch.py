"""Noticing that the ledger is older than the log.

When MongoDB is restored from a backup, rows of steps sent since that backup are gone, and a StepDue that comes again
would be sent again. The ledger alone cannot see that, and a StepDue that comes as a reminder for an unknown row
proves nothing: it may still be queued. So there is a witness outside MongoDB. The document ``meta/ledger`` holds the
ledger's id, made with it, and a count that every dispatcher raises every few seconds; after each raise the dispatcher
writes both to a file under ``HOME``, in that order. In ordinary life the file is therefore never ahead of the ledger.
A file that is ahead, or names another ledger, says that the ledger was restored (or lost).

Then every unknown step that was decided before this was noticed is answered *in doubt*, as long as this ledger lives:
it may have been sent, and only a person, a rule or a later signal can say. Steps decided afterwards are new and go
out as usual. The mark is kept in ``meta/ledger``, so that every dispatcher honours it, and read with every raise. A
machine without the file trusts the ledger; a restore may set the mark itself: ``restored_at`` in ``meta/ledger``,
business time. A backup younger than the last raise goes unnoticed.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
from pymongo.errors import DuplicateKeyError, PyMongoError

from services.dispatcher.ledger_store import away
from shared.persistence.mongo import Database

#: How often the count is raised, in machine seconds.
RAISE_SECONDS = 5.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """A ledger at a moment of its life."""

    ledger_id: str
    count: int


class Epoch:
    """``witness`` is the file; its directory must exist."""

    def __init__(self, database: Database, witness: Path) -> None:
        self._meta = database.collection("meta")
        self._witness = witness

    async def raise_count(self, business_now: datetime) -> datetime | None:
        """Compares, raises, writes the file. Up to when unknown steps are in doubt; None when the ledger was never
        restored.

        Raises LedgerAway, and OSError when the file cannot be written.
        """
        seen = self._read()
        try:
            document = await self._raised()
            restored = seen is not None and (seen.ledger_id != document["ledger_id"] or seen.count >= document["count"])
            if restored:
                _log.error(
                    "the ledger is older than the log: unknown steps decided until now are in doubt", seen=str(seen)
                )
                change = {"$max": {"restored_at": business_now, "count": (seen.count if seen else 0) + 1}}
                document = await self._meta.find_one_and_update({"_id": "ledger"}, change) or document
        except PyMongoError as error:
            raise away(error) from error
        self._write(Seen(document["ledger_id"], document["count"]))
        restored_at: datetime | None = document.get("restored_at")
        return restored_at

    async def _raised(self) -> dict[str, Any]:
        change = {"$inc": {"count": 1}, "$setOnInsert": {"ledger_id": uuid4().hex}}
        while True:
            try:
                document = await self._meta.find_one_and_update({"_id": "ledger"}, change, upsert=True)
            except DuplicateKeyError:
                continue  # another dispatcher made it meanwhile
            assert document is not None, "an upsert gives a document"
            return document

    def _read(self) -> Seen | None:
        try:
            fields = json.loads(self._witness.read_bytes())
            return Seen(str(fields["ledger_id"]), int(fields["count"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            _log.exception("the ledger's witness cannot be read; it is written anew", file=str(self._witness))
            return None

    def _write(self, seen: Seen) -> None:
        draft = self._witness.with_suffix(f".{os.getpid()}.tmp")
        with draft.open("w") as file:
            json.dump({"ledger_id": seen.ledger_id, "count": seen.count}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._witness)
