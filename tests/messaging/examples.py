"""Envelopes to send."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from shared.events import Envelope
from shared.events.enrollment import PauseEnrollment
from shared.events.lead import TagLead

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
LEAD = UUID("11111111-1111-4111-8111-111111111111")
ENROLLMENT = UUID("22222222-2222-4222-8222-222222222222")


def pause(id_: str = "c-1") -> Envelope:
    """An order to pause."""
    return Envelope(
        id=id_,
        message=PauseEnrollment(enrollment_id=ENROLLMENT),
        source="test",
        time=NOW,
        organization_id="demo",
        lead_id=LEAD,
        actor="member:m1",
    )


def tag(number: int) -> Envelope:
    """The n-th of many orders."""
    return Envelope(
        id=f"t-{number}",
        message=TagLead(lead_id=LEAD, add=[f"tag{number}"]),
        source="test",
        time=NOW,
        organization_id="demo",
    )
