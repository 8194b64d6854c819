"""What happens when a step is due, in this order.

Enrollment, sequence and sender active; lead reachable on the channel; the step's own conditions; stop rules; window;
limits. What must wait is planned for the next moment that satisfies all of them. Steps that take effect at once follow
each other in one decision.
"""

from __future__ import annotations

from datetime import timedelta

from services.enrollment.domain import brake
from services.enrollment.domain.appointment import appointment_of
from services.enrollment.domain.at_once import reach_goal, set_fields, take_effect
from services.enrollment.domain.conditions import evaluate
from services.enrollment.domain.delays import BY_DELAY, delayed
from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.enrollment_history import TRACELESS_RULES
from services.enrollment.domain.flow import PERSON_KINDS, Node
from services.enrollment.domain.lead import UNSUBSCRIBED
from services.enrollment.domain.lead_values import date_field
from services.enrollment.domain.leaving import apply_stop_rule, complete, leave
from services.enrollment.domain.migrating import take_effect as take_effect_of_migration
from services.enrollment.domain.person_steps import hand_over
from services.enrollment.domain.planning import (
    NEVER_OPEN,
    Scene,
    blocked,
    fit,
    passed_by,
    plan_after,
    scene_of,
    sends,
)
from services.enrollment.domain.reach import barrier, missing_sender
from services.enrollment.domain.variants import draw
from services.enrollment.domain.work import Work
from shared.events.definition import AppointmentConfig
from shared.events.enrollment import StepDue, StepPostponed, StepSkipped, StepTaken
from shared.events.kinds import ExitConfig, FieldConfig, GoalConfig
from shared.events.why import Plan, TimerClass, Why
from shared.ids import dispatch_id

#: A due step is stale this long after it was due, or when its window ends: it is then planned again.
VALIDITY = timedelta(hours=1)
INACTIVE = Why(rule="inactive")
ALREADY_DONE = Why(rule="already_done")


def take_due(work: Work, state: Enrollment) -> Enrollment:
    """Decides the planned step, which is due, and the steps after it that take effect at once."""
    state = _decide(work, state)
    return run_on(work, state)


def run_on(work: Work, state: Enrollment, *, messages: bool = False) -> Enrollment:
    """Takes planned steps that are due and take effect at once, until one must wait.

    With ``messages`` it takes a follow-up message too; only a decision in which nothing comes after this may ask for
    that, because a stop or a suppression that it records later would find the message on its way. A first message
    always waits for its turn at the scheduler, where follow-ups go before it and organizations take turns.
    """
    scene: Scene | None = None
    while state.status == Status.ACTIVE and state.in_flight is None:
        plan = state.plan
        if plan is None or not plan.is_due(work.now) or state.task_id is not None:
            break
        scene = scene or scene_of(work, state)
        node = scene.version.nodes.get(plan.step_id)
        if node is None or held_by(work, scene, state, node) is not None:
            break
        passed_over = not node.step.active or state.passes_over(plan.step_id)
        if not passed_over and sends(state, node) and not (messages and plan.timer_class == TimerClass.FOLLOW_UP):
            break
        # Every round concludes a step further down a flow without loops.
        state = _decide(work, state)
    return state


def go_on(work: Work, state: Enrollment, *, messages: bool = False) -> None:
    """After a step is concluded: the steps that take effect at once (with ``messages``, a due follow-up too), or the
    end.
    """
    if state.status != Status.ACTIVE:
        return
    if state.migration is not None:
        state = take_effect_of_migration(work, state)
    if state.plan is None and state.in_flight is None:
        complete(work, state)
    else:
        run_on(work, state, messages=messages)


def _decide(work: Work, state: Enrollment) -> Enrollment:
    """One step. The lead may have changed since the last, so everything around is read anew."""
    scene, plan = scene_of(work, state), state.plan
    if plan is None:
        return state
    node = scene.version.nodes.get(plan.step_id)
    if node is None:
        return complete(work, state)
    blocker = held_by(work, scene, state, node)
    if blocker is not None:
        if plan.blocked_on == blocker:
            return state
        kind = blocker.partition(":")[0]
        return _postpone(work, state, blocked(state, plan, blocker, kind if kind == "brake" else f"{kind}_not_active"))
    concluded = _not_wanted(work, scene, state, node)
    if concluded is not None:
        return concluded
    return _send(work, scene, state, node) if sends(state, node) else _take(work, scene, state, node)


