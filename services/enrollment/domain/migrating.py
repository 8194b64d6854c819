"""Moving an enrollment to another version of its sequence: where it goes on there, and its plan made anew.

What was done is never done again by a move, unless the move says so.
"""

from __future__ import annotations

from services.enrollment.domain.enrollment import Enrollment, Fate, Status
from services.enrollment.domain.flow import Node, Version
from services.enrollment.domain.frozen import replace
from services.enrollment.domain.places import NoPlace, Place, Standing, place
from services.enrollment.domain.planning import Scene, plan_at, plan_step
from services.enrollment.domain.work import Work
from shared.events.enrollment import EnrollmentMigrated, MigrationDropped
from shared.events.task import TaskWithdrawn
from shared.events.why import Plan, Why

MIGRATED = "migrated"


def standing_of(state: Enrollment) -> Standing:
    """Where an enrollment stands, as long as nothing is in flight; a step in flight counts as concluded."""
    flight = state.in_flight
    if flight is not None:
        return Standing(flight.step_id, concluded=True, done=state.done | {flight.step_id})
    if state.plan is not None:
        return Standing(state.plan.step_id, done=state.done)
    if state.again:
        return Standing(state.after, done=state.done)
    last = state.executions.get(state.last_execution)
    if last is not None and last.fate == Fate.DEFERRED:
        return Standing(last.step_id, done=state.done)
    return Standing(state.after, concluded=True, arm=state.arm, done=state.done)


def move(work: Work, state: Enrollment, new: Version, found: Place, why: Why) -> Enrollment:
    """Records the move. The state afterwards may have nothing left to do."""
    plan = _plan(work, state, new, found)
    kept = plan is not None and state.plan is not None and plan.blocked_on == state.plan.blocked_on
    if state.task_id is not None and not kept:
        work.record("task", state.task_id, TaskWithdrawn(reason=MIGRATED), state.lead_id)
    return work.on_enrollment(
        state,
        EnrollmentMigrated(
            from_version=state.version,
            to_version=new.version,
            from_step=standing_of(state).step_id,
            to_step=found.step_id,
            why=why,
            plan=plan,
            held=state.status == Status.PAUSED,
            repeats=found.repeats,
        ),
    )


def take_effect(work: Work, state: Enrollment) -> Enrollment:
    """Carries an awaited move out, now that the step in flight was answered; without a place there it is dropped."""
    migration = state.migration
    if migration is None or state.in_flight is not None or not state.is_open:
        return state
    standing = standing_of(state)
    if state.after == migration.step_id and not state.again:
        standing = Standing(state.after, concluded=True, arm=state.arm, done=state.done)
    old, new = work.version(state.sequence_id, state.version), work.version(state.sequence_id, migration.version)
    found = place(old, new, standing, dict(migration.moves), repeats=migration.repeats)
    if isinstance(found, NoPlace):
        why = Why(rule=found.rule, inputs={"step": found.step_id})
        return work.on_enrollment(state, MigrationDropped(to_version=new.version, why=why))
    why = Why(rule=found.rule, inputs={"awaited": migration.step_id})
    return move(work, state, new, found, why)


def after_changes(work: Work) -> None:
    """Carries out the moves that waited for an answer which this decision brought."""
    for state in list(work.states.values()):
        if isinstance(state, Enrollment) and state.migration is not None:
            take_effect(work, state)


def _plan(work: Work, state: Enrollment, new: Version, found: Place) -> Plan | None:
    """None while it is pending, when nothing is left, and while it is paused behind a step that both versions have."""
    if found.step_id is None or state.status == Status.PENDING:
        return None
    if state.plan is None and state.status == Status.PAUSED and found.rule != "moved" and state.after in new.nodes:
        return None
    node = new.nodes[found.step_id]
    scene = Scene(work, new, work.find_lead(state.lead_id))
    moved = replace(
        state, migrated=True, done=state.done - {found.step_id} if found.repeats else state.done, version=new.version
    )
    plan = state.plan
    if plan is None or plan.step_id != found.step_id:
        return plan_step(
            scene, moved, node, execution=state.last_execution + 1, after=state.after, previous=state.previous_at
        )
    if state.task_id is not None and _same_work(work, state, node):
        return plan
    if plan.execution in state.executions or state.repeats or state.approved is not None:
        return plan_at(
            scene, moved, node, execution=plan.execution, due=plan.due_at or work.now, why=plan.why
        )  # it was tried, or a person's word on it stands: its wait is no longer its delay
    return plan_step(scene, moved, node, execution=plan.execution, after=state.after, previous=state.previous_at)


def _same_work(work: Work, state: Enrollment, node: Node) -> bool:
    """Does the open task still stand for the step in the new version?"""
    known = work.version(state.sequence_id, state.version).nodes.get(node.step.step_id)
    return known is not None and known.step.kind == node.step.kind and node.step.active
