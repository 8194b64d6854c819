"""Pages of the log, asked of a reader: to fill gaps in the feed and to build generations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.projector.errors import ReaderAway
from shared.clock import Clock
from shared.events.envelope import Envelope
from shared.events.query import QueryEventsPage
from shared.ids import new_id
from shared.messaging.errors import MessagingError
from shared.messaging.requests import Requester

#: Long enough for a reader that looks through 20 pages that hold little of what was asked.
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Page:
    """``events`` after the position asked for, in log order; nothing of these partitions is missing up to ``last``.
    ``end`` is the log's newest position.
    """

    events: Sequence[dict[str, Any]]
    last: int
    end: int


class Pages(Protocol):
    """Where pages come from."""

    async def page(self, after: int, up_to: int | None, partitions: Sequence[int], limit: int) -> Page:
        """The next page. Raises ReaderAway."""


class ReaderPages:
    """Pages from the enrollment service's reader, over RabbitMQ."""

    def __init__(self, requester: Requester, clock: Clock) -> None:
        self._requester = requester
        self._clock = clock

    async def page(self, after: int, up_to: int | None, partitions: Sequence[int], limit: int) -> Page:
        """The next page. Raises ReaderAway."""
        question = QueryEventsPage(after=after, up_to=up_to, limit=limit, partitions=list(partitions))
        envelope = Envelope(
            id=str(new_id()),
            message=question,
            source="tendril/projector",
            time=self._clock.now(),
            organization_id=None,
            actor="system",
        )
        try:
            answer = await self._requester.request(
                "tendril.commands", "query.events_page", envelope, timeout_seconds=TIMEOUT_SECONDS
            )
        except MessagingError as error:
            raise ReaderAway(str(error)) from error
        if not answer.ok:
            raise ReaderAway(answer.problem.detail if answer.problem else "the reader refused")
        result = answer.result
        return Page(result["events"], int(result["last"]), int(result["end"]))