def _not_wanted(work: Work, scene: Scene, state: Enrollment, node: Node) -> Enrollment | None:
    """The step is passed over, or the enrollment stops, for what the lead, the step or the rules say; None when it is
    to be done.
    """
    if not node.step.active:
        return _skip(work, scene, state, node, INACTIVE)
    if state.passes_over(node.step.step_id):
        return _skip(work, scene, state, node, ALREADY_DONE)
    if node.reaches_lead and (why := _barrier(work, scene, state, node)) is not None:
        unsubscribed = UNSUBSCRIBED in {why.rule, why.inputs.get("reason")}  # by the lead, or by one with its address
        rule = scene.version.settings.stop_rule("unsubscribe") if unsubscribed else None
        if rule is not None and rule.do == "exit":
            return apply_stop_rule(work, state, rule, why)
        return _skip(work, scene, state, node, why)
    if (why := _no_date(scene, node)) is not None:
        return _skip(work, scene, state, node, why)
    if node.entry is not None:
        verdict = evaluate(node.entry, scene, state)
        if not verdict.holds:
            return _skip(work, scene, state, node, Why(rule="condition", inputs=verdict.inputs))
    return _stop_rules(work, scene, state)


def _no_date(scene: Scene, node: Node) -> Why | None:
    """The lead has no such date: nothing to be early for, no appointment to invite to, or one that is past."""
    delay, config = node.step.delay, node.step.config
    start = config.start if isinstance(config, AppointmentConfig) else None
    for counted in (delay if delay.amount < 0 else None, start):
        field = counted.field if counted is not None and counted.from_ == "field" else None
        if field is not None and date_field(scene.lead, field, scene.zone) is None:
            return Why(rule="no_date", inputs={"field": field})
    if start is not None and start.from_ == "field":
        begins = delayed(start, previous=scene.work.now, started=scene.work.now, scene=scene)
        if begins <= scene.work.now:
            return Why(rule="past_appointment", inputs={"field": start.field})
    return None


def _barrier(work: Work, scene: Scene, state: Enrollment, node: Node) -> Why | None:
    assert node.channel is not None
    return barrier(work, scene.lead, node.channel, state.sequence_id)


def held_by(work: Work, scene: Scene, state: Enrollment, node: Node) -> str | None:
    """What holds the enrollment without an end: a paused sequence, no active sender, or a brake."""
    sequence = work.find_sequence(state.sequence_id)
    if sequence is None or not sequence.runs:
        return f"sequence:{state.sequence_id}"
    missing = missing_sender(scene.organization, node)
    if missing is not None:
        return f"sender:{missing}"
    if node.reaches_lead and node.step.active:
        sender = scene.organization.sender_for(node.sender) if scene.organization is not None else None
        return brake.blocker(sequence, sender if node.channel in brake.WITH_SENDER else None)
    return None


def _stop_rules(work: Work, scene: Scene, state: Enrollment) -> Enrollment | None:
    """What the lead did since it was enrolled, where the rule has not been applied yet: it came with a later version.
    Who went on after a pause is not held again for what was known by then.
    """
    lead, settings = scene.lead, scene.version.settings
    if lead is None:
        return None
    for signal, moment in (("conversion", lead.won_at), ("meeting_booked", lead.met_at)):
        if moment is None or moment <= state.started_at:
            continue
        rule = settings.stop_rule(signal)
        known = rule is not None and rule.do == "pause" and state.resumed_at is not None and moment <= state.resumed_at
        if rule is not None and not known:
            return apply_stop_rule(work, state, rule, Why(rule=signal, inputs={"at": moment.isoformat()}))
    return None


# --- messages ---------------------------------------------------------------------------------------------------------


