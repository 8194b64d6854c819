"""Taking a held enrollment up again."""

from __future__ import annotations

from services.enrollment.domain.due import run_on
from services.enrollment.domain.enrollment import Enrollment, Fate, Status
from services.enrollment.domain.frozen import replace
from services.enrollment.domain.leaving import complete
from services.enrollment.domain.person_steps import waits_again
from services.enrollment.domain.planning import Scene, next_plan, scene_of
from services.enrollment.domain.work import Work
from shared.events.enrollment import EnrollmentResumed


def resume(work: Work, state: Enrollment) -> Enrollment:
    """Goes on from where it stood. With an answer outstanding it waits for that answer; with nothing left it is
    complete.
    """
    if state.in_flight is not None:
        return work.on_enrollment(state, EnrollmentResumed(plan=None))
    scene = scene_of(work, state)
    plan = next_plan(scene, _goes_on(scene, state))
    if plan is not None and state.outlasts:
        plan = waits_again(work, state, plan)
    state = work.on_enrollment(state, EnrollmentResumed(plan=plan))
    return run_on(work, state) if plan is not None else complete(work, state)


def _goes_on(scene: Scene, state: Enrollment) -> Enrollment:
    """A failed step is repeated only where its failure is what held the enrollment."""
    last = state.executions.get(state.last_execution)
    if not state.again or last is None or last.fate != Fate.FAILED or state.status != Status.PAUSED:
        return state
    node = scene.version.nodes.get(last.step_id)
    repeats = state.reason == "missing_value" or (node is not None and node.step.on_failure == "pause")
    return state if repeats else replace(state, again=False)
