"""When a step is due by its delay alone, before windows and limits; and how far late steps stay apart."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from services.enrollment.domain.lead_values import date_field
from services.enrollment.domain.windows import at_time_of_day, business_days_later, local_days_later
from shared.events.definition import Delay, Step
from shared.events.why import Why

if TYPE_CHECKING:
    from services.enrollment.domain.enrollment import Enrollment
    from services.enrollment.domain.flow import Node
    from services.enrollment.domain.planning import Scene

BY_DELAY = Why(rule="delay")
SPACING = "spacing"


class DueBy(NamedTuple):
    """The moment, and the rule that gave it: ``delay``, or ``spacing`` where the delay alone came too early."""

    moment: datetime
    why: Why


def delayed(delay: Delay, *, previous: datetime, started: datetime, scene: Scene) -> datetime:
    """The moment a delay gives, before windows and limits. A date field that is empty or no date counts as the
    previous step's moment.
    """
    base = previous
    if delay.from_ == "enrollment":
        base = started
    elif delay.from_ == "field" and delay.field is not None:
        base = date_field(scene.lead, delay.field, scene.zone) or previous
    return _at_its_time(_later(base, delay, scene), delay, scene)


def _at_its_time(moment: datetime, delay: Delay, scene: Scene) -> datetime:
    return at_time_of_day(moment, delay.at, scene.zone) if delay.at is not None else moment


def _later(base: datetime, delay: Delay, scene: Scene) -> datetime:
    if not delay.amount:
        return base
    match delay.unit:
        case "minutes":
            return base + timedelta(minutes=delay.amount)
        case "hours":
            return base + timedelta(hours=delay.amount)
        case "days":
            return local_days_later(base, delay.amount, scene.zone)
        case "weeks":
            return local_days_later(base, delay.amount * 7, scene.zone)
        case "business_days":
            return business_days_later(base, delay.amount, scene.zone, scene.is_off)


def due_after(scene: Scene, state: Enrollment, node: Node, after: str | None, previous: datetime) -> DueBy:
    """When a step is due that follows ``after`` (None at the beginning), which was concluded at ``previous``.

    A step counted from the enrollment keeps the distance to the step before it that the sequence gives them, once the
    enrollment was held or the step was due before that one was done: a hold is followed by no burst.
    """
    delay = node.step.delay
    due = delayed(delay, previous=previous, started=state.started_at, scene=scene)
    if delay.from_ != "enrollment" or after is None or not (state.was_held or due < previous):
        return DueBy(due, BY_DELAY)
    apart = _at_its_time(_kept_apart(scene, state, delay, after, previous, due), delay, scene)
    if apart <= max(due, previous):
        return DueBy(due, BY_DELAY)
    return DueBy(apart, Why(rule=SPACING, inputs={"after": after, "due": due.isoformat()}))


def _kept_apart(
    scene: Scene, state: Enrollment, delay: Delay, after: str, previous: datetime, due: datetime
) -> datetime:
    """As long after ``previous`` as the step was to come after the one before it; at ``previous`` for one of which
    this version knows nothing.
    """
    before = scene.version.steps.get(after)
    if before is None:
        return previous
    counted = before.delay
    if before.active and (counted.from_, counted.unit) == ("enrollment", delay.unit):
        amount = max(0, delay.amount - counted.amount)
        return _later(previous, delay.model_copy(update={"amount": amount}), scene)
    on_time = state.started_at
    for step in _way_to(scene.version.definition.steps, after):
        if step.active:
            moment = delayed(step.delay, previous=on_time, started=state.started_at, scene=scene)
            on_time = max(on_time, moment)  # a date of the lead may be long past: its step came when it was its turn
    return previous + max(due - on_time, timedelta(0))


def _way_to(steps: Iterable[Step], step_id: str) -> list[Step]:
    """The steps up to this one, itself included; of the conditions before it neither arm. Empty where it is not."""
    way: list[Step] = []
    for step in steps:
        way.append(step)
        if step.step_id == step_id:
            return way
        if inside := _way_to(step.then, step_id) or _way_to(step.else_, step_id):
            return [*way, *inside]
    return []
