"""Past enrollments as a backtest needs them, read from the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, NamedTuple
from uuid import UUID

from services.enrollment.domain.advancing import BY_HAND
from services.enrollment.domain.engagement import counts
from services.enrollment.domain.lead import FIELDS, Lead
from services.enrollment.domain.lead_facts import COMPANY
from services.enrollment.domain.leaving import REASONS
from services.enrollment.domain.windows import PASSED_BY
from services.enrollment.domain.work import engagement_id
from services.enrollment.simulation.likeness import tests_of_engagement
from services.enrollment.simulation.outside import Played, of_lead
from services.enrollment.simulation.played_past import Absence, CompanyStop, Past, Send, Taken
from services.enrollment.simulation.simulator import Later
from services.enrollment.states import fold
from shared.events.definition import SequenceDefinition
from shared.events.engagement import SignalReceived
from shared.events.enrollment import (
    AdvanceEnrollment,
    CancelEnrollment,
    EngagementNoted,
    EnrollmentAdvanced,
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
    StepSkipped,
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
    LeadWentAway,
    LeadWon,
    ScoreLead,
    TagLead,
)
from shared.events.message import stored_as
from shared.events.why import Why
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
        StepSkipped,
        EnrollmentAdvanced,
        EnrollmentPaused,
        EnrollmentResumed,
        EnrollmentExited,
    )
)
#: What is read of what came back for one dispatch.
HITS = stored_as((SignalReceived,))
#: Streams read in one go.
PAGE = 500
#: Changes of an older log, which names no enrollment in them, that a play makes again by itself.
_BY_ITSELF = frozenset({"step", "opened", "clicked", "replied", "delivered", "bounced"})
#: Ends without a reason that are no person's: those of the lead's own signals in an older log, and an erasure.
_OF_NOBODY = frozenset({*REASONS.values(), "erased"})

#: What came back for single executions of an enrollment.
Hits = Mapping[int, Sequence[Envelope]]
NO_HITS: Hits = {}


def links_count(store: EventStore, sequence_id: UUID, definition: SequenceDefinition | None) -> bool:
    """Does the definition, or any that the sequence has had, ask which link was clicked?"""
    had = (getattr(each.message, "definition", None) for each in store.load(sequence_id))
    asked = [each for each in (definition, *had) if isinstance(each, SequenceDefinition)]
    return any(test.get("link") for each in asked for test in tests_of_engagement(each))


def read_past(
    store: EventStore, enrollment_ids: Sequence[UUID], organization_id: str, *, links: bool = False
) -> Iterator[Past]:
    """Those that exist, belong to the organization, began and whose lead was not erased; in the given order. With
    ``links``, every link that was clicked, not only the first of each message.
    """
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
        hits = _hits_of(store, {each: streams[each] for each in leads}) if links else {}
        for each, lead_id in leads.items():
            past = past_of(streams[each], of_leads[lead_id], hits.get(each, NO_HITS))
            if past is not None:
                yield past


def _hits_of(store: EventStore, streams: Mapping[UUID, Sequence[Envelope]]) -> dict[UUID, Hits]:
    """Of messages with a click."""
    clicked = {
        engagement_id(each, event.message.execution): (each, event.message.execution)
        for each, events in streams.items()
        for event in events
        if isinstance(event.message, EngagementNoted) and event.message.signal == "clicked"
    }
    found: defaultdict[UUID, dict[int, Sequence[Envelope]]] = defaultdict(dict)
    for stream, hits in store.load_many(list(clicked), topics=HITS).items():
        enrollment_id, execution = clicked[stream]
        found[enrollment_id][execution] = hits
    return dict(found)


def past_of(enrollment: Sequence[Envelope], lead: Sequence[Envelope], hits: Hits = NO_HITS) -> Past | None:
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
    steps = _of_steps(enrollment, hits)
    messages = [*_of_the_lead(entering, later, enrollment_id), *_of_people(enrollment_id, enrollment)]
    return Past(
        enrollment_id=enrollment_id,
        lead=entering,
        version=started.version,
        entered_at=began.time,
        taken=_taken(started, earlier),
        signals=steps.signals,
        done_after=steps.done_after,
        messages=sorted(messages, key=lambda each: each.at),
        absences=[*_absences(enrollment_id, began.time, later, steps)],
        company_stops=[*_company_stops(enrollment)],
        sends=steps.sends,
    )


def _taken(started: EnrollmentStarted, earlier: Sequence[Envelope]) -> Taken | None:
    if started.by != "trigger" or started.why is None or started.why.rule != "best_match":
        return None
    if started.why.inputs.get("on") != "score_reached":
        return Taken("created")
    scores = (each.message for each in reversed(earlier) if isinstance(each.message, LeadScored))
    last = next(scores, None)
    return Taken("score_reached", last.before if last is not None else 0)


class _Steps(NamedTuple):
    sends: list[Send]
    signals: list[Played]
    done_after: dict[str, timedelta]
    executions: dict[int, Send]


def _of_steps(enrollment: Iterable[Envelope], hits: Hits) -> _Steps:
    steps = _Steps([], [], {}, {})
    handed: dict[str, datetime] = {}
    for each in enrollment:
        match each.message:
            case StepSent() as event:
                send = steps.executions[event.execution] = Send(event.step_id, event.sent_at)
                steps.sends.append(send)
            case EngagementNoted() as event if event.execution in steps.executions:
                after = _since(steps.executions[event.execution].at, event.at)
                steps.signals.append(Played(event.signal, after, event.step_id, event.link, event.intent))
                if event.signal == "clicked" and event.execution in hits:
                    steps.signals.extend(_more_links(event, steps.executions[event.execution], hits[event.execution]))
            case StepHandedToPerson() as event:
                handed[event.step_id] = each.time
            case StepDoneByPerson() | StepApproved() as event if event.step_id in handed:
                steps.done_after[event.step_id] = each.time - handed[event.step_id]
    return steps


def _since(sent_at: datetime, at: datetime) -> timedelta:
    return max(at - sent_at, timedelta(0))


def _more_links(first: EngagementNoted, send: Send, hits: Iterable[Envelope]) -> Iterator[Played]:
    """A person's clicks on further links of a message."""
    known = {first.link, None}
    for each in hits:
        hit = each.message
        if isinstance(hit, SignalReceived) and hit.signal == "clicked" and counts(hit):
            if hit.link not in known:
                yield Played("clicked", _since(send.at, hit.at), send.step_id, hit.link)
            known.add(hit.link)


