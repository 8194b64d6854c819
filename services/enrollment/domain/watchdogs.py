"""Watchdogs and waking: what a timer does when it rings."""

from __future__ import annotations

from datetime import timedelta

from services.enrollment.domain.due import go_on, take_due
from services.enrollment.domain.enrolling import start_due
from services.enrollment.domain.enrollment import UNANSWERED, Enrollment, InFlight, Status
from services.enrollment.domain.outcomes import fail
from services.enrollment.domain.person_steps import look_after
from services.enrollment.domain.planning import scene_of
from services.enrollment.domain.replanning import by_the_rules
from services.enrollment.domain.resuming import resume
from services.enrollment.domain.work import Work
from shared.events.enrollment import StopReason, WakeTimer, WatchdogRang
from shared.events.why import TimerClass

#: Machine time until a step in flight is asked after; each further round waits twice as long, up to the longest.
FIRST_ROUND = timedelta(minutes=15)
LONGEST_ROUND = timedelta(hours=6)
#: Rounds that nobody answered, while the channel's queue was consumed, before the failure policy applies.
MOST_ROUNDS = 3


def round_delay(rounds: int) -> timedelta:
    """Machine time until the next ring when ``rounds`` have rung."""
    return min(FIRST_ROUND * (1 << min(rounds, 10)), LONGEST_ROUND)


def wake(work: Work, command: WakeTimer) -> None:
    """A timer whose execution and attempt the state has left behind does nothing; its row is written again as the
    state wants it.
    """
    work.retimed.add(command.enrollment_id)
    state = work.find_enrollment(command.enrollment_id)
    if state is None:
        return
    flight = state.in_flight
    if flight is not None:
        if command.timer_class == TimerClass.WATCHDOG and (command.execution, command.attempt) == (
            flight.execution,
            flight.attempt,
        ):
            _ring(work, state, flight)
        return
    if command.timer_class == TimerClass.WATCHDOG:
        return
    if state.status == Status.PAUSED:
        if state.paused_until is not None and state.paused_until <= work.now:
            resume(work, state)
        return
    if state.status == Status.PENDING:
        if state.start_at is not None and state.start_at <= work.now:
            start_due(work, state)
        return
    if state.status == Status.ACTIVE:
        _wake_active(work, state, command)


def _wake_active(work: Work, state: Enrollment, command: WakeTimer) -> None:
    plan = state.plan
    if plan is None:
        return
    if state.task_id is not None:
        given_up = look_after(work, state)
        if given_up is not None:
            go_on(work, given_up)
        return
    if (plan.execution, state.next_attempt) != (command.execution, command.attempt):
        return
    at = plan.at or plan.due_at  # what held it may have ended before its delay did: the lead's date has moved
    if at is None or at <= work.now:
        take_due(work, state)
    else:
        by_the_rules(work, state)  # woken before its time, because the rules have changed


def _ring(work: Work, state: Enrollment, flight: InFlight) -> None:
    """Asks again: the ledger answers. A stop is asked for as long as it takes; a send only so often."""
    if flight.next_ring is not None and flight.next_ring > work.wall_now:
        return
    consumed = work.world.channel_consumed(flight.channel)
    if flight.stopping is None and consumed and flight.unanswered >= MOST_ROUNDS:
        fail(work, state, scene_of(work, state), UNANSWERED, "unanswered")
        return
    stopping: StopReason | None = flight.stopping
    work.on_enrollment(
        state,
        WatchdogRang(
            execution=flight.execution,
            attempt=flight.attempt,
            step_id=flight.step_id,
            channel=flight.channel,
            dispatch_id=flight.dispatch_id,
            sequence_id=state.sequence_id,
            version=state.version,
            round=flight.rounds + 1,
            due_at=flight.due_at,
            valid_until=flight.valid_until,
            stopping=stopping,
            next_at=work.wall_now + round_delay(flight.rounds + 1),
            consumed=consumed,
        ),
    )
