"""Opening enrollments: by matching, or by an order."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple, cast
from uuid import UUID

from services.enrollment.domain import moments
from services.enrollment.domain.due import run_on
from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.errors import (
    AlreadyEnrolled,
    DomainError,
    Exclusive,
    LeadErasedAlready,
    SequenceNotActive,
    Unreachable,
)
from services.enrollment.domain.flow import Version
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.leaving import leave
from services.enrollment.domain.matching import (
    BEFORE_A_CROSSING,
    DUPLICATE,
    Match,
    already_in,
    crossed,
    crowded,
    fallback_of,
    first_barrier,
    match,
    nth,
)
from services.enrollment.domain.planning import Scene, plan_after
from services.enrollment.domain.sequence import Sequence
from services.enrollment.domain.work import Work
from services.enrollment.domain.world import CatalogueEntry
from shared.events.enrollment import Enroll, EnrollmentActivated, EnrollmentStarted, StartRefused
from shared.events.lead import LeadJoinedSequence, LeadMatched, LeadNotEnrolled, LeadNotMatched
from shared.events.naming import thing_called
from shared.events.why import Why
from shared.events.wording import in_words, sentence_of
from shared.ids import derived_id

FUNNEL_OFF = "funnel_off"
#: Why an enrollment left.
SEQUENCE_DELETED = "sequence_deleted"


class Origin(NamedTuple):
    """Where an enrollment comes from: ``by`` is ``hand``, ``trigger`` or ``bulk``."""

    by: str
    why: Why | None
    bulk_id: UUID | None = None
    restarts: UUID | None = None


def enroll(work: Work, command: Enroll, asked_at: datetime) -> UUID:
    """Raises UnknownTarget, LeadErasedAlready, SequenceNotActive, AlreadyEnrolled, Exclusive or Unreachable;
    InvalidMoment for a beginning that was over when it was asked for. A bulk takes its time: its last leads begin late.
    """
    if command.bulk_id is None:
        moments.begins(work, "start_at", command.start_at, asked_at)
    lead = work.lead(command.lead_id)
    if lead.erased:
        raise LeadErasedAlready
    sequence = work.sequence(command.sequence_id)
    try:
        version = _admitted(work, lead, sequence)
    except DomainError as refusal:
        _tell(work, lead, command, refusal)
        raise
    return open_enrollment(
        work,
        lead,
        version,
        Origin(command.by, command.why, bulk_id=command.bulk_id),
        start=command.start,
        start_at=command.start_at,
    )


def _admitted(work: Work, lead: Lead, sequence: Sequence) -> Version:
    """The version that the lead comes into. Raises SequenceNotActive, AlreadyEnrolled, Exclusive or Unreachable."""
    require_active(sequence)
    version = work.version(sequence.id, sequence.version)
    why = already_in(work, lead, version)
    if why is not None:
        raise AlreadyEnrolled(in_words(why, {"here": called(version)}), why=why)
    why = crowded(work, lead, version)
    if why is not None:
        raise Exclusive(in_words(why, _other(work, lead, why)), why=why)
    require_reach(work, lead, version)
    return version


def _tell(work: Work, lead: Lead, command: Enroll, refusal: DomainError) -> None:
    """Who asks later why the lead is not in the sequence is answered; of one that is in it there is nothing to tell."""
    if refusal.why is None or refusal.why.rule == DUPLICATE:
        return
    why, refusal.told = refusal.why, True
    work.on_lead(
        lead.id, LeadNotEnrolled(sequence_id=command.sequence_id, by=command.by, bulk_id=command.bulk_id, why=why)
    )


def require_active(sequence: Sequence) -> None:
    """Raises SequenceNotActive."""
    if sequence.status != "active":
        definition = sequence.published or sequence.draft
        name = thing_called("sequence", definition.name if definition is not None else None)
        raise SequenceNotActive(
            sentence_of(f"{name or 'the sequence'} is {sequence.status}: it takes no leads."),
            why=Why(rule="sequence_not_running", inputs={"status": sequence.status}),
        )


def require_reach(work: Work, lead: Lead, version: Version) -> None:
    """Raises Unreachable when the sequence's first message cannot reach the lead."""
    why = first_barrier(work, lead, version)
    if why is not None:
        raise Unreachable(f"The first message cannot reach the lead. {in_words(why)}", why=why)


def called(version: Version) -> str:
    """As refusals speak of its sequence."""
    return f"the sequence “{version.definition.name}”"


