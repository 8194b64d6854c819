"""The next step and when: delays, windows and limits together, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.enrollment.domain.best_hour import BEST_HOUR, Habits, better_moment, kind_of, may_move, zone_of_lead
from services.enrollment.domain.delays import BY_DELAY, SPACING, due_after
from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.flow import Node, Version
from services.enrollment.domain.lead import Lead, contact_channel
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.quotas import Asker, Full, limits_of, places_free, places_reserved, places_taken
from services.enrollment.domain.windows import (
    NONE_PASSED,
    PASSED_BY,
    Passed,
    Rule,
    first_zone,
    is_day_off,
    next_open,
)
from services.enrollment.domain.work import Work
from shared.events.why import Plan, QuotaSlot, TimerClass, Why

#: Moments tried before a step is planned without a place; it is then looked at again when it is due.
MOST_MOVES = 5_000
#: Longest wait that a provider's wish can cause.
LONGEST_WISH = timedelta(days=7)
#: What a message waits for whose rules about hours never open together: that one of them is changed.
NEVER_OPEN = "hours"
#: Reasons for a moment that leave its hour free.
_ANY_HOUR_WILL_DO = frozenset({"delay", "window", SPACING})
OUT_OF_OFFICE = "out_of_office"
AT_ONCE = Why(rule="at_once")
#: The rule of a plan whose wait a person passed over.
ADVANCED = "advanced"


class Scene:
    """What surrounds one decision about an enrollment: its version, its lead, its organization and the zone its hours
    are read in.
    """

    __slots__ = ("_zone", "lead", "organization", "version", "work")

    def __init__(self, work: Work, sequence_version: Version, lead: Lead | None) -> None:
        self.work = work
        self.version = sequence_version
        self.lead = lead
        self.organization: Organization | None = work.find_organization()
        self._zone: ZoneInfo | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The zone hours and days are read in; many decisions need none."""
        if self._zone is None:
            self._zone = zone_of(self.version, self.lead, self.organization)
        return self._zone

    def rules_for(self, node: Node, passed: Passed = NONE_PASSED) -> list[Rule]:
        """Every rule about hours that holds for a message, but for those that a person passed over."""
        channel = contact_channel(node.channel or "")
        found: list[Rule] = []
        if "window" not in passed:
            if self.version.hours is not None:
                found.append((self.version.hours, self.zone))
            if self.version.channel_hours and (own := self.version.channel_hours.get(channel)) is not None:
                found.append((own, self.zone))
        if self.organization is not None:
            found += [(each, self.zone) for each in self.organization.hours_for(node.sender, passed)]
            loud = self.organization.loud_hours_for(channel)
            if loud is not None and "quiet_hours" not in passed:
                home = self.organization.timezone
                found.append((loud, first_zone(self.lead.timezone if self.lead is not None else None, home)))
        return found

    def is_off(self, day: date) -> bool:
        """Is it a holiday of the sequence or a day off of the organization?"""
        if is_day_off(day, self.version.settings.holidays):
            return True
        return self.organization is not None and any(each.is_off(day) for each in self.organization.calendars_of())


def scene_of(work: Work, state: Enrollment) -> Scene:
    """Raises UnknownTarget when the version is gone."""
    return Scene(work, work.version(state.sequence_id, state.version), work.find_lead(state.lead_id))


def zone_of(version: Version, lead: Lead | None, organization: Organization | None) -> ZoneInfo:
    """The zone a sequence asks for: the lead's, else the organization's, else UTC."""
    asked = version.settings.timezone
    home = organization.timezone if organization is not None else None
    if asked == "lead":
        return first_zone(lead.timezone if lead is not None else None, home)
    return first_zone(home) if asked == "organization" else first_zone(asked, home)


def plan_after(
    scene: Scene, state: Enrollment, step_id: str | None, *, arm: str | None = None, moment: datetime
) -> Plan | None:
    """The step that follows ``step_id``, its delay counted from ``moment``; None when there is none."""
    node = scene.version.after(step_id, arm)
    if node is None:
        return None
    return plan_step(scene, state, node, execution=state.last_execution + 1, after=step_id, previous=moment)


