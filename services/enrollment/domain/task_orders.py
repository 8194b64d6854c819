"""Orders about tasks. What a person does with a step's task moves its enrollment on."""

from __future__ import annotations

from services.enrollment.domain.due import run_on
from services.enrollment.domain.enrollment import Status
from services.enrollment.domain.errors import LeadErasedAlready, TaskClosed
from services.enrollment.domain.leaving import complete
from services.enrollment.domain.planning import plan_after, scene_of
from services.enrollment.domain.task import Task
from services.enrollment.domain.work import Work
from shared.events.enrollment import StepDoneByPerson
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


def open_by_hand(work: Work, command: OpenTask) -> None:
    """Raises UnknownTarget or LeadErasedAlready."""
    if work.find_task(command.task_id) is not None:
        return
    lead = work.lead(command.lead_id)
    if lead.erased:
        raise LeadErasedAlready
    event = TaskOpened(title=command.title, notes=command.notes, due_at=command.due_at, assignee=command.assignee)
    work.record("task", command.task_id, event, lead.id)


def complete_task(work: Work, command: CompleteTask) -> None:
    """Raises UnknownTarget, or TaskClosed when it was skipped or withdrawn."""
    task = work.task(command.task_id)
    if task.status == "completed":
        return
    _still_open(task)
    work.record("task", task.id, TaskCompleted(outcome=command.outcome, note=command.note), task.lead_id)
    _step_done(work, task, command.outcome)


def skip_task(work: Work, command: SkipTask) -> None:
    """Raises UnknownTarget, or TaskClosed when it was completed or withdrawn."""
    task = work.task(command.task_id)
    if task.status == "skipped":
        return
    _still_open(task)
    work.record("task", task.id, TaskSkipped(note=command.note), task.lead_id)
    _step_done(work, task, "skipped")


def snooze_task(work: Work, command: SnoozeTask) -> None:
    """Raises UnknownTarget or TaskClosed."""
    task = work.task(command.task_id)
    _still_open(task)
    if task.due_at != command.until:
        work.record("task", task.id, TaskSnoozed(until=command.until), task.lead_id)


def assign_task(work: Work, command: AssignTask) -> None:
    """Raises UnknownTarget or TaskClosed."""
    task = work.task(command.task_id)
    _still_open(task)
    if task.assignee != command.assignee:
        work.record("task", task.id, TaskAssigned(assignee=command.assignee), task.lead_id)


def _still_open(task: Task) -> None:
    if task.status != "open":
        raise TaskClosed(f"task {task.id} is {task.status}")


def _step_done(work: Work, task: Task, outcome: str) -> None:
    """The enrollment that waited for this task goes on; a paused one remembers."""
    state = work.find_enrollment(task.enrollment_id) if task.enrollment_id is not None else None
    if state is None or state.plan is None or state.task_id != task.id:
        return
    active = state.status == Status.ACTIVE
    step_id, execution = state.plan.step_id, state.plan.execution
    plan = plan_after(scene_of(work, state), state, step_id, moment=work.now) if active else None
    state = work.on_enrollment(
        state,
        StepDoneByPerson(execution=execution, step_id=step_id, task_id=task.id, outcome=outcome, plan=plan),
    )
    if not active:
        return
    if plan is None:
        complete(work, state)
    else:
        run_on(work, state)
