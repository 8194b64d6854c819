"""Conditions: typed tests of a lead, of the time, and of what came back in this enrollment. Each answer brings what it
looked at.

A tree is compiled to closures once per version. What goes into a reason stands in the log in clear, so personal fields
are named there without their values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from services.enrollment.domain.lead import UNSUBSCRIBED
from services.enrollment.domain.lead_values import bare, reader_of
from shared.events.definition import Condition, EngagementTest, TimeTest
from shared.events.lead import PLAIN_FIELDS

if TYPE_CHECKING:
    from services.enrollment.domain.enrollment import Enrollment
    from services.enrollment.domain.planning import Scene

_SHOWN = frozenset({*PLAIN_FIELDS, "score", "tags"})
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: (scene, enrollment, inputs) -> does it hold? It adds what it saw to the inputs. Before there is an enrollment (a
#: trigger) the second is None.
Test = Callable[["Scene", "Enrollment | None", dict[str, Any]], bool]
Comparison = Callable[[Any], bool]


class Verdict(NamedTuple):
    """``inputs`` holds each test with what it saw."""

    holds: bool
    inputs: dict[str, Any]


def evaluate(test: Test, scene: Scene, state: Enrollment | None) -> Verdict:
    """Every branch is evaluated, so that the reason is whole. A value of the wrong type satisfies no test but ``ne``
    and ``exists``.
    """
    inputs: dict[str, Any] = {}
    return Verdict(test(scene, state, inputs), inputs)


def compile_condition(condition: Condition) -> Test:
    """The tree as one function. Never refuses: a test that makes no sense holds for nobody."""
    if condition.all is not None:
        return partial(_all, tuple(map(compile_condition, condition.all)))
    if condition.any is not None:
        return partial(_any, tuple(map(compile_condition, condition.any)))
    if condition.not_ is not None:
        inner = compile_condition(condition.not_)
        return lambda scene, state, inputs: not inner(scene, state, inputs)
    if condition.field is not None and condition.op is not None:
        return _field(condition.field, condition.op, condition.value)
    if condition.engagement is not None:
        return _engagement(condition.engagement)
    if condition.time is not None:
        return _time(condition.time)
    return _tag(condition.has_tag) if condition.has_tag is not None else _consent(condition.consent or "")


def _all(tests: Sequence[Test], scene: Scene, state: Enrollment | None, inputs: dict[str, Any]) -> bool:
    holds = True
    for test in tests:
        if not test(scene, state, inputs):
            holds = False
    return holds


def _any(tests: Sequence[Test], scene: Scene, state: Enrollment | None, inputs: dict[str, Any]) -> bool:
    holds = False
    for test in tests:
        if test(scene, state, inputs):
            holds = True
    return holds


def _field(name: str, op: str, wanted: Any) -> Test:
    label, read, shown = f"{name} {op}", reader_of(name), bare(name) in _SHOWN
    compare = _OPERATORS[op](wanted)

    def test(scene: Scene, _state: Enrollment | None, inputs: dict[str, Any]) -> bool:
        value = read(scene.lead) if scene.lead is not None else None
        holds = compare(value)
        inputs[label] = value if shown else holds
        return holds

    return test


def _tag(tag: str) -> Test:
    label = f"tag {tag}"

    def test(scene: Scene, _state: Enrollment | None, inputs: dict[str, Any]) -> bool:
        found = inputs[label] = scene.lead is not None and tag in scene.lead.tags
        return found

    return test


def _consent(channel: str) -> Test:
    """Given, and not taken back by an unsubscribe from the channel or from this sequence."""
    label = f"consent {channel}"

    def test(scene: Scene, _state: Enrollment | None, inputs: dict[str, Any]) -> bool:
        lead = scene.lead
        given = inputs[label] = lead.consent.get(channel) if lead is not None else None
        if lead is None or given is not True:
            return False
        if channel in lead.unsubscribed or (
            lead.unsubscribed_sequences and (channel, scene.version.sequence_id) in lead.unsubscribed_sequences
        ):
            inputs[label] = UNSUBSCRIBED
            return False
        return True

    return test


def _engagement(wanted: EngagementTest) -> Test:
    """Does any execution of the step (of any step, when none is named) have the signal?"""
    signal, step, link, intent, within = wanted.signal, wanted.step, wanted.link, wanted.intent, wanted.within
    span = timedelta(**{within.unit: within.amount}) if within is not None else None
    parts = [signal, step or "any", link and f"link {link}", intent and f"intent {intent}"]
    if within is not None:
        parts.append(f"within {within.amount} {within.unit}")
    label = " ".join(part for part in parts if part)

    def test(scene: Scene, state: Enrollment | None, inputs: dict[str, Any]) -> bool:
        found = False
        for execution in state.executions.values() if state is not None else ():
            if step is not None and execution.step_id != step:
                continue
            moment = execution.signals.get(signal)
            if moment is not None and link is not None:
                moment = _clicked_at(scene, state, execution.number, link)
            if (
                moment is not None
                and (intent is None or execution.intent == intent)
                and (span is None or moment >= scene.work.now - span)
            ):
                found = True
                break
        inputs[label] = found
        return found

    return test


def _clicked_at(scene: Scene, state: Enrollment | None, execution: int, link: str) -> datetime | None:
    heard = scene.work.engagement_of(state.id, execution) if state is not None else None
    return heard.links.get(link) if heard is not None else None


def _time(wanted: TimeTest) -> Test:
    days = None if wanted.days is None else frozenset(_WEEKDAYS.index(day) for day in wanted.days)
    start, end = _minutes(wanted.start or "00:00"), _minutes(wanted.end or "00:00")
    label = "time"
    for name in ("days", "start", "end", "first_day", "last_day"):
        value = getattr(wanted, name)
        if value is not None:
            label += f" {name} {','.join(value) if isinstance(value, list) else value}"

    def test(scene: Scene, _state: Enrollment | None, inputs: dict[str, Any]) -> bool:
        local = scene.work.now.astimezone(scene.zone)
        minutes, weekday = local.hour * 60 + local.minute, local.weekday()
        inputs[label] = local.strftime("%a %Y-%m-%d %H:%M ") + scene.zone.key
        if (wanted.first_day is not None and local.date() < wanted.first_day) or (
            wanted.last_day is not None and local.date() > wanted.last_day
        ):
            return False
        today = days is None or weekday in days
        if start < end:
            return today and start <= minutes < end
        return (today and minutes >= start) or ((days is None or (weekday - 1) % 7 in days) and minutes < end)

    return test


def _minutes(time_of_day: str) -> int:
    return int(time_of_day[:2]) * 60 + int(time_of_day[3:])


# --- comparisons: each operator makes, of the value wanted, a test of the value found ---------------------------------


def number_of(value: Any) -> float | None:
    """A number, or a text that reads as one; None for anything else, truth values too."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def moment_of(value: Any) -> datetime | None:
    """A moment, or an ISO date or time; without a zone it is read in UTC. None for anything else."""
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _ordered(test: Callable[[float, float], bool]) -> Callable[[Any], Comparison]:
    def make(wanted: Any) -> Comparison:
        right = number_of(wanted)

        def compare(value: Any) -> bool:
            left = number_of(value)
            return left is not None and right is not None and test(left, right)

        return compare

    return make


