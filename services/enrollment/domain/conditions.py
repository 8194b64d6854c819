"""Conditions: typed tests of a lead and of what came back in this enrollment. Each answer brings what it looked at.

What goes into a reason stands in the log in clear, so personal fields are named there without their values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.planning import Scene, lead_value
from services.enrollment.domain.work import engagement_id
from shared.events.definition import Condition, EngagementTest
from shared.events.lead import PLAIN_FIELDS

_SHOWN = frozenset({*PLAIN_FIELDS, "score", "tags"})
_UNITS = {"minutes": "minutes", "hours": "hours", "days": "days", "weeks": "weeks"}


class Verdict(NamedTuple):
    """``inputs`` holds each test with what it saw."""

    holds: bool
    inputs: dict[str, Any]


def evaluate(condition: Condition, scene: Scene, state: Enrollment) -> Verdict:
    """Every branch is evaluated, so that the reason is whole. A value of the wrong type satisfies no test but ``ne``
    and ``exists``.
    """
    inputs: dict[str, Any] = {}
    holds = _holds(condition, scene, state, inputs)
    return Verdict(holds, inputs)


def _holds(condition: Condition, scene: Scene, state: Enrollment, inputs: dict[str, Any]) -> bool:
    if condition.all is not None:
        return all(list(_each(condition.all, scene, state, inputs)))
    if condition.any is not None:
        return any(list(_each(condition.any, scene, state, inputs)))
    if condition.not_ is not None:
        return not _holds(condition.not_, scene, state, inputs)
    if condition.field is not None and condition.op is not None:
        return _field(condition.field, condition.op, condition.value, scene, inputs)
    if condition.engagement is not None:
        return _engagement(condition.engagement, scene, state, inputs)
    if condition.has_tag is not None:
        found = scene.lead is not None and condition.has_tag in scene.lead.tags
        inputs[f"tag {condition.has_tag}"] = found
        return found
    given = scene.lead.consent.get(condition.consent or "") if scene.lead is not None else None
    inputs[f"consent {condition.consent}"] = given
    return given is True


def _each(conditions: list[Condition], scene: Scene, state: Enrollment, inputs: dict[str, Any]) -> Iterator[bool]:
    for condition in conditions:
        yield _holds(condition, scene, state, inputs)


def _field(name: str, op: str, wanted: Any, scene: Scene, inputs: dict[str, Any]) -> bool:
    value = lead_value(scene.lead, name)
    holds = _OPERATORS[op](value, wanted)
    shown = name.removeprefix("lead.") in _SHOWN
    inputs[f"{name} {op}"] = value if shown else holds
    return holds


def _engagement(test: EngagementTest, scene: Scene, state: Enrollment, inputs: dict[str, Any]) -> bool:
    since: datetime | None = None
    if test.within is not None:
        since = scene.work.now - timedelta(**{_UNITS[test.within.unit]: test.within.amount})
    found = False
    for execution in state.executions.values():
        if test.step is not None and execution.step_id != test.step:
            continue
        moment = execution.signals.get(test.signal)
        if moment is not None and test.link is not None:
            heard = scene.work.engagement(engagement_id(state.id, execution.number))
            moment = heard.links.get(test.link) if heard is not None else None
        if moment is not None and (since is None or moment >= since):
            found = True
            break
    inputs[f"{test.signal} {test.step or 'any'}"] = found
    return found


# --- comparisons --------------------------------------------------------------------------------------------------


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _ordered(test: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    def compare(value: Any, wanted: Any) -> bool:
        left, right = _number(value), _number(wanted)
        return left is not None and right is not None and test(left, right)

    return compare


def _timed(test: Callable[[datetime, datetime], bool]) -> Callable[[Any, Any], bool]:
    def compare(value: Any, wanted: Any) -> bool:
        left, right = _moment(value), _moment(wanted)
        return left is not None and right is not None and test(left, right)

    return compare


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    left, right = _number(value), _number(wanted)
    if left is not None and right is not None:
        return left == right
    return bool(value == wanted)


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(value, str):
        return isinstance(wanted, str) and wanted.casefold() in value.casefold()
    return isinstance(value, list | tuple | set | frozenset) and wanted in value


def _exists(value: Any, wanted: Any) -> bool:
    there = value is not None and value not in ("", [])
    return there is (wanted is not False)


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": _equal,
    "ne": lambda value, wanted: not _equal(value, wanted),
    "gt": _ordered(lambda left, right: left > right),
    "gte": _ordered(lambda left, right: left >= right),
    "lt": _ordered(lambda left, right: left < right),
    "lte": _ordered(lambda left, right: left <= right),
    "in": lambda value, wanted: isinstance(wanted, list) and any(_equal(value, each) for each in wanted),
    "contains": _contains,
    "exists": _exists,
    "before": _timed(lambda left, right: left < right),
    "after": _timed(lambda left, right: left > right),
}