def _other(work: Work, lead: Lead, why: Why) -> dict[str, str]:
    """The name of the sequence that keeps the lead out of another one."""
    inside = (each for each in lead.enrollments.values() if str(each.sequence_id) == why.inputs.get("sequence_id"))
    versions = (work.world.version(each.sequence_id, each.version) for each in inside)
    return next(({"sequence_id": called(each)} for each in versions if each is not None), {})


def next_enrollment(lead: Lead, sequence_id: UUID) -> UUID:
    """The id of the enrollment that the lead would begin next in a sequence."""
    return _enrollment_id(lead.id, sequence_id, nth(lead, sequence_id))


@lru_cache(maxsize=2_048)
def _enrollment_id(lead_id: UUID, sequence_id: UUID, number: int) -> UUID:
    """Asked for when a batch reads what it will need, and again when it is decided."""
    return derived_id("enrollment", lead_id, sequence_id, number)


def open_enrollment(
    work: Work,
    lead: Lead,
    version: Version,
    origin: Origin,
    *,
    start: bool = True,
    start_at: datetime | None = None,
) -> UUID:
    """Records the enrollment in its own stream and in the lead's, and takes the steps that take effect at once.

    It begins at ``start_at`` when that is still to come, and without ``start`` by hand.
    """
    sequence_id = version.sequence_id
    enrollment_id = next_enrollment(lead, sequence_id)
    work.enrolled.add((lead.id, sequence_id))
    work.on_lead(
        lead.id, LeadJoinedSequence(enrollment_id=enrollment_id, sequence_id=sequence_id, version=version.version)
    )
    blank = Enrollment(
        id=enrollment_id,
        organization_id=work.organization_id,
        lead_id=lead.id,
        sequence_id=sequence_id,
        version=version.version,
        status=Status.PENDING,
        started_at=work.now,
        previous_at=work.now,
    )
    if not start or (start_at is not None and start_at <= work.now):
        start_at = None
    waits = not start or start_at is not None
    plan = None if waits else plan_after(Scene(work, version, lead), blank, None, moment=work.now)
    event = EnrollmentStarted(
        lead_id=lead.id,
        sequence_id=sequence_id,
        version=version.version,
        by=origin.by,
        why=origin.why,
        plan=plan,
        bulk_id=origin.bulk_id,
        restarts=origin.restarts,
        start_at=start_at,
    )
    state = cast("Enrollment", work.record("enrollment", enrollment_id, event, lead.id))
    if plan is not None:
        run_on(work, state)
    return enrollment_id


def start_pending(work: Work, state: Enrollment) -> None:
    """A pending enrollment begins. Raises SequenceNotActive when its sequence is archived or deleted, Unreachable when
    its first message cannot reach the lead.
    """
    sequence = work.sequence(state.sequence_id)
    if sequence.status == "archived":
        require_active(sequence)
    require_reach(work, work.lead(state.lead_id), work.version(state.sequence_id, state.version))
    _begin(work, state)


def start_due(work: Work, state: Enrollment) -> None:
    """The moment of a pending enrollment has come. What cannot begin is left pending, with the reason; that of a
    deleted sequence ends.
    """
    sequence = work.sequence(state.sequence_id)
    if sequence.deleted is not None:
        leave(work, state, SEQUENCE_DELETED, stop="cancelled")
        return
    archived = Why(rule="sequence_archived") if sequence.status == "archived" else None
    barrier = first_barrier(work, work.lead(state.lead_id), work.version(state.sequence_id, state.version))
    if (why := archived or barrier) is not None:
        work.on_enrollment(state, StartRefused(why=why))
    else:
        _begin(work, state)


def _begin(work: Work, state: Enrollment) -> None:
    version = work.version(state.sequence_id, state.version)
    plan = plan_after(Scene(work, version, work.find_lead(state.lead_id)), state, None, moment=work.now)
    if plan is not None:
        run_on(work, work.on_enrollment(state, EnrollmentActivated(plan=plan)))


def match_created(work: Work, lead: Lead, funnel_id: str | None) -> None:
    """A ``lead.created`` came, from a funnel if it says so: the lead goes into its best match, else into the funnel's
    fallback, unless it is or was there. A repeated answer is not recorded again.
    """
    known = work.find_funnel(funnel_id) if funnel_id is not None else None
    if known is not None and not known.auto:
        _not_matched(work, lead, Why(rule=FUNNEL_OFF, inputs={"funnel": known.funnel_id}), {})
        return
    found = match(work, lead, "created")
    if found.best is None and known is not None:
        found = fallback_of(work, lead, known, found)
    if found.best is None:
        _not_matched(work, lead, found.why, found.refused)
    elif (why := _take_match(work, lead, found, found.best)) is not None and why.rule != DUPLICATE:
        _not_matched(work, lead, why, found.refused)


