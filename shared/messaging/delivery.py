"""What a consumer's handler is given, and what it may answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from shared.events import Envelope
from shared.events.query import Answer
from shared.messaging import frames
from shared.messaging.errors import MessagingError
from shared.messaging.publisher import Publisher

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message taken from a queue. ``envelopes`` is never empty; ``unreadable`` are members of a frame that are
    dead-lettered one by one
    once the handler has returned. It is acked when the handler returns."""

    envelopes: list[Envelope]
    queue: str
    exchange: str
    routing_key: str
    headers: dict[str, Any]
    message_id: str | None
    reply_to: str | None
    correlation_id: str | None
    redelivered: bool
    body: bytes = field(repr=False)
    content_type: str | None
    unreadable: list[frames.Unreadable] = field(default_factory=list)
    publisher: Publisher = field(repr=False)

    async def reply(self, answer: Answer) -> None:
        """Answers who asked; without ``reply_to`` nothing happens. An answer that cannot be delivered is only logged:
        the work is done, and who asks again with the same id gets the same answer."""
        if not self.reply_to:
            return
        try:
            await self.publisher.publish_body(
                "",
                self.reply_to,
                answer.model_dump_json().encode(),
                content_type=frames.JSON,
                message_id=None,
                correlation_id=self.correlation_id,
                persistent=False,
            )
        except MessagingError as error:
            _log.info("answer not delivered", queue=self.queue, error=str(error))


@dataclass(frozen=True, slots=True)
class Subscription:
    """A queue, how many of its messages are held at a time, and what is done with each."""

    queue: str
    prefetch: int
    handle: Callable[[Delivery], Awaitable[None]]

    def __post_init__(self) -> None:
        if not 1 <= self.prefetch <= 65_535:
            raise ValueError(f"prefetch of {self.queue} must be 1 to 65535, got {self.prefetch}")
