"""Dead letters: messages that were given up, kept with the reason."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import orjson
from aio_pika.abc import AbstractIncomingMessage

from shared.events import InvalidMessage, MessageError
from shared.messaging.publisher import Publisher
from shared.messaging.topology import DEAD

#: Messages whose failures are remembered at a time; the oldest is forgotten first.
REMEMBERED = 10_000
#: Longest text of reasons in a header (a frame of headers is limited to 128 KiB).
MAX_REASONS = 100


class Failures:
    """Failures per message in this process: by message id, else by a hash of the body."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, int] = OrderedDict()

    def key_of(self, raw: AbstractIncomingMessage) -> str:
        """What a message is counted under."""
        return raw.message_id or hashlib.sha256(raw.body).hexdigest()

    def count(self, key: str) -> int:
        """One more; how many there are now."""
        failures = self._counts.pop(key, 0) + 1
        self._counts[key] = failures
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        return failures

    def forget(self, key: str) -> None:
        """The message is done with."""
        if self._counts:
            self._counts.pop(key, None)


def reasons_of(error: MessageError) -> list[dict[str, str]]:
    """Field by field; an empty field means the whole body."""
    if isinstance(error, InvalidMessage):
        return error.reasons
    return [{"field": "type", "problem": str(error)}]


async def dead_letter(
    publisher: Publisher,
    queue: str,
    body: bytes,
    content_type: str,
    headers: dict[str, Any],
    reasons: list[dict[str, str]],
    error: str,
    *,
    died_at: datetime | None = None,
) -> None:
    """Publishes to ``tendril.dead`` with the queue's name as routing key.

    ``error`` is a word: ``invalid``, ``failed``. Headers added: ``x-reason``, ``x-reasons`` (JSON list of ``{"field",
    "problem"}``),
    ``x-queue``, ``x-message-id`` and ``x-lead-id`` where known, ``x-died-at``. Raises PublishUnknown or BrokerAway.
    """
    message_id, lead_id = _known(body)
    marks = {
        "x-reason": error,
        "x-reasons": orjson.dumps(reasons[:MAX_REASONS]).decode(),
        "x-queue": queue,
        "x-died-at": (died_at or datetime.now(UTC)).isoformat(),
    }
    if lead_id and "x-lead-id" not in headers:
        marks["x-lead-id"] = lead_id
    message_id = headers.get("x-message-id") or message_id
    if message_id:
        marks["x-message-id"] = message_id
    await publisher.publish_body(
        DEAD, queue, body, content_type=content_type, headers={**headers, **marks}, message_id=message_id
    )


def _known(body: bytes) -> tuple[str | None, str | None]:
    """Id and lead of a body that is a CloudEvent, else (None, None)."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, None
    first = data[0] if isinstance(data, list) and data else data
    if not isinstance(first, dict):
        return None, None
    message_id, lead_id = first.get("id"), first.get("leadid")
    return (
        message_id if isinstance(message_id, str) and len(message_id) <= 255 else None,
        lead_id if isinstance(lead_id, str) and len(lead_id) <= 64 else None,
    )