def plan_step(
    scene: Scene, state: Enrollment, node: Node, *, execution: int, after: str | None, previous: datetime
) -> Plan:
    """A step after its own delay, which follows the step ``after``. An inactive one, or one done in another version, is
    passed over without waiting.
    """
    now = scene.work.now
    if not node.step.active or state.passes_over(node.step.step_id):
        return Plan(
            step_id=node.step.step_id, execution=execution, at=now, due_at=now, timer_class=_class(state), why=AT_ONCE
        )
    due = due_after(scene, state, node, after, previous)
    return plan_at(scene, state, node, execution=execution, due=due.moment, why=due.why)


def plan_at(
    scene: Scene,
    state: Enrollment,
    node: Node,
    *,
    execution: int,
    due: datetime,
    why: Why = BY_DELAY,
    held: Sequence[QuotaSlot] | None = None,
    passed: Passed = NONE_PASSED,
) -> Plan:
    """A step at the first moment, from ``due`` and now on, that its rules allow.

    ``held`` are places of limits that a message of the enrollment took and that are its own; without them it has those
    its plan reserves.
    """
    at: datetime | None = max(due, scene.work.now)
    reserved: list[QuotaSlot] = []
    channel = node.channel if sends(state, node) else None
    if channel is not None:
        fitted = fit(scene, state, node, max(due, scene.work.now), why, held, passed=passed)
        if scene.version.settings.send_time == "optimised" and fitted.why.rule in _ANY_HOUR_WILL_DO:
            fitted = _optimised(scene, state, node, fitted, due, execution)
        at, reserved, why, _end = fitted
    return Plan(
        step_id=node.step.step_id,
        execution=execution,
        at=at,
        due_at=due,
        blocked_on=None if at is not None else NEVER_OPEN,
        timer_class=_class(state),
        why=why,
        reserved=reserved,
        channel=channel,
    )


def sends(state: Enrollment, node: Node) -> bool:
    """Does the step send something when it is due? A draft waits for a person first."""
    if not node.drafted:
        return node.channel is not None
    return state.approved is not None and state.approved.step_id == node.step.step_id


class Fit(NamedTuple):
    """The moment, the slots it takes, the rule that moved it last, and the end of its window (None = no end). Without a
    moment when the rules never open together.
    """

    at: datetime | None
    slots: list[QuotaSlot]
    why: Why
    window_end: datetime | None


def fit(
    scene: Scene,
    state: Enrollment,
    node: Node,
    moment: datetime,
    why: Why,
    held: Sequence[QuotaSlot] | None = None,
    *,
    take: bool = False,
    passed: Passed = NONE_PASSED,
) -> Fit:
    """The first moment from ``moment`` on that is inside every window and has a place in every limit. Both are there
    for the lead: a call of another system waits for neither.

    ``passed``: rules about hours that do not count. ``take``: should it be ``moment`` itself, the step goes out, on the
    place reserved for it if there is one.
    """
    if not node.reaches_lead:
        return Fit(moment, [], why, None)
    rules = scene.rules_for(node, passed)
    limits = limits_of(scene.version, scene.organization, node)
    if scene.lead is not None and scene.lead.away_until is not None and "day_off" not in passed:
        back = _back_at(scene, scene.lead.away_until)
        if back > moment:
            inputs = {"returns_on": scene.lead.away_until.isoformat(), "from": moment.isoformat()}
            moment, why, take = back, Why(rule=OUT_OF_OFFICE, inputs=inputs), False
    if not rules and not limits:
        return Fit(moment, [], why, None)
    asker = _asker(state, held) if limits else None
    for _ in range(MOST_MOVES):
        opening = next_open(moment, rules)
        if opening is None:
            return Fit(None, [], Why(rule="never_open", inputs={"from": moment.isoformat()}), None)
        if opening.start > moment:
            if why.rule != OUT_OF_OFFICE:
                why = Why(rule="window", inputs={"zone": scene.zone.key, "from": moment.isoformat()})
            moment = opening.start
            take = False
        if asker is None:
            return Fit(moment, [], why, opening.end)
        slots = places_free(scene.work.world, limits, moment, asker, take=take)
        if not isinstance(slots, Full):
            return Fit(moment, slots, why, opening.end)
        limit = slots.limit
        why = Why(rule="quota", inputs={"scope": limit.scope, "unit": limit.unit, "limit": limit.most})
        moment = slots.again_at
        take = False
    return Fit(moment, [], why, None)


