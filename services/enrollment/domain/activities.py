"""Logged calls, meetings, e-mails and notes, and what follows from them for the lead's enrollments.

A lead that answered (a call that ended in ``interested`` or ``not_interested``, an e-mail it wrote) meets the stop rule
``reply``, as a reply to a message does. A meeting meets ``meeting_booked`` in every enrollment that began before it:
one ahead of us in all of them, one long past in none. What was cancelled books nothing.
"""

from __future__ import annotations

from services.enrollment.domain import moments
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.lead_facts import book_meeting, known_lead, stop_enrollments
from services.enrollment.domain.work import Work
from shared.events.activity import (
    LeadCallLogged,
    LeadEmailLogged,
    LeadMeetingLogged,
    LeadNoteLogged,
    LogCall,
    LogEmail,
    LogMeeting,
    LogNote,
)
from shared.events.why import Why

ANSWERS = frozenset({"interested", "not_interested"})
#: Outcomes of a meeting whose time has come.
TOOK_PLACE = frozenset({"held", "no_show"})


def log_call(work: Work, command: LogCall) -> None:
    """Raises UnknownTarget, LeadErasedAlready, or InvalidMoment for a call that is still to come."""
    lead = known_lead(work, command.lead_id)
    moments.done(work, "at", command.at)
    at = command.at or work.now
    work.on_lead(
        lead.id,
        LeadCallLogged(
            activity_id=command.activity_id,
            at=at,
            direction=command.direction,
            outcome=command.outcome,
            duration_seconds=command.duration_seconds,
            note=command.note,
            recording_url=command.recording_url,
            metadata=command.metadata or None,
        ),
    )
    work.result["activity_id"] = str(command.activity_id)
    if command.outcome in ANSWERS:
        _answered(work, lead, "call", str(command.activity_id))
    elif command.outcome == "meeting_booked":
        book_meeting(work, lead, at=None, place=None, occurred_at=at)


def log_meeting(work: Work, command: LogMeeting) -> None:
    """Raises UnknownTarget, LeadErasedAlready, or InvalidMoment for one held or missed that is still to come."""
    lead = known_lead(work, command.lead_id)
    if command.outcome in TOOK_PLACE:
        moments.done(work, "at", command.at)
    ahead = command.at > work.now
    outcome = command.outcome or ("scheduled" if ahead else "held")
    work.on_lead(
        lead.id,
        LeadMeetingLogged(
            activity_id=command.activity_id,
            at=command.at,
            outcome=outcome,
            duration_minutes=command.duration_minutes,
            title=command.title,
            place=command.place,
            attendees=command.attendees or None,
            note=command.note,
            metadata=command.metadata or None,
        ),
    )
    work.result["activity_id"] = str(command.activity_id)
    if outcome != "cancelled":
        booked_at = work.now if ahead else command.at  # when a past one was booked nobody says: at the latest then
        book_meeting(work, lead, at=command.at, place=command.place, occurred_at=booked_at)


def log_email(work: Work, command: LogEmail) -> None:
    """Raises UnknownTarget, LeadErasedAlready, or InvalidMoment for an e-mail that is still to come."""
    lead = known_lead(work, command.lead_id)
    moments.done(work, "at", command.at)
    work.on_lead(
        lead.id,
        LeadEmailLogged(
            activity_id=command.activity_id,
            at=command.at or work.now,
            direction=command.direction,
            subject=command.subject,
            body=command.body,
            to=command.to or None,
            cc=command.cc or None,
            metadata=command.metadata or None,
        ),
    )
    work.result["activity_id"] = str(command.activity_id)
    if command.direction == "inbound":
        _answered(work, lead, "email", str(command.activity_id))


def log_note(work: Work, command: LogNote) -> None:
    """Raises UnknownTarget or LeadErasedAlready."""
    lead = known_lead(work, command.lead_id)
    work.on_lead(
        lead.id,
        LeadNoteLogged(activity_id=command.activity_id, text=command.text, metadata=command.metadata or None),
    )
    work.result["activity_id"] = str(command.activity_id)


def _answered(work: Work, lead: Lead, activity: str, activity_id: str) -> None:
    why = Why(rule="reply", inputs={"logged": activity, "activity": activity_id})
    stop_enrollments(work, lead.id, "reply", why)