def match_crossings(work: Work) -> None:
    """Scores have changed: sequences that wait for a threshold take the leads that crossed it, but for leads of
    funnels that enrol by hand only. A change that crosses no threshold is looked at no further, and records nothing.
    """
    while work.crossings:
        first: dict[UUID, int] = {}
        for lead_id, before, _after in work.crossings:
            first.setdefault(lead_id, before)
        work.crossings.clear()
        for lead_id, before in first.items():
            lead = work.find_lead(lead_id)
            if lead is None or lead.erased:
                continue
            reached = crossed(work, lead, before)
            if not reached:
                continue
            if _by_hand_only(work, lead):
                off = Why(rule=FUNNEL_OFF, inputs={"funnel": min(lead.funnels)})
                _crossing_refused(work, lead, before, dict.fromkeys(reached, off))
                continue
            found = match(work, lead, "score_reached", score_before=before)
            refused = {each: found.refused[each] for each in reached if each in found.refused}
            if found.best is None:
                _crossing_refused(work, lead, before, refused)
                continue
            why = _take_match(work, lead, found, found.best)
            if why is None:
                continue  # its match tells of the others
            best = str(found.best.sequence_id)
            if why.rule == DUPLICATE:
                _crossing_refused(work, lead, before, refused, inside=best)
            else:
                _crossing_refused(work, lead, before, {**refused, best: why})


def _by_hand_only(work: Work, lead: Lead) -> bool:
    funnels = [work.find_funnel(each) for each in lead.funnels]
    return bool(funnels) and all(each is not None and not each.auto for each in funnels)


def _not_matched(work: Work, lead: Lead, why: Why, refused: dict[str, Why]) -> None:
    if not lead.judged or lead.unmatched != why:
        work.on_lead(lead.id, LeadNotMatched(why=why, refused=refused))


def _crossing_refused(
    work: Work, lead: Lead, before: int, refused: dict[str, Why], *, inside: str | None = None
) -> None:
    """Thresholds were crossed, and nothing came of it. Nothing is said of sequences that have the lead, ``inside``
    being the best of them, nor again of what was told in this decision already.
    """
    told: dict[str, Why] = {}
    for change in work.changes:
        event = change.event
        if change.id != lead.id or not isinstance(event, LeadMatched | LeadNotMatched):
            continue
        if event.why.rule == FUNNEL_OFF:
            return
        told.update(event.refused)
    has_the_lead = {str(each.sequence_id) for each in lead.enrollments.values() if each.ended_at is None}
    has_the_lead |= {str(sequence_id) for lead_id, sequence_id in work.enrolled if lead_id == lead.id}
    news = {
        each: why
        for each, why in refused.items()
        if each not in has_the_lead and (each not in told or told[each].rule in BEFORE_A_CROSSING)
    }
    if news:
        inputs = {"before": before, "after": lead.score, "sequences": len(news)}
        why = Why(rule="crossing", inputs=inputs)
        if inside is not None:
            why = Why(rule="crossing_inside", inputs={**inputs, "chosen": inside})
        work.on_lead(lead.id, LeadNotMatched(why=why, refused=news, on="score_reached"))


def _take_match(work: Work, lead: Lead, found: Match, entry: CatalogueEntry) -> Why | None:
    """Opens the enrollment. Answers the rule that keeps the lead out of its best match, ``DUPLICATE`` also when this
    decision has opened one there; None when there is none.
    """
    version = work.world.version(entry.sequence_id, entry.version)
    if version is None:
        return None
    if (lead.id, entry.sequence_id) in work.enrolled:
        return Why(rule=DUPLICATE)
    why = already_in(work, lead, version)
    if why is not None:
        return why
    lead = work.on_lead(
        lead.id,
        LeadMatched(sequence_id=entry.sequence_id, version=entry.version, why=found.why, refused=found.refused),
    )
    start_at = entry.definition.trigger.start_at
    enrollment_id = open_enrollment(work, lead, version, Origin("trigger", found.why), start_at=start_at)
    work.result["enrollment_id"] = str(enrollment_id)
    return None
