"""Dead letters: drained from ``tendril.dead`` into a collection, where they are listed, requeued with the same id, or
dropped."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson
import structlog
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection
from bson import Binary
from pymongo import UpdateOne

from services.gateway.access import Scope
from services.gateway.directory import Directory
from services.gateway.errors import Conflict, NotFound
from shared.clock import Clock
from shared.ending import ended
from shared.faults import crash_point
from shared.messaging import topology
from shared.messaging.connection import BROKER_ERRORS, connect
from shared.messaging.frames import MAX_FRAME_BYTES
from shared.messaging.publisher import Publisher
from shared.persistence.mongo import Database, is_unavailable

#: Longest body kept as a whole: MongoDB takes documents of 16 MiB, and no service takes a longer body than this.
KEEP_BYTES = MAX_FRAME_BYTES
#: Characters of a body that a list shows.
EXCERPT = 2_000
PREFETCH = 50
RETRY_SECONDS = 1.0
COLLECTION = "dead_letters"

_log = structlog.get_logger(__name__)


class DeadLetters:
    """Collection ``dead_letters`` of the gateway's database. Any number of gateways drain together."""

    def __init__(self, url: str, database: Database, publisher: Publisher, clock: Clock, directory: Directory) -> None:
        self._url = url
        self._directory = directory
        self.collection = database.collection(COLLECTION)
        self._publisher = publisher
        self._clock = clock
        self._connection: AbstractRobustConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Makes the indexes."""
        await self.collection.create_index([("organization_id", 1), ("died_at", -1), ("_id", 1)])
        await self.collection.create_index([("lead_id", 1)])

    def start(self) -> None:
        """Begins to drain, as soon as the broker is there."""
        self._task = asyncio.create_task(self._begin(), name="dead letters")

    async def close(self) -> None:
        """Stops draining."""
        await ended(self._task)
        if self._connection is not None:
            with suppress(*BROKER_ERRORS):
                await asyncio.wait_for(self._connection.close(), 3)

    async def _begin(self) -> None:
        while True:
            try:
                connection = self._connection = await connect(self._url, name="gateway dead letters")
                channel = await connection.channel(publisher_confirms=False)
                await channel.set_qos(prefetch_count=PREFETCH)
                await topology.declare(channel)
                queue = await channel.get_queue(topology.QUEUE_DEAD)
                await queue.consume(self._take)
            except BROKER_ERRORS as error:
                _log.warning("dead letters wait for the broker", error=repr(error))
                if self._connection is not None:
                    with suppress(*BROKER_ERRORS):
                        await asyncio.wait_for(self._connection.close(), 3)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _take(self, message: AbstractIncomingMessage) -> None:
        document = document_of(message, self._clock.wall())
        try:
            document["organization_id"] = await self._directory.owner(document["organization_id"])
            # The same letter drained twice is one document.
            await self.collection.bulk_write(
                [UpdateOne({"_id": document["_id"]}, {"$setOnInsert": document}, upsert=True)]
            )
        except Exception as error:  # noqa: BLE001
            if not is_unavailable(error):
                _log.error("dead letter not stored", exc_info=error)
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(*BROKER_ERRORS):
                await message.nack(requeue=True)
            return
        crash_point("gateway.dead_letter_stored")
        with suppress(*BROKER_ERRORS):
            await message.ack()

    async def find(self, scope: Scope, letter_id: str) -> dict[str, Any]:
        """Raises NotFound."""
        found = await self.collection.find_one(scope.filter({"_id": letter_id}))
        if found is None:
            raise NotFound("dead letter")
        return found

    async def whole(self, scope: Scope, letter_id: str) -> dict[str, Any]:
        """Raises NotFound, and Conflict for one that is not kept as a whole."""
        letter = await self.find(scope, letter_id)
        if letter.get("cut"):
            raise Conflict(f"its body of {letter['size']} bytes is longer than any service takes", code="too_long")
        return letter

    async def requeue(self, scope: Scope, letter_id: str) -> None:
        """Back to where it came from, with the same id; then it is gone from here. Raises NotFound, BrokerAway,
        PublishUnknown, and Conflict for one that is not kept as a whole."""
        letter = await self.whole(scope, letter_id)
        # By its own exchange and key where known: funnels' messages are read by their routing key.
        exchange, key = (letter["exchange"], letter["routing_key"]) if letter["exchange"] else ("", letter["queue"])
        await self._publisher.publish_body(
            exchange,
            key,
            bytes(letter["body"]),
            content_type=letter["content_type"] or "application/json",
            message_id=letter["message_id"],
            headers=letter["headers"],
        )
        crash_point("gateway.dead_letter_requeued")
        await self.collection.delete_one({"_id": letter_id})

    async def drop(self, scope: Scope, letter_id: str) -> None:
        """Raises NotFound."""
        await self.find(scope, letter_id)
        await self.collection.delete_one({"_id": letter_id})


def document_of(message: AbstractIncomingMessage, now: datetime) -> dict[str, Any]:
    """A dead letter as it is kept. ``organization_id`` is what the body says, None when it says nothing. Of a body
    longer than ``KEEP_BYTES`` only the beginning is kept, and ``cut`` is true."""
    headers = dict(message.headers)
    death = _first(headers.get("x-death"))
    queue = str(headers.get("x-queue") or headers.get("x-first-death-queue") or message.routing_key or "")
    exchange = str(headers.get("x-exchange") or death.get("exchange") or "")
    key = str(headers.get("x-routing-key") or _first_text(death.get("routing-keys")) or "")
    message_id = message.message_id or _text(headers.get("x-message-id"))
    died_at = _instant(headers.get("x-died-at")) or _aware(death.get("time"), now) or now
    reason = str(headers.get("x-reason") or headers.get("x-first-death-reason") or "unknown")
    content = _content(message.body)
    identity = hashlib.sha256("|".join((queue, message_id or "", died_at.isoformat())).encode() + message.body)
    return {
        "_id": identity.hexdigest()[:32],
        "queue": queue,
        "reason": reason,
        "reasons": _reasons(headers.get("x-reasons"), reason),
        "message_id": message_id,
        "organization_id": _text(content.get("organizationid")) or _text(content.get("organization_id")),
        "lead_id": _text(headers.get("x-lead-id")) or _text(content.get("leadid")),
        "type": _text(content.get("type")),
        "exchange": exchange,
        "routing_key": key,
        "content_type": message.content_type,
        "headers": {name: value for name, value in headers.items() if not name.startswith("x-") and _plain(value)},
        "body": Binary(message.body[:KEEP_BYTES]),
        "excerpt": text_of(message.body[: 4 * EXCERPT])[:EXCERPT],
        "size": len(message.body),
        "cut": len(message.body) > KEEP_BYTES,
        "died_at": died_at,
        "drained_at": now,
    }


def text_of(body: bytes) -> str:
    """A body as text, whatever it is."""
    return bytes(body).decode("utf-8", errors="replace")


def _content(body: bytes) -> Mapping[str, Any]:
    """What the body says of itself, as far as it can be read: an event's own attributes, with its data's
    organization."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    first = data[0] if isinstance(data, list) and data else data
    if not isinstance(first, dict):
        return {}
    inner = first.get("data")
    return {**(inner if isinstance(inner, dict) else {}), **first}


def _reasons(header: Any, reason: str) -> list[dict[str, str]]:
    try:
        found = orjson.loads(header) if isinstance(header, str | bytes) else None
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, list) else [{"field": "", "problem": f"given up by the broker: {reason}"}]


def _first(value: Any) -> Mapping[str, Any]:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else {}


def _first_text(value: Any) -> str | None:
    return str(value[0]) if isinstance(value, list) and value else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _instant(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _aware(value: Any, now: datetime) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=now.tzinfo)
