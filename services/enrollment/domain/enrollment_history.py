"""Enrollment: the state folded from its events. Never refuses, never reads a clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from services.enrollment.domain.enrollment import (
    NEVER_REPEATED,
    SILENCE,
    Approved,
    Enrollment,
    Execution,
    Fate,
    InFlight,
    Migration,
    Status,
    Try,
    reaches,
    stands_at,
)
from services.enrollment.domain.frozen import replace
from shared.events.enrollment import (
    CompanyStopAsked,
    EngagementNoted,
    EnrollmentActivated,
    EnrollmentAdvanced,
    EnrollmentCompleted,
    EnrollmentExited,
    EnrollmentMigrated,
    EnrollmentPaused,
    EnrollmentReplanned,
    EnrollmentResumed,
    EnrollmentStarted,
    MigrationAwaited,
    MigrationDropped,
    StartRefused,
    StepApproved,
    StepDeferred,
    StepDoneByPerson,
    StepDue,
    StepFailed,
    StepHandedToPerson,
    StepInDoubt,
    StepOverdue,
    StepPostponed,
    StepSent,
    StepSettled,
    StepSkipped,
    StepStopped,
    StepStopRequested,
    StepTaken,
    WatchdogRang,
)
from shared.events.message import Event
from shared.events.why import Plan

#: Channels whose message ids make a thread; the null channel stands in for e-mail.
MAIL_CHANNELS = frozenset({"email", "null"})
#: Rules of a skip that leaves no trace in time: the next delay counts from the last step done.
TRACELESS_RULES = frozenset({"inactive", "already_done"})


def _with(state: Enrollment, number: int, **changes: Any) -> dict[int, Execution]:
    """The executions, one of them changed."""
    executions = dict(state.executions)
    if number in executions:
        executions[number] = executions[number]._replace(**changes)
    return executions


def _tried(
    state: Enrollment, event: StepDeferred | StepFailed, at: datetime, fault: Literal["transient", "permanent"] | None
) -> tuple[Try, ...]:
    """The attempts of an execution that ended without a send, this one included."""
    known = state.executions.get(event.execution)
    return (*(known.tries if known is not None else ()), Try(event.attempt, at, event.reason, fault))


def _highest(state: Enrollment, plan: Plan | None) -> int:
    return state.last_execution if plan is None else max(state.last_execution, plan.execution)


def _start_refused(state: Enrollment, event: StartRefused, _at: datetime) -> Enrollment:
    return replace(state, start_at=None, reason=event.why.rule)


def _activated(state: Enrollment, event: EnrollmentActivated, at: datetime) -> Enrollment:
    return replace(
        state,
        status=Status.ACTIVE,
        reason=None,
        start_at=None,
        started_at=at,
        previous_at=at,
        plan=event.plan,
        last_execution=_highest(state, event.plan),
    )


def _postponed(
    state: Enrollment, event: StepPostponed | EnrollmentAdvanced | EnrollmentReplanned, _at: datetime
) -> Enrollment:
    held = state.was_held or (event.plan.blocked_on is not None and state.task_id is None)
    return replace(state, plan=event.plan, was_held=held)


def _due(state: Enrollment, event: StepDue, _at: datetime) -> Enrollment:
    known = state.executions.get(event.execution)
    execution = Execution(
        event.execution,
        event.step_id,
        event.channel,
        event.dispatch_id,
        event.attempt,
        Fate.IN_FLIGHT,
        signals=known.signals if known is not None else SILENCE,
        intent=known.intent if known is not None else None,
        draft_id=event.draft_id,
        starts_at=event.starts_at,
        tries=known.tries if known is not None else (),
        sender=event.sender,
        variant=event.variant,
        content=event.content,
    )
    return replace(
        state,
        plan=None,
        again=False,
        last_execution=max(state.last_execution, event.execution),
        executions={**state.executions, event.execution: execution},
        in_flight=InFlight(
            event.execution,
            event.attempt,
            event.step_id,
            event.channel,
            event.dispatch_id,
            event.due_at,
            event.valid_until,
            tuple(event.quotas),
        ),
    )


#: Kinds of steps that leave nothing behind: in another version they may come again.
_TRACELESS = frozenset({"condition", "wait"})


def _with_done(state: Enrollment, step_id: str) -> Enrollment:
    return state if step_id in state.done else replace(state, done=state.done | {step_id})


def _sent(state: Enrollment, event: StepSent, _at: datetime) -> Enrollment:
    left_behind = event.plan is None and not stands_at(state, event.execution)
    executions = _with(state, event.execution, fate=Fate.SENT, sent_at=event.sent_at)
    thread = state.thread
    if event.channel in MAIL_CHANNELS and event.message_id and event.message_id not in thread:
        thread = (*thread, event.message_id)
    known: dict[str, Any] = {"executions": executions, "thread": thread, "sent": state.sent + reaches(event.channel)}
    state = _with_done(state, event.step_id)
    if left_behind:
        return replace(state, **known)  # a late answer for a step that the enrollment has left behind
    return _concluded(state, event.step_id, event.plan, event.sent_at, **known)


def _concluded(
    state: Enrollment, step_id: str, plan: Plan | None, moment: datetime, *, arm: str | None = None, **more: Any
) -> Enrollment:
    """The enrollment has done with a step and goes on to what is planned, if anything."""
    return replace(
        state,
        in_flight=None,
        plan=plan,
        faults=0,
        after=step_id,
        arm=arm,
        again=False,
        approved=None,
        repeats=0,
        previous_at=moment,
        last_execution=_highest(state, plan),
        **more,
    )


def _deferred(state: Enrollment, event: StepDeferred, at: datetime) -> Enrollment:
    faults = state.faults + (1 if event.fault else 0)
    tries = _tried(state, event, at, "transient" if event.fault else None)
    flight = state.in_flight
    if flight is not None and flight.stopping is not None:
        executions = _with(state, event.execution, tries=tries)
        return replace(state, faults=faults, executions=executions, in_flight=flight._replace(deferred=True))
    return replace(
        state,
        faults=faults,
        in_flight=None,
        plan=event.plan,
        executions=_with(state, event.execution, fate=Fate.DEFERRED, tries=tries),
    )


def _failed(state: Enrollment, event: StepFailed, at: datetime) -> Enrollment:
    approved = state.approved
    tries = _tried(state, event, at, "transient" if event.how == "retries_used" else "permanent")
    state = replace(state, executions=_with(state, event.execution, fate=Fate.FAILED, tries=tries))
    state = _concluded(state, event.step_id, event.plan, at)
    again = event.plan is None and event.reason not in NEVER_REPEATED
    state = state if event.reason not in NEVER_REPEATED else _with_done(state, event.step_id)
    return replace(state, again=again, approved=approved if again else None)


def _stop_requested(state: Enrollment, event: StepStopRequested, _at: datetime) -> Enrollment:
    flight = state.in_flight
    if flight is None or flight.execution != event.execution:
        return state
    return replace(state, in_flight=flight._replace(stopping=event.reason, rounds=0, unanswered=0, next_ring=None))


def _stopped(state: Enrollment, event: StepStopped, _at: datetime) -> Enrollment:
    """Nothing went out: the step comes again, as a new execution. What delays count from stays."""
    return replace(
        state,
        executions=_with(state, event.execution, fate=Fate.STOPPED),
        in_flight=None,
        plan=event.plan,
        faults=0,
        after=event.step_id,
        again=True,
        last_execution=_highest(state, event.plan),
    )


def _in_doubt(state: Enrollment, event: StepInDoubt, at: datetime) -> Enrollment:
    state = replace(state, executions=_with(state, event.execution, fate=Fate.IN_DOUBT))
    return _concluded(_with_done(state, event.step_id), event.step_id, event.plan, at)


def _settled(state: Enrollment, event: StepSettled, _at: datetime) -> Enrollment:
    if event.outcome == "sent":
        known = state.executions.get(event.execution)
        counts = known is not None and known.fate != Fate.SENT and reaches(event.channel)
        sent = state.sent + (1 if counts else 0)
        state = _with_done(state, event.step_id)
        return replace(state, executions=_with(state, event.execution, fate=Fate.SENT), sent=sent)
    state = replace(state, done=state.done - {event.step_id})
    held = state.plan is None and state.after == event.step_id and state.last_execution == event.execution
    return replace(state, executions=_with(state, event.execution, fate=Fate.NOT_SENT), again=held)


def _rang(state: Enrollment, event: WatchdogRang, _at: datetime) -> Enrollment:
    flight = state.in_flight
    if flight is None or flight.execution != event.execution:
        return state
    unanswered = flight.unanswered + (1 if event.consumed else 0)
    return replace(state, in_flight=flight._replace(rounds=event.round, unanswered=unanswered, next_ring=event.next_at))


def _skipped(state: Enrollment, event: StepSkipped, at: datetime) -> Enrollment:
    moment = at if event.why.rule not in TRACELESS_RULES else state.previous_at
    return _concluded(state, event.step_id, event.plan, moment)


def _taken(state: Enrollment, event: StepTaken, at: datetime) -> Enrollment:
    state = state if event.kind in _TRACELESS else _with_done(state, event.step_id)
    return _concluded(state, event.step_id, event.plan, at, arm=event.arm)


def _handed(state: Enrollment, event: StepHandedToPerson, _at: datetime) -> Enrollment:
    return replace(state, plan=event.plan)


def _done(state: Enrollment, event: StepDoneByPerson, at: datetime) -> Enrollment:
    repeats = state.repeats + 1 if event.plan is not None and event.plan.step_id == event.step_id else 0
    state = state if repeats else _with_done(state, event.step_id)
    return replace(_concluded(state, event.step_id, event.plan, at), repeats=repeats)


def _approved(state: Enrollment, event: StepApproved, _at: datetime) -> Enrollment:
    return replace(state, plan=event.plan, approved=Approved(event.step_id, event.task_id))


def _overdue(state: Enrollment, event: StepOverdue, at: datetime) -> Enrollment:
    state = _with_done(state, event.step_id)
    return _concluded(state, event.step_id, event.plan, at)


def _noted(state: Enrollment, event: EngagementNoted, _at: datetime) -> Enrollment:
    known = state.executions.get(event.execution)
    if known is None or event.signal in known.signals:
        return state
    signals = {**known.signals, event.signal: event.at}
    return replace(
        state, executions=_with(state, event.execution, signals=signals, intent=event.intent or known.intent)
    )


def _without_slots(plan: Plan | None) -> Plan | None:
    return plan.model_copy(update={"reserved": []}) if plan is not None and plan.reserved else plan


def _paused(state: Enrollment, event: EnrollmentPaused, _at: datetime) -> Enrollment:
    return replace(
        state,
        status=Status.PAUSED,
        reason=event.reason,
        paused_until=event.until,
        plan=_without_slots(state.plan),
        halted=state.halted or event.reason == "stop_rule",
    )


def _resumed(state: Enrollment, event: EnrollmentResumed, at: datetime) -> Enrollment:
    return replace(
        state,
        status=Status.ACTIVE,
        reason=None,
        paused_until=None,
        plan=event.plan,
        faults=0,
        last_execution=_highest(state, event.plan),
        resumed_at=at,
        was_held=True,
        halted=False,
    )


def _company_asked(state: Enrollment, event: CompanyStopAsked, _at: datetime) -> Enrollment:
    return replace(state, company_asked=state.company_asked | {event.signal})


def _migration_awaited(state: Enrollment, event: MigrationAwaited, _at: datetime) -> Enrollment:
    moves = tuple(sorted(event.moves.items()))
    return replace(state, migration=Migration(event.to_version, event.step_id, moves, event.repeats))


def _migration_dropped(state: Enrollment, _event: MigrationDropped, _at: datetime) -> Enrollment:
    return replace(state, migration=None)


def _migrated(state: Enrollment, event: EnrollmentMigrated, _at: datetime) -> Enrollment:
    """What belongs to a step goes with it only where it is the same step."""
    paused = state.status == Status.PAUSED
    plan = _without_slots(event.plan) if paused else event.plan
    stays = state.plan is not None and plan is not None and plan.step_id == state.plan.step_id
    approved = state.approved
    return replace(
        state,
        version=event.to_version,
        plan=plan,
        migration=None,
        migrated=True,
        done=state.done - {event.to_step} if event.repeats and event.to_step is not None else state.done,
        again=state.again and (plan is None or plan.step_id == state.after),
        approved=approved if plan is None or (approved is not None and approved.step_id == plan.step_id) else None,
        repeats=state.repeats if stays else 0,
        faults=state.faults if stays else 0,
        last_execution=state.last_execution if paused else _highest(state, plan),
    )


def _completed(state: Enrollment, _event: EnrollmentCompleted, _at: datetime) -> Enrollment:
    return replace(state, status=Status.COMPLETED, reason=None, plan=None, paused_until=None)


def _exited(state: Enrollment, event: EnrollmentExited, _at: datetime) -> Enrollment:
    return replace(state, status=Status.EXITED, reason=event.reason, plan=None, paused_until=None)


_APPLY: dict[type[Event], Callable[[Enrollment, Any, datetime], Enrollment]] = {
    EnrollmentActivated: _activated,
    StartRefused: _start_refused,
    StepPostponed: _postponed,
    EnrollmentAdvanced: _postponed,
    EnrollmentReplanned: _postponed,
    StepDue: _due,
    StepSent: _sent,
    StepDeferred: _deferred,
    StepFailed: _failed,
    StepStopRequested: _stop_requested,
    StepStopped: _stopped,
    StepInDoubt: _in_doubt,
    StepSettled: _settled,
    WatchdogRang: _rang,
    StepSkipped: _skipped,
    StepTaken: _taken,
    StepHandedToPerson: _handed,
    StepDoneByPerson: _done,
    StepApproved: _approved,
    StepOverdue: _overdue,
    EngagementNoted: _noted,
    EnrollmentPaused: _paused,
    CompanyStopAsked: _company_asked,
    EnrollmentResumed: _resumed,
    MigrationAwaited: _migration_awaited,
    MigrationDropped: _migration_dropped,
    EnrollmentMigrated: _migrated,
    EnrollmentCompleted: _completed,
    EnrollmentExited: _exited,
}


def started(enrollment_id: UUID, organization_id: str, event: EnrollmentStarted, at: datetime) -> Enrollment:
    """The state after the first event."""
    return Enrollment(
        id=enrollment_id,
        organization_id=organization_id,
        lead_id=event.lead_id,
        sequence_id=event.sequence_id,
        version=event.version,
        status=Status.PENDING if event.plan is None else Status.ACTIVE,
        started_at=at,
        previous_at=at,
        plan=event.plan,
        last_execution=event.plan.execution if event.plan is not None else 0,
        bulk_id=event.bulk_id,
        start_at=event.start_at if event.plan is None else None,
    )


def evolve(state: Enrollment, event: Event, at: datetime) -> Enrollment:
    """The state after an event recorded at ``at``. An event it does not know leaves it as it is."""
    apply = _APPLY.get(type(event))
    return state if apply is None else apply(state, event, at)