def _timed(test: Callable[[datetime, datetime], bool]) -> Callable[[Any], Comparison]:
    def make(wanted: Any) -> Comparison:
        right = moment_of(wanted)

        def compare(value: Any) -> bool:
            left = moment_of(value)
            return left is not None and right is not None and test(left, right)

        return compare

    return make


def _equal(wanted: Any) -> Comparison:
    if isinstance(wanted, bool):
        return lambda value: value is wanted
    number = number_of(wanted)

    def compare(value: Any) -> bool:
        if isinstance(value, bool):
            return False
        if number is not None and (left := number_of(value)) is not None:
            return left == number
        return bool(value == wanted)

    return compare


def _unequal(wanted: Any) -> Comparison:
    equal = _equal(wanted)
    return lambda value: not equal(value)


def _one_of(wanted: Any) -> Comparison:
    tests = [_equal(each) for each in wanted] if isinstance(wanted, list) else []
    return lambda value: any(test(value) for test in tests)


def _contains(wanted: Any) -> Comparison:
    folded = wanted.casefold() if isinstance(wanted, str) else None

    def compare(value: Any) -> bool:
        if isinstance(value, str):
            return folded is not None and folded in value.casefold()
        return isinstance(value, list | tuple | set | frozenset) and wanted in value

    return compare


def _exists(wanted: Any) -> Comparison:
    there = wanted is not False
    return lambda value: (value is not None and value not in ("", [])) is there


_OPERATORS: dict[str, Callable[[Any], Comparison]] = {
    "eq": _equal,
    "ne": _unequal,
    "gt": _ordered(lambda left, right: left > right),
    "gte": _ordered(lambda left, right: left >= right),
    "lt": _ordered(lambda left, right: left < right),
    "lte": _ordered(lambda left, right: left <= right),
    "in": _one_of,
    "contains": _contains,
    "exists": _exists,
    "before": _timed(lambda left, right: left < right),
    "after": _timed(lambda left, right: left > right),
}
