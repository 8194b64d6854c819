"""Activity: what a person did with a lead outside any sequence and wrote down: calls, meetings, e-mails, notes.

The events stand in the lead's own stream. What was said is personal; when, how long and with what outcome is not.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from shared.events.free_fields import storable
from shared.events.message import Command, Event, Instant, Pii, PiiMap, PiiTexts
from shared.events.patterns import WEB_ADDRESS

Direction = Literal["outbound", "inbound"]
CallOutcome = Literal[
    "connected", "voicemail", "no_answer", "busy", "wrong_number", "interested", "not_interested", "meeting_booked"
]
MeetingOutcome = Literal["scheduled", "held", "no_show", "cancelled"]

MAX_NOTE = 10_000
MAX_BODY = 100_000
MAX_LINE = 2_000
MOST_PEOPLE = 100
DAY_SECONDS = 86_400
DAY_MINUTES = 1_440

Address = Annotated[str, Field(min_length=3, max_length=320)]
Person = Annotated[str, Field(min_length=1, max_length=320)]
#: Whatever the writer wants to keep beside it.
Metadata = Annotated[dict[str, Any], AfterValidator(storable), Field(max_length=100)]


class _LogActivity(Command):
    lead_id: UUID
    activity_id: UUID
    metadata: Metadata = {}


class LogCall(_LogActivity):
    """``at`` None: just now. ``interested`` and ``not_interested`` are the lead's answer, as a reply is;
    ``meeting_booked`` books one."""

    TOPIC = "lead.log_call.v1"
    at: Instant | None = None
    direction: Direction = "outbound"
    outcome: CallOutcome
    duration_seconds: int | None = Field(default=None, ge=0, le=DAY_SECONDS)
    note: str | None = Field(default=None, max_length=MAX_NOTE)
    recording_url: str | None = Field(default=None, max_length=MAX_LINE, pattern=WEB_ADDRESS)


class LogMeeting(_LogActivity):
    """``at``: when it begins or began. ``outcome`` None: ``scheduled`` when it is still ahead, else ``held``."""

    TOPIC = "lead.log_meeting.v1"
    at: Instant
    outcome: MeetingOutcome | None = None
    title: str | None = Field(default=None, max_length=MAX_LINE)
    place: str | None = Field(default=None, max_length=MAX_LINE)
    attendees: list[Person] = Field(default=[], max_length=MOST_PEOPLE)
    duration_minutes: int | None = Field(default=None, ge=0, le=DAY_MINUTES)
    note: str | None = Field(default=None, max_length=MAX_NOTE)


class LogEmail(_LogActivity):
    """An e-mail written or received elsewhere. An ``inbound`` one is a reply."""

    TOPIC = "lead.log_email.v1"
    at: Instant | None = None
    direction: Direction = "outbound"
    subject: str = Field(min_length=1, max_length=MAX_LINE)
    body: str | None = Field(default=None, max_length=MAX_BODY)
    to: list[Address] = Field(default=[], max_length=MOST_PEOPLE)
    cc: list[Address] = Field(default=[], max_length=MOST_PEOPLE)


class LogNote(_LogActivity):
    TOPIC = "lead.log_note.v1"
    text: str = Field(min_length=1, max_length=MAX_NOTE)


class LeadCallLogged(Event):
    TOPIC = "lead.call_logged.v1"
    activity_id: UUID
    at: Instant
    direction: Direction
    outcome: str
    duration_seconds: int | None = None
    note: Pii = None
    recording_url: Pii = None
    metadata: PiiMap = None


class LeadMeetingLogged(Event):
    """``at``: when it begins or began, UTC."""

    TOPIC = "lead.meeting_logged.v1"
    activity_id: UUID
    at: Instant
    outcome: str
    duration_minutes: int | None = None
    title: Pii = None
    place: Pii = None
    attendees: PiiTexts = None
    note: Pii = None
    metadata: PiiMap = None


class LeadEmailLogged(Event):
    TOPIC = "lead.email_logged.v1"
    activity_id: UUID
    at: Instant
    direction: Direction
    subject: Pii = None
    body: Pii = None
    to: PiiTexts = None
    cc: PiiTexts = None
    metadata: PiiMap = None


class LeadNoteLogged(Event):
    TOPIC = "lead.note_logged.v1"
    activity_id: UUID
    text: Pii = None
    metadata: PiiMap = None