def _send(work: Work, scene: Scene, state: Enrollment, node: Node) -> Enrollment:
    plan, now, channel = state.plan, work.now, node.channel
    assert plan is not None
    assert channel is not None
    at, slots, why, window_end = fit(scene, state, node, now, BY_DELAY, take=True, passed=passed_by(plan.why))
    if at is None or at > now:
        moved = Plan(
            step_id=plan.step_id,
            execution=plan.execution,
            at=at,
            due_at=plan.due_at,
            blocked_on=None if at is not None else NEVER_OPEN,
            timer_class=plan.timer_class,
            why=why,
            reserved=slots,
            channel=channel,
        )
        return _postpone(work, state, moved)
    valid_until = now + VALIDITY
    if window_end is not None and window_end < valid_until:
        valid_until = window_end
    step_id = node.step.step_id
    drawn = draw(work, state, node)
    return work.on_enrollment(
        state,
        StepDue(
            sequence_id=state.sequence_id,
            version=state.version,
            execution=plan.execution,
            attempt=state.next_attempt,
            step_id=step_id,
            channel=channel,
            dispatch_id=dispatch_id(state.organization_id, state.id, plan.execution, step_id),
            due_at=now,
            valid_until=valid_until,
            quotas=slots,
            draft_id=state.approved.draft_id if node.drafted and state.approved is not None else None,
            starts_at=appointment_of(scene, state, node),
            sender=_sender(scene, node),
            variant=drawn.arm.variant_id if drawn is not None else None,
            content=drawn.arm.content if drawn is not None else None,
            draw=drawn.number if drawn is not None else None,
            why=drawn.why if drawn is not None else None,
        ),
    )


def _sender(scene: Scene, node: Node) -> str | None:
    sender = scene.organization.sender_for(node.sender) if scene.organization is not None else None
    return sender.sender_id if sender is not None else None


def _postpone(work: Work, state: Enrollment, plan: Plan) -> Enrollment:
    return work.on_enrollment(state, StepPostponed(execution=plan.execution, step_id=plan.step_id, plan=plan))


# --- everything else --------------------------------------------------------------------------------------------------


def _skip(work: Work, scene: Scene, state: Enrollment, node: Node, why: Why) -> Enrollment:
    moment = state.previous_at if why.rule in TRACELESS_RULES else work.now
    plan = plan_after(scene, state, node.step.step_id, moment=moment)
    state = work.on_enrollment(
        state,
        StepSkipped(execution=_execution(state), step_id=node.step.step_id, kind=node.step.kind, why=why, plan=plan),
    )
    return state if plan is not None else complete(work, state)


def _take(work: Work, scene: Scene, state: Enrollment, node: Node) -> Enrollment:
    step, config = node.step, node.step.config
    if step.kind in PERSON_KINDS or node.drafted:
        return hand_over(work, scene, state, node)
    if isinstance(config, ExitConfig):
        state = _taken(work, state, node, None)
        return leave(
            work, state, config.reason, stop="cancelled", why=Why(rule="exit_step", inputs={"step": step.step_id})
        )
    if node.when is not None:
        verdict = evaluate(node.when, scene, state)
        arm = "then" if verdict.holds else "else"
        plan = plan_after(scene, state, step.step_id, arm=arm, moment=work.now)
        state = _taken(work, state, node, plan, arm=arm, why=Why(rule="condition", inputs=verdict.inputs))
        return state if plan is not None else complete(work, state)
    left_out: Why | None = None
    if isinstance(config, FieldConfig):
        left_out = set_fields(work, state, node.step, config)
        scene = scene_of(work, state)
    plan = plan_after(scene, state, step.step_id, moment=work.now)
    execution = _execution(state)
    state = _taken(work, state, node, plan, why=left_out)
    if isinstance(config, GoalConfig):
        return reach_goal(work, state, step, execution, config)
    if plan is None:
        state = complete(work, state)
    take_effect(work, state, step, execution)
    return work.enrollment(state.id)


def _taken(
    work: Work, state: Enrollment, node: Node, plan: Plan | None, *, arm: str | None = None, why: Why | None = None
) -> Enrollment:
    return work.on_enrollment(
        state,
        StepTaken(
            execution=_execution(state),
            step_id=node.step.step_id,
            kind=node.step.kind,
            arm="then" if arm == "then" else "else" if arm == "else" else None,
            why=why,
            plan=plan,
        ),
    )


def _execution(state: Enrollment) -> int:
    assert state.plan is not None
    return state.plan.execution
