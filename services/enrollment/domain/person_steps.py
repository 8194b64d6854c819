"""Steps that a person carries out: handing them over, trying a call again, and what follows when nobody does them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from services.enrollment.domain.enrollment import SEQUENCE_NOT_ACTIVE, Enrollment
from services.enrollment.domain.flow import Node
from services.enrollment.domain.leaving import active_member, active_owner, leave
from services.enrollment.domain.planning import Scene, blocked, plan_after, plan_at, scene_of
from services.enrollment.domain.task_times import task_due
from services.enrollment.domain.work import Work
from shared.events.enrollment import StepHandedToPerson, StepOverdue, StepPostponed
from shared.events.kinds import CallConfig, EmailManualConfig, PersonConfig, TaskConfig
from shared.events.task import CONTENT_FIELDS, TaskOpened, TaskWithdrawn
from shared.events.why import Plan, Why
from shared.ids import derived_id

#: Why a task was withdrawn, and an enrollment left, when nobody did it in time.
OVERDUE = "overdue"
#: The rule of a plan that waits for a task.
TASK = "task"


def hand_over(work: Work, scene: Scene, state: Enrollment, node: Node) -> Enrollment:
    """Opens the task, or the draft, and lets the enrollment wait for it."""
    step, plan = node.step, state.plan
    assert plan is not None
    config = step.config
    assert isinstance(config, PersonConfig)
    task_id = derived_id("task", state.id, plan.execution)
    named = active_member(work, config.assignee) if config.assignee is not None else None
    assignee = named or active_owner(work, state)
    due_at = task_due(scene, work.now + timedelta(hours=config.due_in_hours), assignee)
    opened = TaskOpened(
        kind=step.kind.value,
        title=None,
        due_at=due_at,
        assignee=assignee,
        enrollment_id=state.id,
        sequence_id=state.sequence_id,
        execution=plan.execution,
        step_id=step.step_id,
    )
    work.record("task", task_id, opened.model_copy(update=_content(scene, config)), state.lead_id)
    waiting = blocked(state, plan, f"task:{task_id}", TASK).model_copy(update={"at": overdue_at(config, due_at)})
    return work.on_enrollment(
        state,
        StepHandedToPerson(
            execution=plan.execution, step_id=step.step_id, kind=step.kind, task_id=task_id, plan=waiting
        ),
    )


def _content(scene: Scene, config: PersonConfig) -> dict[str, Any]:
    """What the person reads; of a draft, what would be sent."""
    lead, filled = scene.lead, scene.work.world.filled
    if isinstance(config, TaskConfig):
        notes = filled(config.notes, lead) if config.notes else config.notes
        return {"title": filled(config.title, lead), "notes": notes, "network": getattr(config, "network", None)}
    assert isinstance(config, EmailManualConfig)
    content = {name: getattr(config, name) for name in CONTENT_FIELDS}
    return {**content, "title": filled(config.subject, lead)}


def overdue_at(config: PersonConfig, due_at: datetime) -> datetime | None:
    """When the enrollment waits no longer for a task due at ``due_at``; None when it waits without an end."""
    return None if config.overdue == "wait" else due_at + timedelta(hours=config.overdue_after_hours)


def move_overdue(work: Work, state: Enrollment | None, due_at: datetime) -> None:
    """The task that an enrollment waits for is due at another time, and overdue accordingly."""
    if state is None or state.plan is None or state.plan.at is None:
        return
    node = work.version(state.sequence_id, state.version).nodes.get(state.plan.step_id)
    if node is None or not isinstance(node.step.config, PersonConfig):
        return
    plan = state.plan.model_copy(update={"at": overdue_at(node.step.config, due_at)})
    work.on_enrollment(state, StepPostponed(execution=plan.execution, step_id=plan.step_id, plan=plan))


def look_after(work: Work, state: Enrollment) -> Enrollment | None:
    """The timer of an enrollment that waits for a task has rung. Gives it up when it was left undone too long; a paused
    sequence gives up nobody: the task stays open until the sequence runs, and is judged then.

    Answers the state when the enrollment may go on, None when it waits.
    """
    plan = state.plan
    assert plan is not None
    waiting = waits_again(work, state, plan) if state.outlasts else plan
    if waiting.is_due(work.now):
        sequence = work.find_sequence(state.sequence_id)
        if sequence is not None and sequence.runs:
            return _give_up(work, state)
        held = blocked(state, plan, f"sequence:{state.sequence_id}", SEQUENCE_NOT_ACTIVE)
        waiting = held.model_copy(update={"blocked_on": plan.blocked_on})
    if waiting != plan:
        work.on_enrollment(state, StepPostponed(execution=plan.execution, step_id=plan.step_id, plan=waiting))
    return None


def waits_again(work: Work, state: Enrollment, plan: Plan) -> Plan:
    """The plan of a task that outlasted its time while the sequence was paused, overdue again as its step says."""
    assert plan.blocked_on is not None
    task = work.find_task(state.task_id) if state.task_id is not None else None
    node = work.version(state.sequence_id, state.version).nodes.get(plan.step_id)
    config = node.step.config if node is not None else None
    at = overdue_at(config, task.due_at) if task is not None and isinstance(config, PersonConfig) else None
    return blocked(state, plan, plan.blocked_on, TASK).model_copy(update={"at": at})


def _give_up(work: Work, state: Enrollment) -> Enrollment:
    """The overdue task is withdrawn and the enrollment goes on without it, or ends, as its step says. The state
    afterwards has a plan only where it goes on.
    """
    plan, task_id = state.plan, state.task_id
    assert plan is not None
    assert task_id is not None
    scene = scene_of(work, state)
    node = scene.version.nodes.get(plan.step_id)
    config = node.step.config if node is not None else None
    ends = isinstance(config, PersonConfig) and config.overdue == "exit"
    work.record("task", task_id, TaskWithdrawn(reason=OVERDUE), state.lead_id)
    state = work.on_enrollment(
        state,
        StepOverdue(
            execution=plan.execution,
            step_id=plan.step_id,
            task_id=task_id,
            then="exit" if ends else "continue",
            plan=None if ends else plan_after(scene, state, plan.step_id, moment=work.now),
        ),
    )
    if ends:
        why = Why(rule=OVERDUE, inputs={"step": plan.step_id, "task": str(task_id)})
        return leave(work, state, OVERDUE, stop="cancelled", why=why)
    return state


def again(scene: Scene, state: Enrollment, node: Node, outcome: str) -> Plan | None:
    """The same call at a later time, when its outcome asks for it and there are tries left."""
    config = node.step.config
    retry = config.retry if isinstance(config, CallConfig) else None
    if retry is None or outcome not in retry.on or state.repeats >= retry.at_most:
        return None
    why = Why(rule="call_again", inputs={"outcome": outcome, "tries_left": retry.at_most - state.repeats - 1})
    due = scene.work.now + timedelta(hours=retry.after_hours)
    return plan_at(scene, state, node, execution=state.last_execution + 1, due=due, why=why)
