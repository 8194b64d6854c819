"""Engagement: what comes back for one dispatch, raw. A stream without decisions; its aggregate is
``engagement_id(enrollment_id, execution)``."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from shared.events.definition import Intent
from shared.events.enrollment import SignalKind
from shared.events.message import Event, Fact, Instant, Pii

MAX_REPLY_TEXT = 100_000


class RecordSignal(Fact):
    """A signal from the tracker. ``organization`` and ``lead`` stand in the envelope when the token named them; an
    address token names only ``enrollment_id`` and ``execution``, and the write side finds the rest.

    ``machine`` is the confidence (0 to 1) that no person did it, ``machine_reason`` why. A signal with ``machine`` of
    0.5 or more counts for nothing.
    ``count`` over 1 stands for that many equal hits beyond the cap.
    """

    TOPIC = "engagement.record_signal.v1"
    enrollment_id: UUID
    execution: int = Field(ge=1)
    channel: str = "email"
    signal: SignalKind
    at: Instant
    link: str | None = Field(default=None, max_length=4_096)
    machine: float = Field(default=0.0, ge=0, le=1)
    machine_reason: str | None = None
    client: str | None = Field(default=None, max_length=500)
    source: str = "pixel"  #: pixel, link, link_page, one_click, smtp_reply, smtp_bounce, …
    count: int = Field(default=1, ge=1)
    bounce_kind: Literal["hard", "soft"] | None = None
    bounce_status: str | None = Field(default=None, max_length=200)
    auto_reply: bool = False
    subject: str | None = Field(default=None, max_length=2_000)
    text: str | None = Field(default=None, max_length=MAX_REPLY_TEXT)
    intent: Intent | None = None
    returns_on: date | None = None  #: auto-reply: the day its writer is back
    whole: bool = True  #: unsubscribe: True for everything on the channel, False for this sequence only


class SignalReceived(Event):
    """One hit, as it came. ``counted`` tells whether it counts (a person, the first of its kind within the cap)."""

    TOPIC = "engagement.signal_received.v1"
    enrollment_id: UUID
    execution: int
    channel: str
    signal: SignalKind
    at: Instant
    link: str | None = None
    machine: float = 0.0
    machine_reason: str | None = None
    client: Pii = None
    source: str
    count: int = 1
    auto_reply: bool = False
    bounce_kind: str | None = None
    bounce_status: str | None = None
    detail: dict[str, Any] = {}
