"""Questions to the reader, and the one form of answer that every request gets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field

from shared.events.message import Command, Instant, Value


class QueryEventsPage(Command):
    """A page of the log after ``after`` (exclusive), in log order, up to ``limit``. The answer's result:
    ``{"events": [CloudEvent, …], "last": <highest position looked at>, "end": <newest position in the log>}``."""

    TOPIC = "query.events_page.v1"
    after: int = Field(default=0, ge=0)
    up_to: int | None = None
    limit: int = Field(default=500, ge=1, le=5_000)
    partitions: list[int] | None = None
    organization_id: str | None = None


class QueryAggregateEvents(Command):
    """Events of one aggregate; result ``{"events": [CloudEvent, …]}``. Versions count from 1."""

    TOPIC = "query.aggregate_events.v1"
    aggregate_id: UUID
    after_version: int = 0
    up_to_version: int | None = None
    at: Instant | None = None
    limit: int = Field(default=1_000, ge=1, le=5_000)


class QueryEnrollmentState(Command):
    """An enrollment as it was; result is the enrollment document of the API plus ``would_do``."""

    TOPIC = "query.enrollment_state.v1"
    enrollment_id: UUID
    at: Instant | None = None
    version: int | None = None


class QueryTimers(Command):
    """Counts of timers; result ``{"waiting", "due", "blocked", "oldest_due_seconds"}``."""

    TOPIC = "query.timers.v1"


class QueryOrganization(Command):
    """Is there such an organization, and has it members? For the first start, before any view exists. Result
    ``{"found": bool, "members": int}``."""

    TOPIC = "query.organization.v1"
    organization_id: str


class Problem(Value):
    """RFC 9457, without ``type``: the gateway adds it from ``code``."""

    code: str
    title: str
    detail: str
    status: int = 422
    errors: list[dict[str, str]] = []


class Answer(Value):
    """Answer to a command or query. ``position`` is ``<partition>-<position>`` of the last event written, None when
    nothing was."""

    ok: bool
    result: dict[str, Any] = {}
    position: str | None = None
    problem: Problem | None = None
