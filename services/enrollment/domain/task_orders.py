"""Orders about tasks. What a person does with a step's task moves its enrollment on."""

from __future__ import annotations

from typing import Literal

from services.enrollment.domain import moments
from services.enrollment.domain.due import go_on
from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.errors import InvalidAssignee, InvalidOutcome, LeadErasedAlready, NotATask, TaskClosed
from services.enrollment.domain.lead_facts import suppress_address
from services.enrollment.domain.person_steps import again, move_overdue
from services.enrollment.domain.planning import plan_after, scene_of
from services.enrollment.domain.task import Task
from services.enrollment.domain.work import Work
from shared.events.enrollment import StepDoneByPerson
from shared.events.kinds import CALL_OUTCOMES, StepKind
from shared.events.task import (
    AssignTask,
    CompleteTask,
    OpenTask,
    SkipTask,
    SnoozeTask,
    TaskAssigned,
    TaskCompleted,
    TaskOpened,
    TaskSkipped,
    TaskSnoozed,
)

WRONG_NUMBER: Literal["wrong_number"] = "wrong_number"
#: Channels that reach a lead by phone number.
PHONE_CHANNELS = ("sms", "whatsapp")


def open_by_hand(work: Work, command: OpenTask) -> None:
    """Raises UnknownTarget, LeadErasedAlready or InvalidAssignee."""
    if work.find_task(command.task_id) is not None:
        return
    lead = work.lead(command.lead_id)
    if lead.erased:
        raise LeadErasedAlready
    event = TaskOpened(
        kind=command.kind,
        title=command.title,
        notes=command.notes,
        due_at=command.due_at,
        assignee=_member(work, command.assignee),
    )
    work.record("task", command.task_id, event, lead.id)


def complete_task(work: Work, command: CompleteTask) -> None:
    """Raises UnknownTarget, TaskClosed when it was skipped or withdrawn, InvalidOutcome for a call that ended in none
    of its outcomes, or NotATask for a draft. A wrong number is not messaged any more.
    """
    task = work.task(command.task_id)
    if task.status == "completed":
        return
    still_open(task)
    if task.is_draft:
        raise NotATask(f"draft {task.id} is approved or rejected, not completed")
    if task.kind == StepKind.CALL and command.outcome not in CALL_OUTCOMES:
        problem = f"must be one of {', '.join(CALL_OUTCOMES)}"
        raise InvalidOutcome(f"the outcome of a call {problem}", errors=[{"field": "outcome", "problem": problem}])
    work.record("task", task.id, TaskCompleted(outcome=command.outcome, note=command.note), task.lead_id)
    if task.kind == StepKind.CALL and command.outcome == WRONG_NUMBER:
        for channel in PHONE_CHANNELS:
            suppress_address(work, task.lead_id, channel, WRONG_NUMBER)
    _step_done(work, task, command.outcome)


def skip_task(work: Work, command: SkipTask) -> None:
    """Raises UnknownTarget, or TaskClosed when it was completed or withdrawn."""
    task = work.task(command.task_id)
    if task.status == "skipped":
        return
    still_open(task)
    work.record("task", task.id, TaskSkipped(note=command.note), task.lead_id)
    _step_done(work, task, "skipped")


def snooze_task(work: Work, command: SnoozeTask) -> None:
    """Raises UnknownTarget, TaskClosed, or InvalidMoment for a time that has passed."""
    task = work.task(command.task_id)
    still_open(task)
    if task.due_at != command.until:
        moments.ahead(work, "until", command.until)
        work.record("task", task.id, TaskSnoozed(until=command.until), task.lead_id)
        move_overdue(work, awaiting(work, task), command.until)


def assign_task(work: Work, command: AssignTask) -> None:
    """Raises UnknownTarget, TaskClosed or InvalidAssignee."""
    task = work.task(command.task_id)
    still_open(task)
    assignee = _member(work, command.assignee)
    if task.assignee != assignee:
        work.record("task", task.id, TaskAssigned(assignee=assignee), task.lead_id)


def _member(work: Work, named: str | None) -> str | None:
    """The id of an active member who is named by id or e-mail: with any other word the task would be on nobody's list.
    None for nobody. Raises InvalidAssignee.
    """
    if named is None:
        return None
    for member_id, member in work.organization().members.items():
        if member.active and named.casefold() in {str(member_id), member.email.casefold()}:
            return str(member_id)
    problem = "is no active member, by id or by e-mail"
    raise InvalidAssignee(f"assignee {problem}", errors=[{"field": "assignee", "problem": problem}])


def still_open(task: Task) -> None:
    if task.status != "open":
        raise TaskClosed(f"task {task.id} is {task.status}")


def awaiting(work: Work, task: Task) -> Enrollment | None:
    """The enrollment that waits for this task; None when none does, or not any more."""
    state = work.find_enrollment(task.enrollment_id) if task.enrollment_id is not None else None
    return state if state is not None and state.plan is not None and state.task_id == task.id else None


def _step_done(work: Work, task: Task, outcome: str) -> None:
    """The enrollment that waited for this task goes on, or tries the call again; a paused one remembers."""
    state = awaiting(work, task)
    if state is None:
        return
    assert state.plan is not None
    active = state.status == Status.ACTIVE
    step_id, execution = state.plan.step_id, state.plan.execution
    scene = scene_of(work, state)
    node = scene.version.nodes.get(step_id)
    plan = again(scene, state, node, outcome) if node is not None else None
    if plan is None and active:
        plan = plan_after(scene, state, step_id, moment=work.now)
    state = work.on_enrollment(
        state,
        StepDoneByPerson(execution=execution, step_id=step_id, task_id=task.id, outcome=outcome, plan=plan),
    )
    if active:
        go_on(work, state)
