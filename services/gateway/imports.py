"""Imports of lead files: read row by row beside the request, ordered as one of many, with progress and a report.

What a file says is kept nowhere: it lies in an unlinked temporary file until it is read, and reports hold lines,
fields and reasons, no cells. An import whose gateway died is shown as interrupted; the same file again makes nothing
twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, BinaryIO

import structlog

from services.gateway.access import Scope
from services.gateway.commands import SOURCE
from shared.clock import Clock
from shared.ending import ended
from shared.events import Envelope
from shared.events.lead import LeadCreated
from shared.ids import new_id
from shared.lead_file import Format, Row, id_of, rows_of
from shared.messaging.errors import MessagingError
from shared.messaging.publisher import Publisher
from shared.messaging.topology import COMMANDS, bulk_key_of
from shared.persistence.mongo import Collection, Database

log = structlog.get_logger(__name__)

#: Rows published before progress is written; all of them are confirmed.
AT_ONCE = 200
#: Bad rows a report holds; the others are counted.
MOST_PROBLEMS = 1_000
#: Without progress for so long, an import's gateway is gone.
SILENT_SECONDS = 60
KEPT_DAYS = 90


@dataclass(frozen=True, slots=True)
class Order:
    """What to import, for whom. ``source`` is read from its beginning and closed."""

    organization_id: str
    actor: str
    funnel_id: str
    file_name: str | None
    source: BinaryIO
    form: Format
    mapping: Mapping[str, str]


class Imports:
    """Collection ``lead_imports`` of the gateway's database. An import runs in the process that took its file."""

    def __init__(self, database: Database, publisher: Publisher, clock: Clock) -> None:
        self._imports = database.collection("lead_imports")
        self._publisher = publisher
        self._clock = clock
        self._running: set[asyncio.Task[None]] = set()

    @property
    def collection(self) -> Collection:
        return self._imports

    async def prepare(self) -> None:
        """Makes the indexes."""
        await self._imports.create_index([("organization_id", 1), ("started_at", -1), ("_id", 1)])
        await self._imports.create_index([("expires_at", 1)], expireAfterSeconds=0)

    async def start(self, order: Order) -> str:
        """Begins; answers the import's id."""
        import_id, now = str(new_id()), self._clock.wall()
        await self._imports.insert_one(
            {
                "_id": import_id,
                "organization_id": order.organization_id,
                "state": "running",
                "file_name": order.file_name,
                "funnel_id": order.funnel_id,
                "columns": list(order.form.columns),
                "mapping": [[column, target] for column, target in order.mapping.items()],
                "rows": None,
                "handled": 0,
                "accepted": 0,
                "rejected": 0,
                "problems": [],
                "started_by": order.actor,
                "started_at": now,
                "updated_at": now,
                "finished_at": None,
                "expires_at": now + timedelta(days=KEPT_DAYS),
            }
        )
        task = asyncio.create_task(self._run(import_id, order), name=f"import {import_id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return import_id

    async def close(self) -> None:
        """What still runs is interrupted."""
        await ended(*self._running)

    def shown(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Progress, then the report. ``rejected`` counts bad rows; ``problems`` names the first of them by line and
        field."""
        state = document["state"]
        silent = self._clock.wall() - document["updated_at"] > timedelta(seconds=SILENT_SECONDS)
        hidden = {"_id", "organization_id", "expires_at", "mapping"}
        return {
            **{name: value for name, value in document.items() if name not in hidden},
            "id": document["_id"],
            "mapping": dict(document["mapping"]),
            "state": "interrupted" if state == "running" and silent else state,
        }

    async def one(self, scope: Scope, import_id: str) -> dict[str, Any] | None:
        return await self._imports.find_one(scope.filter({"_id": import_id}))

    async def _run(self, import_id: str, order: Order) -> None:
        state = "interrupted"
        try:
            total = await asyncio.to_thread(_count, order)
            await self._note(import_id, {"rows": total})
            order.source.seek(0)
            rows = rows_of(order.source, order.form, order.mapping, order.organization_id, order.funnel_id)
            noted = 0
            while chunk := await asyncio.to_thread(_next, rows):
                noted = await self._publish(import_id, order, chunk, noted)
            state = "finished"
        except MessagingError as error:
            log.warning("import_interrupted", import_id=import_id, error=str(error))
        finally:
            order.source.close()
            await self._note(import_id, {"state": state, "finished_at": self._clock.wall()})

    async def _publish(self, import_id: str, order: Order, chunk: list[Row], noted: int) -> int:
        """Answers how many problems are noted by now."""
        now = self._clock.now()
        good = [_order_of(row.body, order, now) for row in chunk if row.body is not None]
        await asyncio.gather(*(self._publisher.publish(COMMANDS, bulk_key_of(each), [each]) for each in good))
        bad = [{"line": row.line, "field": row.field, "problem": row.problem} for row in chunk if row.body is None]
        shown = bad[: MOST_PROBLEMS - noted]
        await self._imports.update_one(
            {"_id": import_id},
            {
                "$inc": {"handled": len(chunk), "accepted": len(good), "rejected": len(bad)},
                "$push": {"problems": {"$each": shown}},
                "$set": {"updated_at": self._clock.wall()},
            },
        )
        return noted + len(shown)

    async def _note(self, import_id: str, fields: dict[str, Any]) -> None:
        await self._imports.update_one({"_id": import_id}, {"$set": {**fields, "updated_at": self._clock.wall()}})


def _order_of(body: Mapping[str, Any], order: Order, now: datetime) -> Envelope:
    """What a row says, on behalf of who imports it."""
    return Envelope(
        id=id_of(body),
        message=LeadCreated.model_validate({**body, "occurred_at": now}),
        source=SOURCE,
        time=now,
        organization_id=order.organization_id,
        actor=order.actor,
    )


def _count(order: Order) -> int:
    order.source.seek(0)
    return sum(1 for _ in rows_of(order.source, order.form, order.mapping, order.organization_id, order.funnel_id))


def _next(rows: Iterator[Row]) -> list[Row]:
    return list(islice(rows, AT_ONCE))
