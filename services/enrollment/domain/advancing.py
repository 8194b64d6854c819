"""Going on by hand: a wait passed over, a step passed over, an enrollment begun again."""

from __future__ import annotations

from uuid import UUID

from services.enrollment.domain.due import run_on
from services.enrollment.domain.enrolling import Origin, called, open_enrollment, require_active, require_reach
from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.errors import (
    AdvanceNotAllowed,
    AlreadyEnrolled,
    EnrollmentClosed,
    EnrollmentNotActive,
    LeadErasedAlready,
    NothingToAdvance,
    StepInFlight,
)
from services.enrollment.domain.flow import Node
from services.enrollment.domain.leaving import complete, leave
from services.enrollment.domain.matching import DUPLICATE, crowded
from services.enrollment.domain.planning import ADVANCED, Scene, passed_by, plan_after, plan_at, scene_of
from services.enrollment.domain.windows import PASSED_BY
from services.enrollment.domain.work import Work
from shared.events.enrollment import AdvanceEnrollment, EnrollmentAdvanced, RestartEnrollment, StepSkipped
from shared.events.task import TaskWithdrawn
from shared.events.why import Plan, Why
from shared.events.wording import in_words

BY_HAND = Why(rule="by_hand")
RESTARTED = "restarted"


def advance(work: Work, command: AdvanceEnrollment) -> None:
    """Raises UnknownTarget, EnrollmentClosed, EnrollmentNotActive, StepInFlight, AdvanceNotAllowed or
    NothingToAdvance.

    A wait that is over already stays as it is.
    """
    state = work.enrollment(command.enrollment_id)
    if not state.is_open:
        raise EnrollmentClosed(f"enrollment {state.id} is {state.status}")
    if state.status != Status.ACTIVE:
        raise EnrollmentNotActive(f"enrollment {state.id} is {state.status}")
    scene = scene_of(work, state)
    if not scene.version.settings.manual_advance:
        raise AdvanceNotAllowed
    if state.in_flight is not None or state.plan is None:
        raise StepInFlight
    node = scene.version.nodes.get(state.plan.step_id)
    if node is None:
        raise NothingToAdvance("the step is gone from the sequence")
    if command.skip == "step":
        _pass_over(work, scene, state, node)
    else:
        _hasten(work, scene, state, state.plan, node, command)


def _hasten(work: Work, scene: Scene, state: Enrollment, plan: Plan, node: Node, command: AdvanceEnrollment) -> None:
    if plan.at is None or state.task_id is not None:
        raise NothingToAdvance(f"the step waits for {plan.blocked_on}")
    if plan.at <= work.now:
        return
    forced = (f"force_{rule}" for rule in PASSED_BY)
    why = Why(rule=ADVANCED, inputs={name: True for name in forced if getattr(command, name)})
    moved = plan_at(scene, state, node, execution=plan.execution, due=work.now, why=why, passed=passed_by(why))
    state = work.on_enrollment(
        state, EnrollmentAdvanced(execution=plan.execution, step_id=node.step.step_id, plan=moved)
    )
    run_on(work, state)


def _pass_over(work: Work, scene: Scene, state: Enrollment, node: Node) -> None:
    assert state.plan is not None
    if state.task_id is not None:
        work.record("task", state.task_id, TaskWithdrawn(reason="skipped"), state.lead_id)
    plan = plan_after(scene, state, node.step.step_id, moment=work.now)
    state = work.on_enrollment(
        state,
        StepSkipped(
            execution=state.plan.execution, step_id=node.step.step_id, kind=node.step.kind, why=BY_HAND, plan=plan
        ),
    )
    if plan is None:
        complete(work, state)
    else:
        run_on(work, state)


def restart(work: Work, command: RestartEnrollment) -> UUID:
    """The new enrollment's id. A limit to how many sequences the lead may be in does not stand against it, and is
    recorded with it as ``passed``.

    Raises UnknownTarget, LeadErasedAlready, SequenceNotActive, StepInFlight, Unreachable, or
    AlreadyEnrolled when another enrollment of the lead in the sequence is open.
    """
    state = work.enrollment(command.enrollment_id)
    lead = work.lead(state.lead_id)
    if lead.erased:
        raise LeadErasedAlready
    sequence = work.sequence(state.sequence_id)
    require_active(sequence)
    if state.in_flight is not None:
        raise StepInFlight
    others = (
        each
        for each, membership in lead.enrollments.items()
        if each != state.id and membership.sequence_id == sequence.id and membership.ended_at is None
    )
    version = work.version(sequence.id, sequence.version)
    if next(others, None) is not None:
        raise AlreadyEnrolled(in_words(Why(rule=DUPLICATE), {"here": called(version)}))
    require_reach(work, lead, version)
    leave(work, state, RESTARTED, stop="cancelled", why=BY_HAND)
    lead = work.lead(lead.id)
    passed = crowded(work, lead, version)
    inputs = {"passed": passed.rule, **passed.inputs} if passed is not None else {}
    why = Why(rule=RESTARTED, inputs={"enrollment": str(state.id), **inputs})
    return open_enrollment(work, lead, version, Origin("hand", why, restarts=state.id))
