"""Orders to an enrollment: start, pause, resume, cancel, resolve. A repeated order records nothing and is no error."""

from __future__ import annotations

from services.enrollment.domain import moments
from services.enrollment.domain.enrolling import start_pending
from services.enrollment.domain.enrollment import Enrollment, Fate, Status
from services.enrollment.domain.errors import EnrollmentClosed, HeldWithoutEnd, UnknownTarget
from services.enrollment.domain.leaving import hold, leave
from services.enrollment.domain.outcomes import settle
from services.enrollment.domain.resuming import resume
from services.enrollment.domain.work import Work
from shared.events.enrollment import (
    CancelEnrollment,
    PauseEnrollment,
    ResolveDispatch,
    ResumeEnrollment,
    StartEnrollment,
)

#: Of a pause that a person ordered, who may give it another end.
BY_HAND = "by_hand"


def start(work: Work, command: StartEnrollment) -> None:
    """Raises UnknownTarget, or EnrollmentClosed when it has ended."""
    state = work.enrollment(command.enrollment_id)
    _still_open(state)
    if state.status == Status.PENDING:
        start_pending(work, state)


def pause(work: Work, command: PauseEnrollment) -> None:
    """Raises UnknownTarget, EnrollmentClosed when there is nothing left to hold, or InvalidMoment for an end that has
    passed; HeldWithoutEnd for a pause with an end of what a stop rule, a failure or a doubt holds.

    One that is held for another reason, or until another time, is held anew for this one.
    """
    state = work.enrollment(command.enrollment_id)
    _still_open(state)
    if state.status == Status.PAUSED and (state.reason, state.paused_until) == (command.reason, command.until):
        return
    if state.status == Status.PENDING:
        raise EnrollmentClosed(f"enrollment {state.id} has not begun")
    moments.ahead(work, "until", command.until)
    held_for = "stop_rule" if state.halted else state.reason or ""
    if state.status == Status.PAUSED and held_for != BY_HAND and command.until is not None:
        raise HeldWithoutEnd(
            f"It is held ({held_for.replace('_', ' ')}) until somebody resumes it; "
            "a pause that ends would let it go on by itself."
        )
    hold(work, state, command.reason, until=command.until)


def take_up(work: Work, command: ResumeEnrollment) -> None:
    """Raises UnknownTarget, or EnrollmentClosed when it has ended or not begun."""
    state = work.enrollment(command.enrollment_id)
    _still_open(state)
    if state.status == Status.PENDING:
        raise EnrollmentClosed(f"enrollment {state.id} has not begun")
    if state.status == Status.PAUSED:
        resume(work, state)


def cancel(work: Work, command: CancelEnrollment) -> None:
    """Raises UnknownTarget, or EnrollmentClosed when every step was done already. One that has left stays as it is."""
    state = work.enrollment(command.enrollment_id)
    if state.status == Status.COMPLETED:
        raise EnrollmentClosed(f"enrollment {state.id} is complete")
    leave(work, state, command.reason, stop="cancelled")


def resolve(work: Work, command: ResolveDispatch, by: str) -> None:
    """Raises UnknownTarget unless the execution is in doubt, or was settled the same way."""
    state = work.enrollment(command.enrollment_id)
    execution = state.executions.get(command.execution)
    if execution is None:
        raise UnknownTarget("execution", f"{command.enrollment_id}/{command.execution}")
    already = Fate.SENT if command.outcome == "sent" else Fate.NOT_SENT
    if execution.fate == already:
        return
    if execution.fate != Fate.IN_DOUBT:
        raise UnknownTarget("send in doubt", f"{command.enrollment_id}/{command.execution}")
    settle(work, state, execution, command.outcome, by)


def _still_open(state: Enrollment) -> None:
    if not state.is_open:
        raise EnrollmentClosed(f"enrollment {state.id} is {state.status}")
