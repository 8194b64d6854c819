"""Planning again what waits, after something that its plan was made from has changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import cast
from uuid import UUID

from services.enrollment.domain.delays import BY_DELAY, SPACING, due_after
from services.enrollment.domain.due import held_by
from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.flow import Node
from services.enrollment.domain.lead import Lead, contact_channel
from services.enrollment.domain.leaving import stop_in_flight
from services.enrollment.domain.planning import (
    ADVANCED,
    NEVER_OPEN,
    Scene,
    plan_at,
    scene_of,
    sends,
)
from services.enrollment.domain.reach import barrier
from services.enrollment.domain.work import Work
from shared.events.enrollment import EnrollmentReplanned
from shared.events.lead import LeadAddressSuppressed
from shared.events.why import Plan, Why

#: Fields of a lead that plans are made from; what else changes in a lead plans nothing anew.
PLANNED_FROM = (
    "timezone", "custom_fields", "email", "phone", "consent", "unsubscribed", "unsubscribed_sequences", "suppressed",
    "away_until",
)  # fmt: skip
#: Reasons that a step keeps when it is planned again: somebody or something moved it on purpose.
_KEPT = frozenset({"retry", "deferred", "stopped", "again", SPACING})
#: Beginnings of what holds a step until somebody lifts it.
_HELD = ("sequence:", "sender:", "brake:")


def after_changes(work: Work) -> None:
    """Plans again what waits for every lead that this decision changed in what plans are made from."""
    for aggregate_id, before in list(work.before.items()):
        if not isinstance(before, Lead):
            continue
        after = cast("Lead", work.states[aggregate_id])
        changed = [name for name in PLANNED_FROM if getattr(before, name) != getattr(after, name)]
        if not changed or after.erased:
            continue
        why = Why(rule="lead_changed", inputs={"fields": changed})
        suppressed = _suppressed(work, after) if after.suppressed - before.suppressed else {}
        refused = _refused(before, after) if "consent" in changed else frozenset()
        for enrollment_id in after.open_enrollments:
            state = work.find_enrollment(enrollment_id)
            if state is not None and _waits(state):
                _follow(work, state, before, after, why, suppressed)
            elif refused and state is not None and _flies_on(state, refused):
                stop_in_flight(work, state, "consent")  # unsubscribes and suppressions are stops themselves


def _refused(before: Lead, after: Lead) -> frozenset[str]:
    """Channels whose consent was taken back, or refused for the first time."""
    return frozenset(
        channel
        for channel, given in after.consent.items()
        if given is False and before.consent.get(channel) is not False
    )


def _flies_on(state: Enrollment, channels: frozenset[str]) -> bool:
    return state.in_flight is not None and contact_channel(state.in_flight.channel) in channels


def by_the_rules(work: Work, state: Enrollment) -> None:
    """Plans a waiting step again by the organization's rules as they are now. Its delay stays as it was counted."""
    scene = scene_of(work, state)
    node = scene.version.nodes.get(state.plan.step_id) if state.plan is not None else None
    if node is not None and _waits(state) and state.status == Status.ACTIVE:
        _record(scene, state, _plan(scene, state, node, _due(state), None), Why(rule="rules_changed"))


def address_suppressed(work: Work, lead_id: UUID, channel: str, reason: str) -> None:
    """The organization suppressed a lead's address: what waits for it waits no longer for a window or a limit."""
    lead = work.find_lead(lead_id)
    for enrollment_id in lead.open_enrollments if lead is not None else ():
        state = work.find_enrollment(enrollment_id)
        if lead is not None and state is not None and _waits(state):
            why = Why(rule="lead_changed", inputs={"fields": ["suppressed"]})
            _follow(work, state, lead, lead, why, {channel: reason})


def _suppressed(work: Work, lead: Lead) -> dict[str, str]:
    """Channels on which this decision suppressed the lead's address, with the reason of each."""
    events = (change.event for change in work.changes if change.id == lead.id)
    return {event.channel: event.reason for event in events if isinstance(event, LeadAddressSuppressed)}


