"""Why, and why not: what a lead got or did not get, answered from recorded events, and from the list of suppressed
addresses for what is still to come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.enrollment import reasons
from services.enrollment.domain.brake import sender_blocker
from services.enrollment.domain.enrollment import Enrollment, reaches
from services.enrollment.domain.errors import UnknownTarget
from services.enrollment.domain.flow import Version, compile_version
from services.enrollment.domain.frozen import replace
from services.enrollment.domain.identities import normalise_address
from services.enrollment.domain.lead import Lead, contact_channel
from services.enrollment.domain.sequence import Sequence as SequenceState
from services.enrollment.domain.work import organization_aggregate
from services.enrollment.naming import Names, Place, Read
from services.enrollment.reasons import Reason
from services.enrollment.standing import standing_of
from services.enrollment.states import fold
from shared.events.definition import Step, walk
from shared.events.enrollment import EnrollmentMigrated, EnrollmentStarted
from shared.events.envelope import Envelope
from shared.events.lead import LeadJoinedSequence, LeadMatched, LeadNotEnrolled, LeadNotMatched, LeadUnsubscribed
from shared.events.query import QueryWhy
from shared.events.sequence import SequencePublished
from shared.events.why import Plan, Why
from shared.events.wording import in_words

#: Reasons in one answer; of more the newest are given.
MOST_REASONS = 1_000
_BRAKE_OF_SENDER = sender_blocker("")


#: (organization, channel, normalised address) -> why it is suppressed; None when it is not.
Suppression = Callable[[str, str, str], str | None]


def _none_suppressed(_organization_id: str, _channel: str, _address: str) -> str | None:
    return None


class _Stay(NamedTuple):
    """An enrollment with its own events."""

    state: Enrollment
    events: Sequence[Envelope]

    @property
    def ended_at(self) -> datetime | None:
        return None if self.state.is_open else self.events[-1].time

    def with_versions(self) -> Iterator[tuple[Envelope, int]]:
        """Its events, each with the version that it was in from then on."""
        version = self.state.version
        for each in self.events:
            if isinstance(each.message, EnrollmentStarted):
                version = each.message.version
            elif isinstance(each.message, EnrollmentMigrated):
                version = each.message.to_version
            yield each, version


class Explainer:
    """Reads the log; changes nothing. One for each question: what it has read it does not read again.

    ``suppression`` says why an address, or its domain, is not to be sent to.
    """

    def __init__(self, load: Read, suppression: Suppression = _none_suppressed) -> None:
        self._load = load
        self._suppression = suppression
        self._read: dict[UUID, Sequence[Envelope]] = {}

    def answer(self, question: QueryWhy) -> dict[str, Any]:
        """``answers`` says of each enrollment, the newest first, where it stands, or why there is none; ``items`` holds
        the recorded reasons, oldest first. Raises UnknownTarget.
        """
        lead_id, enrollment_id, sequence_id = self._who(question)
        lead = self._events(lead_id)
        state = fold(lead).state
        if not isinstance(state, Lead) or state.organization_id != question.organization_id:
            raise UnknownTarget("lead", lead_id)
        if sequence_id is not None:
            sequence = fold(self._events(sequence_id)).state
            if not isinstance(sequence, SequenceState) or sequence.organization_id != question.organization_id:
                raise UnknownTarget("sequence", sequence_id)
        stays = list(self._stays(lead, sequence_id, enrollment_id))
        step_id = question.step_id
        if step_id is not None and sequence_id is not None:
            self._require_step(sequence_id, step_id)
        found = [*self._of_lead(lead, sequence_id), *self._of_sequences(lead[0].time, stays, sequence_id)]
        for stay in stays:
            for each, version in stay.with_versions():
                found += reasons.of_enrollment(each, stay.state.sequence_id, version)
        told = sorted(
            (each for each in found if step_id is None or self._concerns(each, step_id, stays)), key=lambda r: r.at
        )
        names = Names(self._events, question.organization_id)
        answers = [
            standing_of(
                self._barred(each.state, state),
                each.events,
                self._version(each.state.sequence_id, each.state.version),
                step_id,
                names,
            )
            for each in reversed(stays)
        ]
        newest = stays[-1].state.version if stays else None
        step = names.step(Place(sequence_id, newest), step_id)
        return {
            "lead_id": str(lead_id),
            "sequence_id": str(sequence_id) if sequence_id is not None else None,
            "sequence_name": names.sequence(sequence_id),
            "step_id": step_id,
            "step_name": step.name if step is not None else None,
            "step_number": step.number if step is not None else None,
            "answers": answers or [_never_in(told, sequence_id, names)],
            "items": [each.as_answer(names) for each in told[-MOST_REASONS:]],
        }

    def _who(self, question: QueryWhy) -> tuple[UUID, UUID | None, UUID | None]:
        """Lead, enrollment and sequence asked about."""
        if question.enrollment_id is None:
            assert question.lead_id is not None
            return question.lead_id, None, question.sequence_id
        events = self._events(question.enrollment_id)
        began = events[0].message if events else None
        if not isinstance(began, EnrollmentStarted):
            raise UnknownTarget("enrollment", question.enrollment_id)
        return began.lead_id, question.enrollment_id, began.sequence_id

    def _require_step(self, sequence_id: UUID, step_id: str) -> None:
        """Raises UnknownTarget when no published version has had the step."""
        versions = (each.message for each in self._events(sequence_id) if isinstance(each.message, SequencePublished))
        if not any(step_id in _ids(version.definition.steps) for version in versions):
            raise UnknownTarget("step", step_id)

    def _stays(self, lead: Sequence[Envelope], sequence_id: UUID | None, only: UUID | None) -> Iterator[_Stay]:
        for each in lead:
            joined = each.message
            if not isinstance(joined, LeadJoinedSequence) or only not in {None, joined.enrollment_id}:
                continue
            if sequence_id in {None, joined.sequence_id}:
                events = self._events(joined.enrollment_id)
                state = fold(events).state
                if isinstance(state, Enrollment):
                    yield _Stay(state, events)

    def _barred(self, state: Enrollment, lead: Lead) -> Enrollment:
        """The same, but where a message waits for its time, its reason is that the address is suppressed by now: as a
        whole domain, or by somebody who shares it. Nothing is planned again for that before the message is due.
        """
        plan = state.plan
        if plan is None or plan.channel is None or plan.blocked_on is not None or not reaches(plan.channel):
            return state
        channel = contact_channel(plan.channel)
        address = lead.address(channel)
        if not address:
            return state
        reason = self._suppression(state.organization_id, channel, normalise_address(channel, address))
        if reason is None:
            return state
        why = Why(rule="suppression", inputs={"channel": channel, "reason": reason})
        return replace(state, plan=plan.model_copy(update={"why": why}))

    # --- reasons ------------------------------------------------------------------------------------------------------

    def _of_lead(self, lead: Sequence[Envelope], sequence_id: UUID | None) -> Iterator[Reason]:
        for each in lead:
            event = each.message
            if isinstance(event, LeadUnsubscribed) and sequence_id is not None:
                if event.sequence_id not in {None, sequence_id}:
                    continue
            elif isinstance(event, LeadMatched | LeadNotMatched):
                yield from self._of_matching(each, event, sequence_id)
            elif isinstance(event, LeadNotEnrolled) and sequence_id in {None, event.sequence_id}:
                yield Reason(each.time, "refused", event.why, sequence_id=event.sequence_id)
            yield from reasons.of_lead(each)

    def _of_matching(
        self, envelope: Envelope, event: LeadMatched | LeadNotMatched, sequence_id: UUID | None
    ) -> Iterator[Reason]:
        at = envelope.time
        if isinstance(event, LeadNotMatched) and event.on == "score_reached" and sequence_id is not None:
            why = event.refused.get(str(sequence_id))
            if why is not None:
                yield Reason(at, "refused", why, sequence_id=sequence_id)
            return
        chosen = event.sequence_id if isinstance(event, LeadMatched) else None
        if sequence_id is None:
            yield Reason(at, "matched" if chosen else "refused", event.why, sequence_id=chosen)
            for refused, why in event.refused.items():
                yield Reason(at, "refused", _beside(why, chosen), sequence_id=UUID(refused))
        elif chosen == sequence_id:
            yield Reason(at, "matched", event.why, sequence_id=sequence_id)
        else:
            refusal = event.refused.get(str(sequence_id)) or self._left_out(envelope, sequence_id)
            yield Reason(at, "refused", _beside(refusal, chosen), sequence_id=sequence_id)

    def _left_out(self, envelope: Envelope, sequence_id: UUID) -> Why:
        """Why matching said nothing of a sequence: it was not looked at, or it was the best and refused as a whole."""
        then = fold(each for each in self._events(sequence_id) if each.time <= envelope.time).state
        status = then.status if isinstance(then, SequenceState) else "not made yet"
        if status != "active":
            return Why(rule="sequence_not_running", inputs={"status": status})
        event = envelope.message
        return event.why if isinstance(event, LeadNotMatched) else Why(rule="better_match")

    def _of_sequences(self, known_since: datetime, stays: Sequence[_Stay], asked: UUID | None) -> Iterator[Reason]:
        """What the sequence, and a sender whose brake held a step, went through while it mattered to the lead."""
        spans: dict[UUID, tuple[datetime, datetime | None]] = {}
        if asked is not None:
            spans[asked] = (known_since, None)
        for stay in stays:
            since, until = spans.get(stay.state.sequence_id, (stay.events[0].time, stay.ended_at))
            later = max(until, stay.ended_at) if until is not None and stay.ended_at is not None else None
            spans[stay.state.sequence_id] = (since, later)
        for sequence_id, (since, until) in spans.items():
            for each in _within(self._events(sequence_id), since, until):
                yield from reasons.of_sequence(each)
        for sender_id in sorted({name for stay in stays for name in _braked_senders(stay)}):
            organization = organization_aggregate(stays[0].state.organization_id)
            for each in _within(self._events(organization), known_since, None):
                yield from reasons.of_sender(each, sender_id)

    def _concerns(self, reason: Reason, step_id: str, stays: Sequence[_Stay]) -> bool:
        """Has a reason to do with a step: its own, one of the whole enrollment, or of a branch that leads there?"""
        if reason.step_id in {None, step_id}:
            return True
        if reason.kind != "branched" or reason.sequence_id is None:
            return False
        state = next((each.state for each in stays if each.state.id == reason.enrollment_id), None)
        version = self._version(reason.sequence_id, state.version) if state is not None else None
        condition = version.steps.get(reason.step_id or "") if version is not None else None
        return condition is not None and step_id in _ids([*condition.then, *condition.else_])

    # --- reading ------------------------------------------------------------------------------------------------------

    def _events(self, aggregate_id: UUID) -> Sequence[Envelope]:
        if aggregate_id not in self._read:
            self._read[aggregate_id] = self._load(aggregate_id)
        return self._read[aggregate_id]

    def _version(self, sequence_id: UUID, version: int) -> Version | None:
        for each in self._events(sequence_id):
            if isinstance(each.message, SequencePublished) and each.message.version == version:
                return compile_version(sequence_id, version, each.message.definition)
        return None


def _within(events: Sequence[Envelope], since: datetime, until: datetime | None) -> Iterator[Envelope]:
    return (each for each in events if each.time >= since and (until is None or each.time <= until))


def _braked_senders(stay: _Stay) -> Iterator[str]:
    for each in stay.events:
        plan: Plan | None = getattr(each.message, "plan", None)
        if plan is not None and (plan.blocked_on or "").startswith(_BRAKE_OF_SENDER):
            yield str(plan.blocked_on).removeprefix(_BRAKE_OF_SENDER)


def _ids(steps: Sequence[Step]) -> set[str]:
    """The ids of steps and of all within their arms."""
    return {step.step_id for step in walk(list(steps))}


def _beside(refusal: Why, chosen: UUID | None) -> Why:
    """A refusal in favour of a better match, with the sequence that took the lead."""
    if refusal.rule != "better_match" or chosen is None:
        return refusal
    return Why(rule=refusal.rule, inputs={**refusal.inputs, "chosen": str(chosen)})


def _never_in(told: Sequence[Reason], asked: UUID | None, names: Names) -> dict[str, Any]:
    """There is no enrollment: the last refusal says why, if there was one."""
    last = next((each for each in reversed(told) if each.kind == "refused"), None)
    why = last.why if last is not None else Why(rule="never_matched")
    sequence_id = last.sequence_id if last is not None else asked
    named = names.inputs(why, Place(sequence_id))
    return {
        "standing": "not_enrolled",
        **why.model_dump(mode="json"),
        "names": named,
        "text": f"The lead was never in it. {in_words(why, named)}",
        "at": last.at.isoformat() if last is not None else None,
        "until": None,
        "current_step": None,
        "current_step_name": None,
        "current_step_number": None,
        "sequence_id": str(sequence_id) if sequence_id is not None else None,
        "sequence_name": names.sequence(sequence_id),
        "version": None,
        "enrollment_id": None,
    }
