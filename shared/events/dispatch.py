"""Orders to the dispatchers: dressed steps, stops, and what became of a send in doubt. Sent, never stored in the
log."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from shared.events.message import Command, Instant, Message, Value

#: A test message that waited longer is no longer what was asked for.
TEST_SECONDS = 60
StopScope = Literal["enrollment", "lead", "address", "domain", "sequence", "sender", "organization"]


class Sender(Value):
    sender_id: str
    name: str
    email: str


class WebhookCall(Value):
    """Another system to be called. ``headers`` are those of the definition."""

    url: str
    method: str
    headers: dict[str, str] = {}


class Appointment(Value):
    """The invitation that goes with a mail; its words stand in the content."""

    starts_at: Instant
    ends_at: Instant


class TemplateMessage(Value):
    """A template that the provider knows; its parameters stand in the content as ``parameter_1`` and on."""

    name: str
    language: str


class Attached(Value):
    """A file that goes with a mail. Its bytes are found by ``sha256`` in the organization's store of files."""

    name: str
    content_type: str
    size: int
    sha256: str


class DressedStep(Message):
    """A StepDue with all that is needed to send it, read at the moment of relaying: dispatchers depend on no view.

    The envelope carries organization, lead and ``position`` (of the StepDue in the log). ``content`` holds the
    templates by name (``subject``, ``html``, ``text``, ``preheader``; ``title``, ``location`` and ``description`` of an
    appointment; ``body`` of a call); ``lead`` the values for them. ``address`` is where to send: an e-mail address, a
    phone number, or the URL of a call. ``thread`` is the Message-ID to answer to, oldest first. ``kind`` is the step's.
    """

    TOPIC = "dispatch.step.v1"
    enrollment_id: UUID
    sequence_id: UUID
    version: int
    execution: int
    attempt: int
    step_id: str
    kind: str = "email"
    channel: str
    dispatch_id: UUID
    due_at: Instant
    valid_until: Instant
    address: str
    address_hash: str = ""
    domain_hash: str = ""
    content: dict[str, str | None]
    lead: dict[str, Any]
    sender: Sender
    postal_address: str = ""
    track_opens: bool = True
    thread: list[str] = []
    webhook: WebhookCall | None = None
    appointment: Appointment | None = None
    template: TemplateMessage | None = None
    attachments: list[Attached] = []
    reminder: bool = False  #: a watchdog's repeat: same attempt, answered from the ledger


class SendTest(Command):
    """Send this message once, for somebody to look at: marked as a test, without ledger, outcome or tracking. One that
    is older than ``TEST_SECONDS`` of machine time when it is taken is not sent. Answered with ``{"message_id"}``."""

    TOPIC = "dispatch.send_test.v1"
    step: DressedStep
    asked_at: Instant  #: machine time


class StopOrder(Command):
    """Nothing more goes out for this key, for every StepDue at a position below ``before`` (None: until lifted by a
    position made known later).

    Keys by scope: enrollment -> its id; lead -> ``<lead id>:<channel>``; address and domain -> keyed hash; sequence,
    sender, organization -> id. ``provisional`` marks the tracker's own: it holds until the log confirms it with a
    StopOrder that carries ``before``.
    """

    TOPIC = "stop.order.v1"
    scope: StopScope
    key: str
    before: int | None = None
    reason: str
    provisional: bool = False
    at: Instant
    answer_to: UUID | None = None  #: dispatch whose row is to be answered even when there is nothing to stop
    execution: int | None = None
    attempt: int | None = None


class SettleDispatch(Command):
    """What became of a send in doubt, as the write side recorded it."""

    TOPIC = "stop.settle_dispatch.v1"
    dispatch_id: UUID
    outcome: Literal["sent", "not_sent"]
    by: str = Field(max_length=200)


class ForgetLead(Command):
    """Clear rendered content and provider answers of a lead from the ledger; states and times stay."""

    TOPIC = "stop.forget_lead.v1"
    lead_id: UUID