def _waits(state: Enrollment) -> bool:
    """For a moment, for rules about hours that never open together, for the end of a pause, or for its sequence or
    sender to be taken up again. What a person sent on by hand is left alone.
    """
    plan = state.plan
    if plan is None or state.in_flight is not None or plan.why.rule == ADVANCED:
        return False
    if plan.blocked_on is None:
        return plan.at is not None
    return plan.blocked_on in {NEVER_OPEN, "pause"} or plan.blocked_on.startswith(_HELD)


def _follow(work: Work, state: Enrollment, before: Lead, after: Lead, why: Why, suppressed: Mapping[str, str]) -> None:
    version = work.version(state.sequence_id, state.version)
    plan = cast("Plan", state.plan)
    node = version.nodes.get(plan.step_id)
    if node is None:
        return
    scene, due = Scene(work, version, after), _due(state)
    # Only a moment that the delay alone gave follows the lead; one that a person or a fault gave stays.
    if node.step.active and _delay_gives(node, state, Scene(work, version, before)) == due:
        due = _delay_gives(node, state, scene)
    if state.status == Status.PAUSED and due != _due(state):
        held = {"at": state.paused_until, "due_at": due, "blocked_on": "pause"}  # resuming makes the rest anew
        _record(scene, state, plan.model_copy(update=held), why)
    elif state.status == Status.ACTIVE and _is_held(work, scene, state, node):
        _record(scene, state, plan.model_copy(update={"due_at": due}), why)
    elif state.status == Status.ACTIVE:
        contact = contact_channel(node.channel) if node.channel is not None else None
        reason = suppressed.get(contact) if contact is not None else None
        lost = Why(rule="suppression", inputs={"channel": contact, "reason": reason}) if reason is not None else None
        _record(scene, state, _plan(scene, state, node, due, lost), why)


def _is_held(work: Work, scene: Scene, state: Enrollment, node: Node) -> bool:
    """By its sequence or sender, and still so: what was let go a moment ago is not to be held again."""
    blocked_on = cast("Plan", state.plan).blocked_on
    return blocked_on is not None and blocked_on.startswith(_HELD) and held_by(work, scene, state, node) == blocked_on


def _due(state: Enrollment) -> datetime:
    plan = cast("Plan", state.plan)
    return plan.due_at or plan.at or state.previous_at


def _delay_gives(node: Node, state: Enrollment, scene: Scene) -> datetime:
    return due_after(scene, state, node, state.after, state.previous_at).moment


def _plan(scene: Scene, state: Enrollment, node: Node, due: datetime, lost: Why | None) -> Plan:
    """A message that cannot reach the lead takes no place in a limit and waits for no window: it is passed over when
    its delay is over.
    """
    plan = cast("Plan", state.plan)
    if lost is None and node.channel is not None and node.reaches_lead and sends(state, node):
        lost = barrier(scene.work, scene.lead, node.channel, state.sequence_id)
    if lost is not None:
        at = max(due, scene.work.now)
        return Plan(
            step_id=plan.step_id, execution=plan.execution, at=at, due_at=due, timer_class=plan.timer_class, why=lost
        )
    why = plan.why if plan.why.rule in _KEPT else BY_DELAY
    return plan_at(scene, state, node, execution=plan.execution, due=due, why=why)


def _record(scene: Scene, state: Enrollment, plan: Plan, why: Why) -> None:
    """Nothing, where the new plan is the old one."""
    known = cast("Plan", state.plan)
    wanted = (plan.at, plan.due_at, plan.blocked_on, plan.reserved)
    if (known.at, known.due_at, known.blocked_on, known.reserved) == wanted:
        return
    scene.work.on_enrollment(
        state, EnrollmentReplanned(execution=plan.execution, step_id=plan.step_id, plan=plan, why=why)
    )
