"""Opening enrollments: by matching, or by an order."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from services.enrollment.domain.due import run_on
from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.errors import AlreadyEnrolled, LeadErasedAlready, SequenceNotActive, Unreachable
from services.enrollment.domain.flow import Version
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.matching import Match, already_in, first_barrier, match, nth
from services.enrollment.domain.planning import Scene, plan_after
from services.enrollment.domain.work import Work
from shared.events.enrollment import Enroll, EnrollmentActivated, EnrollmentStarted
from shared.events.lead import LeadJoinedSequence, LeadMatched, LeadNotMatched
from shared.events.why import Why
from shared.ids import derived_id


def enroll(work: Work, command: Enroll) -> UUID:
    """Raises UnknownTarget, LeadErasedAlready, SequenceNotActive, AlreadyEnrolled or Unreachable."""
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
    why = first_barrier(work, lead, version)
    if why is not None:
        raise Unreachable(f"the first message cannot reach the lead: {why.rule}")
    return open_enrollment(
        work, lead, version, by=command.by, why=command.why, start=command.start, bulk_id=command.bulk_id
    )


def open_enrollment(
    work: Work,
    lead: Lead,
    version: Version,
    *,
    by: str,
    why: Why | None,
    start: bool = True,
    bulk_id: UUID | None = None,
    restarts: UUID | None = None,
) -> UUID:
    """Records the enrollment in its own stream and in the lead's, and takes the steps that take effect at once."""
    sequence_id = version.sequence_id
    enrollment_id = derived_id("enrollment", lead.id, sequence_id, nth(lead, sequence_id))
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
    plan = plan_after(Scene(work, version, lead), blank, None, moment=work.now) if start else None
    event = EnrollmentStarted(
        lead_id=lead.id,
        sequence_id=sequence_id,
        version=version.version,
        by=by,
        why=why,
        plan=plan,
        bulk_id=bulk_id,
        restarts=restarts,
    )
    state = cast("Enrollment", work.record("enrollment", enrollment_id, event, lead.id))
    if plan is not None:
        run_on(work, state)
    return enrollment_id


def start_pending(work: Work, state: Enrollment) -> None:
    """A pending enrollment begins."""
    version = work.version(state.sequence_id, state.version)
    plan = plan_after(Scene(work, version, work.find_lead(state.lead_id)), state, None, moment=work.now)
    if plan is not None:
        run_on(work, work.on_enrollment(state, EnrollmentActivated(plan=plan)))


def match_created(work: Work, lead: Lead) -> None:
    """A ``lead.created`` came: the lead goes into its best match, unless it is or was there. A repeated answer is not
    recorded again.
    """
    found = match(work, lead, "created")
    if found.best is None:
        if not lead.judged or lead.unmatched != found.why:
            work.on_lead(lead.id, LeadNotMatched(why=found.why, refused=found.refused))
        return
    _take_match(work, lead, found)


def match_crossings(work: Work) -> None:
    """Scores have changed: sequences that wait for a threshold take the leads that crossed it."""
    while work.crossings:
        first: dict[UUID, int] = {}
        for lead_id, before, _after in work.crossings:
            first.setdefault(lead_id, before)
        work.crossings.clear()
        for lead_id, before in first.items():
            lead = work.find_lead(lead_id)
            if lead is None or lead.erased:
                continue
            found = match(work, lead, "score_reached", score_before=before)
            if found.best is not None:
                _take_match(work, lead, found)


def _take_match(work: Work, lead: Lead, found: Match) -> None:
    assert found.best is not None
    entry = found.best
    version = work.world.version(entry.sequence_id, entry.version)
    if version is None or (lead.id, entry.sequence_id) in work.enrolled or already_in(work, lead, version) is not None:
        return
    lead = work.on_lead(
        lead.id,
        LeadMatched(sequence_id=entry.sequence_id, version=entry.version, why=found.why, refused=found.refused),
    )
    work.result["enrollment_id"] = str(open_enrollment(work, lead, version, by="trigger", why=found.why))