def _absences(enrollment_id: UUID, entered_at: datetime, later: Iterable[Envelope], steps: _Steps) -> Iterator[Absence]:
    """What automatic answers said, those to messages of others included."""
    for each in later:
        event = each.message
        if not isinstance(event, LeadWentAway):
            continue
        send = steps.executions.get(event.execution) if event.enrollment_id == enrollment_id else None
        if send is not None:
            yield Absence(event.returns_on, _since(send.at, event.at), send.step_id)
        else:
            yield Absence(event.returns_on, _since(entered_at, event.at))


def _of_the_lead(lead: Lead, later: Iterable[Envelope], enrollment_id: UUID) -> Iterator[Later]:
    """What was heard of the lead and done to it, but for what the play does again by itself."""
    own = str(enrollment_id)
    for each in later:
        at = each.time
        match each.message:
            case LeadWon():
                yield Later(at, of_lead(lead, "conversion", at))
            case LeadBookedMeeting():
                yield Later(at, of_lead(lead, "meeting_booked", at))
            case LeadDetailsMerged() as event if not _is_own(event.why, own):
                yield Later(at, _edit(lead, event))
            case LeadTagged() as event if not _is_own(event.why, own):
                yield Later(at, TagLead(lead_id=lead.id, add=event.added, remove=event.removed))
            case LeadScored() as event if not _is_own(event.why, own):
                yield Later(at, _score(lead, event))
            case LeadUnsubscribed() as event if event.enrollment_id != enrollment_id and event.sequence_id is None:
                refusal = LeadBody.model_validate({"consent": {event.channel: False}})
                yield Later(at, EditLead(lead_id=lead.id, lead=refusal))


def _is_own(why: Why | None, own: str) -> bool:
    """Is it of this enrollment's steps, or of what came back for its messages?"""
    if why is None:
        return False
    by = why.inputs.get("enrollment")
    return by == own if by is not None else why.rule in _BY_ITSELF


def _score(lead: Lead, event: LeadScored) -> ScoreLead:
    """Another enrollment adds to whatever the score is then; a person or a funnel says what it is."""
    if "enrollment" in event.why.inputs:
        return ScoreLead(lead_id=lead.id, add=event.after - event.before)
    return ScoreLead(lead_id=lead.id, set=event.after)


def _edit(lead: Lead, event: LeadDetailsMerged) -> EditLead:
    values: dict[str, Any] = {name: value for name in FIELDS if (value := getattr(event, name)) is not None}
    body = {**values, "custom_fields": event.custom_fields, "consent": event.consent or None}
    gone = {"clear": event.cleared, "clear_custom": event.cleared_custom or []}
    return EditLead.model_validate({"lead_id": lead.id, "lead": body, **gone})


def _of_people(enrollment_id: UUID, enrollment: Iterable[Envelope]) -> Iterator[Later]:
    """Pauses, resumptions, advances and cancellations by hand. A pause that ends by itself is taken up once."""
    for each in enrollment:
        at = each.time
        match each.message:
            case EnrollmentPaused() as event if event.reason == "by_hand":
                yield Later(at, PauseEnrollment(enrollment_id=enrollment_id, until=event.until))
            case EnrollmentResumed():
                yield Later(at, ResumeEnrollment(enrollment_id=enrollment_id))
            case EnrollmentAdvanced() as event:
                forced = {f"force_{rule}": bool(event.plan.why.inputs.get(f"force_{rule}")) for rule in PASSED_BY}
                order = AdvanceEnrollment.model_validate({"enrollment_id": enrollment_id, **forced})
                yield Later(at, order, at_step=event.step_id)
            case StepSkipped() as event if event.why.rule == BY_HAND.rule:
                order = AdvanceEnrollment(enrollment_id=enrollment_id, skip="step")
                yield Later(at, order, at_step=event.step_id)
            case EnrollmentExited() as event if _by_a_person(event):
                yield Later(at, CancelEnrollment(enrollment_id=enrollment_id, reason=event.reason))


def _by_a_person(event: EnrollmentExited) -> bool:
    """Cancelled for whatever reason was given, or ended to begin again."""
    if event.why is not None:
        return event.why.rule == BY_HAND.rule
    return event.reason not in _OF_NOBODY


def _company_stops(enrollment: Iterable[Envelope]) -> Iterator[CompanyStop]:
    for each in enrollment:
        match each.message:
            case EnrollmentExited(why=Why() as why) | EnrollmentPaused(why=Why() as why) if why.rule == COMPANY:
                yield CompanyStop(each.time, why.inputs["signal"])