def _optimised(scene: Scene, state: Enrollment, node: Node, fitted: Fit, due: datetime, execution: int) -> Fit:
    """The same in a better hour, where one is known that windows and limits allow."""
    if fitted.at is None or not node.reaches_lead or not may_move(node.step.delay):
        return fitted
    work, zone = scene.work, zone_of_lead(scene.lead, scene.organization)
    figures = (work.world.figures(work.organization_id, kind_of(lead_id)) for lead_id in (state.lead_id, None))
    draw = work.world.draw(BEST_HOUR, state.id, execution)
    better = better_moment(fitted.at, due, Habits(*figures), scene.rules_for(node), zone, draw)
    if better is None:
        return fitted
    moved = fit(scene, state, node, better.at, better.why)
    return moved if moved.at == better.at else fitted


def passed_by(why: Why) -> Passed:
    """Which rules about hours a person said do not count, when the step was advanced by hand."""
    if why.rule != ADVANCED or not why.inputs:
        return NONE_PASSED
    return frozenset(rule for rule in PASSED_BY if why.inputs.get(f"force_{rule}"))


def _asker(state: Enrollment, held: Sequence[QuotaSlot] | None) -> Asker:
    own: frozenset[tuple[str, str]] = frozenset()
    if held is not None:
        own = places_taken(held)
    elif state.plan is not None and state.plan.reserved:
        own = places_reserved(state.plan.reserved, state.plan.timer_class)
    return Asker(state.organization_id, state.sequence_id, _class(state), own)


def _back_at(scene: Scene, day: date) -> datetime:
    """When a lead who is away is back: at the start of its day."""
    return datetime(day.year, day.month, day.day, tzinfo=scene.zone).astimezone(UTC)


def blocked(state: Enrollment, plan: Plan, blocker: str, rule: str) -> Plan:
    """The same step, waiting without an end for what ``blocker`` names."""
    return Plan(
        step_id=plan.step_id,
        execution=plan.execution,
        at=None,
        due_at=plan.due_at,
        blocked_on=blocker,
        timer_class=_class(state),
        why=Why(rule=rule, inputs={"blocked_on": blocker}),
    )


def next_plan(scene: Scene, state: Enrollment) -> Plan | None:
    """Where an enrollment without answer outstanding goes on, made anew; None when nothing is left."""
    plan = state.plan
    if plan is not None:
        if plan.blocked_on is not None and plan.blocked_on.startswith("task:"):
            return plan
        node = scene.version.nodes.get(plan.step_id)
        if node is not None:
            return plan_at(scene, state, node, execution=plan.execution, due=plan.due_at or scene.work.now)
    if state.again and state.after is not None and (node := scene.version.nodes.get(state.after)) is not None:
        return plan_at(
            scene, state, node, execution=state.last_execution + 1, due=scene.work.now, why=Why(rule="again")
        )
    open_execution = state.executions.get(state.last_execution)
    if open_execution is not None and open_execution.fate == "deferred":
        node = scene.version.nodes.get(open_execution.step_id)
        if node is not None:
            return plan_at(scene, state, node, execution=open_execution.number, due=scene.work.now)
    return plan_after(scene, state, state.after, arm=state.arm, moment=state.previous_at)


def _class(state: Enrollment) -> TimerClass:
    """Leads that have had no message yet stand behind those who have."""
    return TimerClass.FOLLOW_UP if state.sent else TimerClass.FIRST_TOUCH
