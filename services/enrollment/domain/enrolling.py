"""Opening enrollments: by matching, or by an order."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple, cast
from uuid import UUID

from services.enrollment.domain.due import run_on
from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.errors import (
    AlreadyEnrolled,
    Exclusive,
    LeadErasedAlready,
    SequenceNotActive,
    Unreachable,
)
from services.enrollment.domain.flow import Version
from services.enrollment.domain.lead import Lead
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
from services.enrollment.domain.work import Work
from services.enrollment.domain.world import CatalogueEntry
from shared.events.enrollment import Enroll, EnrollmentActivated, EnrollmentStarted, StartRefused
from shared.events.lead import LeadJoinedSequence, LeadMatched, LeadNotMatched
from shared.events.why import Why
from shared.ids import derived_id

FUNNEL_OFF = "funnel_off"


class Origin(NamedTuple):
    """Where an enrollment comes from: ``by`` is ``hand``, ``trigger`` or ``bulk``."""

    by: str
    why: Why | None
    bulk_id: UUID | None = None
    restarts: UUID | None = None


def enroll(work: Work, command: Enroll) -> UUID:
    """Raises UnknownTarget, LeadErasedAlready, SequenceNotActive, AlreadyEnrolled, Exclusive or Unreachable."""
    lead = work.lead(command.lead_id)
    if lead.erased:
        raise LeadErasedAlready
    sequence = work.sequence(command.sequence_id)
    if sequence.status != "active":
        raise SequenceNotActive(f"sequence {sequence.id} is {sequence.status}")
    version = work.version(sequence.id, sequence.version)
    why = already_in(work, lead, version)
    if why is not None:
        raise AlreadyEnrolled(f"lead {lead.id} is refused by rule {why.rule}")
    why = crowded(work, lead, version)
    if why is not None:
        raise Exclusive(f"lead {lead.id} is refused by rule {why.rule}")
    why = first_barrier(work, lead, version)
    if why is not None:
        raise Unreachable(f"the first message cannot reach the lead: {why.rule}")
    return open_enrollment(
        work,
        lead,
        version,
        Origin(command.by, command.why, bulk_id=command.bulk_id),
        start=command.start,
        start_at=command.start_at,
    )


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
    """A pending enrollment begins. Raises Unreachable when its first message cannot reach the lead."""
    why = _start_barrier(work, state)
    if why is not None:
        raise Unreachable(f"the first message cannot reach the lead: {why.rule}")
    _begin(work, state)


def start_due(work: Work, state: Enrollment) -> None:
    """The moment of a pending enrollment has come. What cannot begin is left pending, with the reason."""
    why = _start_barrier(work, state)
    if why is not None:
        work.on_enrollment(state, StartRefused(why=why))
    else:
        _begin(work, state)


def _start_barrier(work: Work, state: Enrollment) -> Why | None:
    return first_barrier(work, work.lead(state.lead_id), work.version(state.sequence_id, state.version))


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
