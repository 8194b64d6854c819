"""Steps and envelopes for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from services.dispatcher.preparing import read_step
from services.dispatcher.states import Step
from shared.events import Envelope
from shared.events.dispatch import Attached, DressedStep, Sender, StopOrder, StopScope
from shared.ids import dispatch_id

T = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
ORGANIZATION = "demo"
LEAD = UUID("11111111-1111-4111-8111-111111111111")
SEQUENCE = UUID("22222222-2222-4222-8222-222222222222")
CONTENT = {
    "subject": "Hi {{ first_name }}",
    "html": '<p>Look at <a href="https://example.com/a">this</a>.</p>',
    "text": None,
}
VALUES: dict[str, Any] = {"first_name": "Ada", "last_name": "Byron", "email": "ada@example.com", "company": "Engines"}


def dressed(**changes: Any) -> DressedStep:
    """A due step for the lead; everything can be replaced."""
    enrollment = changes.pop("enrollment_id", None) or uuid4()
    execution = changes.pop("execution", 1)
    step_id = changes.pop("step_id", "welcome")
    fields: dict[str, Any] = {
        "enrollment_id": enrollment,
        "sequence_id": SEQUENCE,
        "version": 1,
        "execution": execution,
        "attempt": 1,
        "step_id": step_id,
        "channel": "email",
        "dispatch_id": dispatch_id(ORGANIZATION, enrollment, execution, step_id),
        "due_at": T,
        "valid_until": datetime(2100, 1, 1, tzinfo=UTC),
        "address": "ada@example.com",
        "address_hash": "aa",
        "domain_hash": "dd",
        "content": CONTENT,
        "lead": VALUES,
        "sender": Sender(sender_id="s1", name="Grace Hopper", email="grace@sender.example"),
        "postal_address": "1 Main Street, Berlin",
        **changes,
    }
    return DressedStep(**fields)


def envelope(step: DressedStep, *, position: int = 10, lead_id: UUID = LEAD, at: datetime = T) -> Envelope:
    """The step as it travels."""
    return Envelope(
        id=f"{step.dispatch_id}:{step.attempt}",
        message=step,
        source="tendril/enrollment",
        time=at,
        organization_id=ORGANIZATION,
        subject=step.enrollment_id,
        lead_id=lead_id,
        partition=0,
        position=position,
    )


def step_of(step: DressedStep | None = None, *, position: int = 10, at: datetime = T) -> Step:
    """What the ledger knows of a step."""
    return read_step(envelope(step or dressed(), position=position, at=at))[1]


def stop(scope: StopScope, key: str, before: int | None, *, at: datetime = T, **more: Any) -> StopOrder:
    """An order to stop; provisional without ``before``."""
    return StopOrder(scope=scope, key=key, before=before, reason="paused", provisional=before is None, at=at, **more)


def order_envelope(message: Any, *, organization_id: str | None = ORGANIZATION) -> Envelope:
    """An order as it travels."""
    return Envelope(
        id=str(uuid4()),
        message=message,
        source="test",
        time=T,
        organization_id=organization_id,
        subject=None,
        lead_id=LEAD,
    )


LATER = timedelta(seconds=31)


class Store:
    """Files by hash; counts how often one was read."""

    def __init__(self, *files: bytes) -> None:
        self.files = {sha256(data).hexdigest(): data for data in files}
        self.reads = 0

    async def get(self, organization_id: str, digest: str) -> bytes | None:
        assert organization_id == ORGANIZATION
        self.reads += 1
        return self.files.get(digest)


def attached(data: bytes, name: str = "report.pdf", content_type: str = "application/pdf") -> Attached:
    """A file as a dressed step names it."""
    return Attached(name=name, content_type=content_type, size=len(data), sha256=sha256(data).hexdigest())
