"""Activities of a lead that people write down: calls, meetings, e-mails, notes."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import EmailStr, Field

from services.gateway.bodies import Body
from services.gateway.context import Context, may
from services.gateway.shapes import Created
from shared.events import activity as orders
from shared.events.message import Instant
from shared.events.patterns import WEB_ADDRESS
from shared.ids import derived_id

router = APIRouter(prefix="/leads/{lead_id}", tags=["leads"])

Note = Annotated[str | None, Field(max_length=orders.MAX_NOTE)]
Line = Annotated[str | None, Field(max_length=orders.MAX_LINE)]
Addresses = Annotated[list[EmailStr], Field(max_length=orders.MOST_PEOPLE)]


class _Activity(Body):
    metadata: orders.Metadata = Field(default={}, description="Whatever else is to be kept with it.")


class Call(_Activity):
    """``at``: when it began, not ahead of now; just now when left out."""

    at: Instant | None = None
    direction: orders.Direction = "outbound"
    outcome: orders.CallOutcome
    duration_seconds: int | None = Field(default=None, ge=0, le=orders.DAY_SECONDS)
    note: Note = None
    recording_url: str | None = Field(default=None, max_length=orders.MAX_LINE, pattern=WEB_ADDRESS)


class Meeting(_Activity):
    """``at``: when it begins or began. One ahead books it: sequences that stop on a booked meeting stop. One that was
    held or missed is not ahead."""

    at: Instant
    outcome: orders.MeetingOutcome | None = None
    title: Line = None
    place: Line = None
    attendees: list[orders.Person] = Field(default=[], max_length=orders.MOST_PEOPLE)
    duration_minutes: int | None = Field(default=None, ge=0, le=orders.DAY_MINUTES)
    note: Note = None


class Email(_Activity):
    """Written or received elsewhere, ``at`` not ahead of now. An ``inbound`` one counts as a reply."""

    at: Instant | None = None
    direction: orders.Direction = "outbound"
    subject: str = Field(min_length=1, max_length=orders.MAX_LINE)
    body: str | None = Field(default=None, max_length=orders.MAX_BODY)
    to: Addresses = []
    cc: Addresses = []


class NewNote(_Activity):
    text: str = Field(min_length=1, max_length=orders.MAX_NOTE)


@router.post("/calls", response_model=Created, status_code=201)
async def log_call(lead_id: UUID, body: Call, context: Context = may("leads:write")) -> Response:
    """Logs a call. ``interested`` and ``not_interested`` are an answer: sequences that stop on a reply stop;
    ``meeting_booked`` books a meeting."""
    return await context.change(
        lambda command_id: orders.LogCall(lead_id=lead_id, activity_id=_id(command_id), **body.model_dump()),
        status=201,
    )


@router.post("/meetings", response_model=Created, status_code=201)
async def log_meeting(lead_id: UUID, body: Meeting, context: Context = may("leads:write")) -> Response:
    """Logs a meeting that is ahead or took place."""
    return await context.change(
        lambda command_id: orders.LogMeeting(lead_id=lead_id, activity_id=_id(command_id), **body.model_dump()),
        status=201,
    )


@router.post("/emails", response_model=Created, status_code=201)
async def log_email(lead_id: UUID, body: Email, context: Context = may("leads:write")) -> Response:
    """Logs an e-mail that was written or received elsewhere; nothing is sent."""
    return await context.change(
        lambda command_id: orders.LogEmail(lead_id=lead_id, activity_id=_id(command_id), **body.model_dump()),
        status=201,
    )


@router.post("/notes", response_model=Created, status_code=201)
async def log_note(lead_id: UUID, body: NewNote, context: Context = may("leads:write")) -> Response:
    """Keeps a note."""
    return await context.change(
        lambda command_id: orders.LogNote(lead_id=lead_id, activity_id=_id(command_id), **body.model_dump()),
        status=201,
    )


def _id(command_id: str) -> UUID:
    return derived_id("activity", command_id)
