"""The ends of an enrollment, and holding one: what belongs together is recorded together."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from services.enrollment.domain.company import ask_company
from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.work import Work
from shared.events.definition import StopRule
from shared.events.enrollment import (
    EnrollmentCompleted,
    EnrollmentExited,
    EnrollmentPaused,
    PauseReason,
    StartRefused,
    StepStopRequested,
    StopReason,
)
from shared.events.lead import LeadLeftSequence
from shared.events.task import TaskWithdrawn
from shared.events.why import Why

#: Reasons of a pause that a person must look into.
LOOKED_INTO: frozenset[PauseReason] = frozenset({"failure", "in_doubt", "missing_value"})
#: Signal of a stop rule -> why the enrollment left, and why a step in flight is stopped.
REASONS: dict[str, StopReason] = {
    "reply": "replied",
    "meeting_booked": "meeting_booked",
    "conversion": "converted",
    "click": "clicked",
    "unsubscribe": "unsubscribed",
    "bounce": "bounced",
    "goal": "goal",
}


def complete(work: Work, state: Enrollment) -> Enrollment:
    """Every step is done."""
    took = round((work.now - state.started_at).total_seconds())
    state = work.on_enrollment(state, EnrollmentCompleted(took_seconds=took))
    _left(work, state, "completed", None)
    return state


def leave(work: Work, state: Enrollment, reason: str, *, stop: StopReason, why: Why | None = None) -> Enrollment:
    """Ends before the end; a step in flight is asked to stop, a task that waits is withdrawn. An ended one stays as
    it is.
    """
    if not state.is_open:
        return state
    state = stop_in_flight(work, state, stop)
    task_id = state.task_id
    if task_id is not None:
        work.record("task", task_id, TaskWithdrawn(reason=reason), state.lead_id)
    state = work.on_enrollment(state, EnrollmentExited(reason=reason, was=state.status, why=why))
    _left(work, state, "exited", reason)
    return state


def hold(
    work: Work,
    state: Enrollment,
    reason: PauseReason,
    *,
    stop: StopReason = "paused",
    why: Why | None = None,
    until: datetime | None = None,
) -> Enrollment:
    """Pauses; a step in flight is asked to stop."""
    state = stop_in_flight(work, state, stop)
    owner = active_owner(work, state) if reason in LOOKED_INTO else None
    paused = EnrollmentPaused(reason=reason, was=state.status, why=why, until=until, owner=owner)
    return work.on_enrollment(state, paused)


def active_owner(work: Work, state: Enrollment) -> str | None:
    """The lead's owner; None when there is none, or none who is still an active member."""
    lead = work.find_lead(state.lead_id)
    return active_member(work, lead.owner) if lead is not None and lead.owner is not None else None


def active_member(work: Work, named: str) -> str | None:
    """The member's id; None when nobody active has it."""
    organization = work.find_organization()
    members = organization.members.items() if organization is not None else ()
    return named if any(str(each) == named and member.active for each, member in members) else None


def stop_in_flight(work: Work, state: Enrollment, reason: StopReason) -> Enrollment:
    """Only the ledger knows whether a stop is in time: the execution stays open until it answers. One stop is asked
    for once.
    """
    flight = state.in_flight
    if flight is None or flight.stopping is not None:
        return state
    return work.on_enrollment(
        state,
        StepStopRequested(
            execution=flight.execution,
            attempt=flight.attempt,
            step_id=flight.step_id,
            channel=flight.channel,
            dispatch_id=flight.dispatch_id,
            reason=reason,
        ),
    )


def apply_stop_rule(
    work: Work, state: Enrollment, rule: StopRule | None, why: Why, *, reason: str | None = None
) -> Enrollment:
    """Exits or pauses an open enrollment as its rule says; without a rule nothing happens. A rule that says
    ``company`` reaches the other leads of the company too, even from an enrollment that has ended. ``reason``: why it
    leaves, where that is not the rule's own signal.

    Where the rule pauses, nothing but a person's order lets the enrollment go on: a pause that would end by itself, or
    could be given an end, is made one without, and a beginning at a set time is left to a person.
    """
    if rule is None:
        return state
    if rule.company:
        state = ask_company(work, state, rule)
    if not state.is_open:
        return state
    stop = REASONS[rule.on]
    if rule.do == "exit":
        return leave(work, state, reason or stop, stop=stop, why=why)
    if state.status == Status.PENDING:
        return work.on_enrollment(state, StartRefused(why=why)) if state.start_at is not None else state
    if state.status == Status.PAUSED and not _might_go_on(state):
        return state
    return hold(work, state, "stop_rule", stop=stop, why=why)


def _might_go_on(state: Enrollment) -> bool:
    """Can the pause end without a person's order to go on: at a set time, once it is known what became of a send in
    doubt, or because a pause by hand may still be given an end?
    """
    by_hand = state.reason == "by_hand" and not state.halted
    return state.paused_until is not None or state.reason == "in_doubt" or by_hand


def _left(work: Work, state: Enrollment, how: Literal["completed", "exited"], reason: str | None) -> None:
    work.on_lead(
        state.lead_id,
        LeadLeftSequence(enrollment_id=state.id, sequence_id=state.sequence_id, how=how, reason=reason),
    )
