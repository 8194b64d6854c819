"""Past enrollments as a backtest needs them, read from the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any
from uuid import UUID

from services.enrollment.domain.lead import FIELDS, Lead
from services.enrollment.simulation.backtest import Past, Send
from services.enrollment.simulation.outside import Played, of_lead
from services.enrollment.simulation.simulator import Later
from services.enrollment.states import fold
from shared.events.enrollment import (
    CancelEnrollment,
    EngagementNoted,
    EnrollmentExited,
    EnrollmentPaused,
    EnrollmentResumed,
    EnrollmentStarted,
    PauseEnrollment,
    ResumeEnrollment,
    StepApproved,
    StepDoneByPerson,
    StepHandedToPerson,
    StepSent,
)
from shared.events.envelope import Envelope
from shared.events.lead import (
    EditLead,
    LeadBody,
    LeadBookedMeeting,
    LeadDetailsMerged,
    LeadJoinedSequence,
    LeadScored,
    LeadTagged,
    LeadUnsubscribed,
    LeadWon,
    ScoreLead,
    TagLead,
)
from shared.events.message import stored_as
from shared.persistence.eventstore import EventStore

#: What is read of an enrollment; nothing else in its stream says what happened from outside.
TOLD = stored_as(
    (
        EnrollmentStarted,
        StepSent,
        EngagementNoted,
        StepHandedToPerson,
        StepDoneByPerson,
        StepApproved,
        EnrollmentPaused,
        EnrollmentResumed,
        EnrollmentExited,
    )
)
#: Streams read in one go.
PAGE = 500
#: Changes of score and tags that a play makes again by itself.
_BY_ITSELF = frozenset({"step", "opened", "clicked", "replied", "delivered", "bounced"})


def read_past(store: EventStore, enrollment_ids: Sequence[UUID], organization_id: str) -> Iterator[Past]:
    """Those that exist, belong to the organization, began and whose lead was not erased; in the given order."""
    for first in range(0, len(enrollment_ids), PAGE):
        ids = enrollment_ids[first : first + PAGE]
        streams = store.load_many(ids, topics=TOLD)
        leads: dict[UUID, UUID] = {}
        for each in ids:
            events = streams[each]
            if (
                events
                and events[0].organization_id == organization_id
                and isinstance(events[0].message, EnrollmentStarted)
            ):
                leads[each] = events[0].message.lead_id
        of_leads = store.load_many(list(dict.fromkeys(leads.values())))
        for each, lead_id in leads.items():
            past = past_of(streams[each], of_leads[lead_id])
            if past is not None:
                yield past


def past_of(enrollment: Sequence[Envelope], lead: Sequence[Envelope]) -> Past | None:
    """One enrollment from its own events (those of ``TOLD`` are enough) and its lead's; None when the lead cannot be
    read."""
    began = enrollment[0]
    started = began.message
    assert isinstance(started, EnrollmentStarted)
    assert began.subject is not None
    enrollment_id = began.subject

    def before_it_joined(each: Envelope) -> bool:
        event = each.message
        return not (isinstance(event, LeadJoinedSequence) and event.enrollment_id == enrollment_id)

    earlier = list(takewhile(before_it_joined, lead))
    entering = fold(earlier).state
    if not isinstance(entering, Lead) or entering.erased or not (entering.email or entering.phone):
        return None
    later = lead[len(earlier) + 1 :]
    sends, signals, done_after = _of_steps(enrollment)
    messages = [*_of_the_lead(entering, later, enrollment_id), *_of_people(enrollment_id, enrollment)]
    return Past(
        enrollment_id=enrollment_id,
        lead=entering,
        version=started.version,
        entered_at=began.time,
        signals=signals,
        done_after=done_after,
        messages=sorted(messages, key=lambda each: each.at),
        sends=sends,
    )


def _of_steps(enrollment: Iterable[Envelope]) -> tuple[list[Send], list[Played], dict[str, timedelta]]:
    sends: list[Send] = []
    sent_at: dict[int, datetime] = {}
    signals: list[Played] = []
    handed: dict[str, datetime] = {}
    done_after: dict[str, timedelta] = {}
    for each in enrollment:
        match each.message:
            case StepSent() as event:
                sent_at[event.execution] = event.sent_at
                sends.append(Send(event.step_id, event.sent_at))
            case EngagementNoted() as event if event.execution in sent_at:
                after = max(event.at - sent_at[event.execution], timedelta(0))
                signals.append(Played(event.signal, after, event.step_id, event.link))
            case StepHandedToPerson() as event:
                handed[event.step_id] = each.time
            case StepDoneByPerson() | StepApproved() as event if event.step_id in handed:
                done_after[event.step_id] = each.time - handed[event.step_id]
    return sends, signals, done_after


def _of_the_lead(lead: Lead, later: Iterable[Envelope], enrollment_id: UUID) -> Iterator[Later]:
    """What was heard of the lead and done to it, but for what the play does again by itself."""
    for each in later:
        at = each.time
        match each.message:
            case LeadWon():
                yield Later(at, of_lead(lead, "conversion", at))
            case LeadBookedMeeting():
                yield Later(at, of_lead(lead, "meeting_booked", at))
            case LeadDetailsMerged() as event:
                yield Later(at, _edit(lead, event))
            case LeadTagged() as event if event.why is None or event.why.rule not in _BY_ITSELF:
                yield Later(at, TagLead(lead_id=lead.id, add=event.added, remove=event.removed))
            case LeadScored() as event if event.why.rule not in _BY_ITSELF:
                yield Later(at, ScoreLead(lead_id=lead.id, set=event.after))
            case LeadUnsubscribed() as event if event.enrollment_id != enrollment_id and event.sequence_id is None:
                refusal = LeadBody.model_validate({"consent": {event.channel: False}})
                yield Later(at, EditLead(lead_id=lead.id, lead=refusal))


def _edit(lead: Lead, event: LeadDetailsMerged) -> EditLead:
    values: dict[str, Any] = {name: value for name in FIELDS if (value := getattr(event, name)) is not None}
    body = {**values, "custom_fields": event.custom_fields, "consent": event.consent or None}
    gone = {"clear": event.cleared, "clear_custom": event.cleared_custom or []}
    return EditLead.model_validate({"lead_id": lead.id, "lead": body, **gone})


def _of_people(enrollment_id: UUID, enrollment: Iterable[Envelope]) -> Iterator[Later]:
    """Pauses, resumptions and cancellations by hand."""
    by_hand = False
    for each in enrollment:
        match each.message:
            case EnrollmentPaused() as event if event.reason == "by_hand":
                by_hand = True
                yield Later(each.time, PauseEnrollment(enrollment_id=enrollment_id, until=event.until))
            case EnrollmentResumed() if by_hand:
                by_hand = False
                yield Later(each.time, ResumeEnrollment(enrollment_id=enrollment_id))
            case EnrollmentExited() as event if event.reason == "cancelled":
                yield Later(each.time, CancelEnrollment(enrollment_id=enrollment_id, reason=event.reason))
