"""Outcomes: what became of an attempt. Facts, recorded whatever the state; one the state has left behind changes
nothing, but for a late send.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from services.enrollment.domain.due import go_on
from services.enrollment.domain.enrollment import Enrollment, Execution, Fate, InFlight, Status, reaches, stands_at
from services.enrollment.domain.errors import UnknownTarget
from services.enrollment.domain.frozen import replace
from services.enrollment.domain.lead_facts import suppress_address
from services.enrollment.domain.leaving import apply_stop_rule, hold, leave
from services.enrollment.domain.planning import LONGEST_WISH, Scene, plan_after, plan_at, scene_of
from services.enrollment.domain.resuming import resume
from services.enrollment.domain.work import Work
from shared.events.enrollment import (
    FailedHow,
    Outcome,
    RecordDeferred,
    RecordInDoubt,
    RecordRejected,
    RecordSent,
    RecordStopped,
    RecordUndressed,
    StepDeferred,
    StepFailed,
    StepInDoubt,
    StepSent,
    StepSettled,
    StepStopped,
)
from shared.events.why import Plan, Why

STALE = "stale"
#: A deferral that is nobody's fault and names no time is looked at again after this, as is a stop that the enrollment
#: did not ask for.
SHORT_WAIT = timedelta(minutes=1)


class Open(NamedTuple):
    """The attempt that an outcome answers, with the enrollment around it."""

    state: Enrollment
    flight: InFlight


def find(work: Work, outcome: Outcome) -> tuple[Enrollment, Execution]:
    """Raises UnknownTarget for an enrollment or execution that never was."""
    state = work.enrollment(outcome.enrollment_id)
    execution = state.executions.get(outcome.execution)
    if execution is None or outcome.attempt > execution.attempt or outcome.dispatch_id != execution.dispatch_id:
        raise UnknownTarget("attempt", f"{outcome.enrollment_id}/{outcome.execution}/{outcome.attempt}")
    return state, execution


def awaited(work: Work, outcome: Outcome) -> Open | None:
    """The open attempt that this outcome answers; None when the state has left it behind or it was answered already."""
    state, _ = find(work, outcome)
    flight = state.in_flight
    if flight is None or flight.execution != outcome.execution or flight.attempt != outcome.attempt:
        return None
    return Open(state, flight)


def sent(work: Work, outcome: RecordSent) -> None:
    """A message that went out counts as sent, however late the news, and only once."""
    state, execution = find(work, outcome)
    if execution.fate == Fate.SENT:
        return
    if execution.fate in {Fate.IN_DOUBT, Fate.NOT_SENT}:
        settle(work, state, execution, "sent", "late_answer")
        return
    stands_here = stands_at(state, execution.number)
    plan: Plan | None = None
    if stands_here and state.status == Status.ACTIVE:
        first = not state.sent and reaches(execution.channel)
        counted = replace(state, sent=1) if first else state  # this message makes the next one a follow-up
        plan = plan_after(scene_of(work, state), counted, execution.step_id, moment=outcome.sent_at)
    state = work.on_enrollment(
        state,
        StepSent(
            execution=execution.number,
            attempt=outcome.attempt,
            step_id=execution.step_id,
            channel=execution.channel,
            dispatch_id=execution.dispatch_id,
            sent_at=outcome.sent_at,
            message_id=outcome.message_id,
            answer=outcome.answer,
            plan=plan,
            **execution.credit,
        ),
    )
    if stands_here:
        go_on(work, state, messages=True)


def settle(work: Work, state: Enrollment, execution: Execution, outcome: str, by: str) -> Enrollment:
    """What became of a send in doubt. An enrollment that was held for it goes on."""
    return go_on_settled(work, record_settled(work, state, execution, outcome, by), execution)


def record_settled(work: Work, state: Enrollment, execution: Execution, outcome: str, by: str) -> Enrollment:
    """The fact alone: what it was heard by may have more to say before anything goes on."""
    return work.on_enrollment(
        state,
        StepSettled(
            execution=execution.number,
            step_id=execution.step_id,
            channel=execution.channel,
            dispatch_id=execution.dispatch_id,
            outcome="sent" if outcome == "sent" else "not_sent",
            by=by,
            **execution.credit,
        ),
    )


def go_on_settled(work: Work, state: Enrollment, execution: Execution) -> Enrollment:
    """An enrollment that is still held for a doubt that is none any more goes on."""
    if state.status == Status.PAUSED and state.reason == "in_doubt" and state.last_execution == execution.number:
        state = resume(work, state)
    return state


def deferred(work: Work, outcome: RecordDeferred) -> None:
    """A fault counts against ``max_retries`` and waits ``retry_delay_minutes``; a mere wait counts nothing."""
    opened = awaited(work, outcome)
    if opened is None or opened.flight.deferred:
        return
    state, flight = opened
    scene = scene_of(work, state)
    settings = scene.version.settings
    plan: Plan | None = None
    if flight.stopping is None and state.status == Status.ACTIVE:
        if outcome.fault and state.faults >= settings.max_retries:
            fail(work, state, scene, outcome.reason, "retries_used")
            return
        node = scene.version.nodes.get(flight.step_id)
        if node is not None:
            wait = timedelta(0) if outcome.reason == STALE or outcome.retry_at is not None else SHORT_WAIT
            if outcome.fault:
                wait = timedelta(minutes=settings.retry_delay_minutes)
            again_at = work.now + wait
            if outcome.retry_at is not None:
                again_at = max(again_at, min(outcome.retry_at, work.now + LONGEST_WISH))
            why = Why(rule="retry" if outcome.fault else "deferred", inputs={"reason": outcome.reason})
            plan = plan_at(scene, state, node, execution=flight.execution, due=again_at, why=why, held=flight.quotas)
    work.on_enrollment(
        state,
        StepDeferred(
            execution=flight.execution,
            attempt=flight.attempt,
            step_id=flight.step_id,
            channel=flight.channel,
            reason=outcome.reason,
            fault=outcome.fault,
            plan=plan,
        ),
    )


def fail(
    work: Work,
    state: Enrollment,
    scene: Scene,
    reason: str,
    how: FailedHow,
    *,
    bounce: bool = False,
    held_for: str | None = None,
) -> None:
    """The step will not be sent. While the enrollment is active its policy decides: continue, pause or exit.

    ``held_for`` names missing values: these hold the enrollment whatever the policy.
    """
    flight = state.in_flight
    assert flight is not None
    node = scene.version.nodes.get(flight.step_id)
    policy = node.step.on_failure if node is not None else "continue"
    goes_on = state.status == Status.ACTIVE and held_for is None and policy == "continue"
    bounce_rule = scene.version.settings.stop_rule("bounce") if bounce else None
    plan = None
    if goes_on and bounce_rule is None:
        plan = plan_after(scene, state, flight.step_id, moment=work.now)
    state = work.on_enrollment(
        state,
        StepFailed(
            execution=flight.execution,
            attempt=flight.attempt,
            step_id=flight.step_id,
            channel=flight.channel,
            reason=reason,
            bounce=bounce,
            how=how,
            plan=plan,
            **state.executions[flight.execution].credit,
        ),
    )
    if state.status != Status.ACTIVE:
        if bounce_rule is not None:
            apply_stop_rule(work, state, bounce_rule, Why(rule="bounce"))
        return
    why = Why(rule="failure", inputs={"step": flight.step_id, "reason": reason})
    if bounce_rule is not None:
        apply_stop_rule(work, state, bounce_rule, Why(rule="bounce", inputs={"step": flight.step_id}))
    elif held_for is not None:
        hold(
            work,
            state,
            "missing_value",
            why=Why(rule="missing_value", inputs={"step": flight.step_id, "missing": held_for}),
        )
    elif policy == "pause":
        hold(work, state, "failure", why=why)
    elif policy == "exit":
        leave(work, state, "failure", stop="cancelled", why=why)
    else:
        go_on(work, state)


def rejected(work: Work, outcome: RecordRejected) -> None:
    """Refused for good. A bad address is suppressed besides."""
    state, execution = find(work, outcome)
    flight = state.in_flight
    if flight is not None and flight.execution == outcome.execution and flight.attempt == outcome.attempt:
        fail(work, state, scene_of(work, state), outcome.reason, "rejected", bounce=outcome.bounce)
    elif execution.fate == Fate.IN_DOUBT:
        settle(work, state, execution, "not_sent", "late_answer")
    else:
        return
    if outcome.bounce:
        suppress_address(work, state.lead_id, execution.channel, "bounce")


def stopped(work: Work, outcome: RecordStopped) -> None:
    """A stop was in time. An enrollment that is active all the same gets the step again, as a new execution."""
    state, execution = find(work, outcome)
    flight = state.in_flight
    waits = (
        flight is None
        and execution.fate == Fate.DEFERRED
        and outcome.attempt == execution.attempt
        and stands_at(state, execution.number)
    )
    if not waits and (flight is None or flight.execution != outcome.execution or flight.attempt != outcome.attempt):
        return
    plan: Plan | None = None
    if state.status == Status.ACTIVE:
        scene = scene_of(work, state)
        node = scene.version.nodes.get(execution.step_id)
        if node is not None:
            again_at = work.now if flight is not None and flight.stopping is not None else work.now + SHORT_WAIT
            if state.plan is not None and state.plan.at is not None:
                again_at = max(again_at, state.plan.at)
            plan = plan_at(
                scene,
                state,
                node,
                execution=state.last_execution + 1,
                due=again_at,
                why=Why(rule="stopped", inputs={"reason": outcome.reason}),
                held=flight.quotas if flight is not None and not flight.deferred else None,
            )
    work.on_enrollment(
        state,
        StepStopped(
            execution=execution.number,
            attempt=outcome.attempt,
            step_id=execution.step_id,
            channel=execution.channel,
            reason=outcome.reason,
            plan=plan,
        ),
    )


def in_doubt(work: Work, outcome: RecordInDoubt) -> None:
    """Handed over, and the answer lost: counts as sent, or holds the enrollment, as the sequence says."""
    opened = awaited(work, outcome)
    if opened is None:
        return
    state, flight = opened
    scene = scene_of(work, state)
    holds = scene.version.settings.on_in_doubt == "hold"
    active = state.status == Status.ACTIVE
    plan = None if holds or not active else plan_after(scene, state, flight.step_id, moment=work.now)
    state = work.on_enrollment(
        state,
        StepInDoubt(
            execution=flight.execution,
            attempt=flight.attempt,
            step_id=flight.step_id,
            channel=flight.channel,
            dispatch_id=flight.dispatch_id,
            reason=outcome.reason,
            plan=plan,
            **state.executions[flight.execution].credit,
        ),
    )
    if active and holds:
        hold(work, state, "in_doubt", why=Why(rule="in_doubt", inputs={"step": flight.step_id}))
    elif active:
        go_on(work, state)


def undressed(work: Work, outcome: RecordUndressed) -> None:
    """Could not be rendered. Missing values hold the enrollment until someone has filled them in; broken content is a
    failure.
    """
    opened = awaited(work, outcome)
    if opened is None:
        return
    missing = ", ".join(outcome.missing) or None
    fail(work, opened.state, scene_of(work, opened.state), outcome.reason, "undressed", held_for=missing)
