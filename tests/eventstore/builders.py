"""Envelopes and rows to try the store with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.enrollment.domain.work import Change
from shared.events import Envelope, Message
from shared.events.enrollment import EnrollmentActivated, EnrollmentCompleted
from shared.events.lead import LeadCaptured
from shared.events.why import Plan, TimerClass
from shared.ids import partition_of
from shared.persistence.eventstore import TimerRow

NOW = datetime(2026, 11, 20, 9, 0, 0, 250_000, tzinfo=UTC)
MASTER_KEY = b"m" * 32
ORGANIZATION = "demo"


def placed(
    message: Message,
    aggregate_id: UUID,
    version: int = 1,
    *,
    lead_id: UUID | None = None,
    organization_id: str = ORGANIZATION,
    at: datetime = NOW,
) -> Envelope:
    return Envelope(
        id="",
        message=message,
        source="/enrollment",
        time=at,
        organization_id=organization_id,
        subject=aggregate_id,
        lead_id=lead_id,
        aggregate_version=version,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        causation_id="cause-1",
        actor="system",
    )


def decided(change: Change, version: int, at: datetime) -> Envelope:
    """What the domain decided, as the ``version``-th event of its aggregate."""
    return Envelope(
        id=f"{change.id.hex}-{version}",
        message=change.event,
        source="tests",
        time=at,
        organization_id=change.organization_id,
        subject=change.id,
        lead_id=change.lead_id,
        partition=partition_of(change.lead_id or change.id),
        aggregate_version=version,
    )


def activated(aggregate_id: UUID, version: int = 1, *, organization_id: str = ORGANIZATION) -> Envelope:
    plan = Plan(step_id="welcome", execution=version, at=NOW)
    return placed(EnrollmentActivated(plan=plan), aggregate_id, version, organization_id=organization_id)


def completed(aggregate_id: UUID, version: int = 1) -> Envelope:
    return placed(EnrollmentCompleted(), aggregate_id, version)


def captured(lead_id: UUID, email: str = "ada@example.com", version: int = 1) -> Envelope:
    message = LeadCaptured(
        email=email, first_name="Ada", custom_fields={"budget": 5000, "notes": ["höflich"]}, occurred_at=NOW
    )
    return placed(message, lead_id, version, lead_id=lead_id)


def timer(
    aggregate_id: UUID,
    seconds: float = 0,
    *,
    name: str = "step",
    timer_class: TimerClass = TimerClass.FOLLOW_UP,
    organization_id: str = ORGANIZATION,
    blocked_on: str | None = None,
) -> TimerRow:
    """Due ``seconds`` after NOW, or blocked."""
    due_at = None if blocked_on else NOW + timedelta(seconds=seconds)
    return TimerRow(aggregate_id, name, organization_id, timer_class, due_at, blocked_on, 1, 1)
