"""Does a condition make sense? Each finding names its place in the tree: ``….when.any[0].value``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Any, Literal

from services.enrollment.domain.conditions import moment_of
from services.enrollment.domain.lead_values import KNOWN, bare, is_known
from shared.events.definition import Condition, EngagementTest, TimeTest

Finding = dict[str, str]
Kind = Literal["text", "number", "list", "free"]

#: Deepest tree, counted from its root, and most tests of one tree.
MOST_DEPTH = 10
MOST_TESTS = 100
MOST_VALUES = 200
MOST_TEXT = 1_000
CHANNELS = ("email", "sms", "whatsapp")
#: How like the name of a known field another must be to be taken for a slip of the pen; 1 is equal.
LIKENESS = 0.8
#: Which operators a field of a kind knows. What a custom field holds is not known, so it knows all.
OPERATORS: dict[Kind, tuple[str, ...]] = {
    "text": ("eq", "ne", "in", "contains", "exists"),
    "number": ("eq", "ne", "gt", "gte", "lt", "lte", "in", "exists"),
    "list": ("contains", "exists"),
    "free": ("eq", "ne", "gt", "gte", "lt", "lte", "in", "contains", "exists", "before", "after"),
}


def check_condition(condition: Condition, where: str, steps: Collection[str] | None) -> Iterator[Finding]:
    """Findings of a tree. ``steps`` holds the sequence's step ids; None where there is no enrollment yet, so that
    engagement cannot be tested.
    """
    tests = 0
    for node, place, depth in nodes(condition, where):
        tests += 1
        if depth > MOST_DEPTH:
            yield _finding(place, f"lies deeper than {MOST_DEPTH} levels")
        else:
            yield from _node(node, place, steps)
    if tests > MOST_TESTS:
        yield _finding(where, f"has more than {MOST_TESTS} tests")


def doubtful_fields(condition: Condition, where: str) -> Iterator[Finding]:
    """Custom fields with almost the name of one that every lead has: most likely this one is meant. Who means the
    custom field writes ``custom_fields.`` before it.
    """
    for node, place, _ in nodes(condition, where):
        if node.field is not None and not is_known(node.field):
            meant = get_close_matches(bare(node.field).lower(), KNOWN, n=1, cutoff=LIKENESS)
            if meant:
                yield _finding(f"{place}.field", f"names a custom field: did you mean {meant[0]}?")


def nodes(condition: Condition, where: str) -> Iterator[tuple[Condition, str, int]]:
    """Each node of a tree with its place and its level, in the order they are written: the root is on level 1. What
    lies below the first level that is too deep is left out.
    """
    stack = [(condition, where, 1)]
    while stack:
        node, place, depth = stack.pop()
        yield node, place, depth
        if depth > MOST_DEPTH:
            continue
        children = [(each, f"{place}.all[{index}]") for index, each in enumerate(node.all or [])]
        children += [(each, f"{place}.any[{index}]") for index, each in enumerate(node.any or [])]
        if node.not_ is not None:
            children.append((node.not_, f"{place}.not"))
        stack += [(child, inner, depth + 1) for child, inner in reversed(children)]


def _node(node: Condition, where: str, steps: Collection[str] | None) -> Iterator[Finding]:
    for name in ("all", "any"):
        if getattr(node, name) == []:
            yield _finding(f"{where}.{name}", "must hold at least one test")
    if node.field is not None and node.op is not None:
        yield from _field(node.field, node.op, node.value, where)
    elif node.value is not None:
        yield _finding(f"{where}.value", "belongs to field and op")
    if node.engagement is not None:
        yield from _engagement(node.engagement, f"{where}.engagement", steps)
    if node.time is not None:
        yield from _time(node.time, f"{where}.time")
    if node.has_tag is not None and not node.has_tag.strip():
        yield _finding(f"{where}.has_tag", "must not be blank")
    if node.consent is not None and node.consent not in CHANNELS:
        yield _finding(f"{where}.consent", f"must be one of {', '.join(CHANNELS)}")


def kind_of(name: str) -> Kind:
    """What a field holds."""
    name = bare(name)
    if name == "score":
        return "number"
    if name == "tags":
        return "list"
    return "text" if is_known(name) else "free"


def _field(name: str, op: str, value: Any, where: str) -> Iterator[Finding]:
    if not name.strip() or len(name) > MOST_TEXT:
        yield _finding(f"{where}.field", "must name a field")
        return
    kind = kind_of(name)
    if op not in OPERATORS[kind]:
        yield _finding(f"{where}.op", f"{bare(name)} is a {kind}: it knows {', '.join(OPERATORS[kind])}")
        return
    problem = _value_problem(kind, op, value)
    if problem is not None:
        yield _finding(f"{where}.value", problem)


def _value_problem(kind: Kind, op: str, value: Any) -> str | None:
    match op:
        case "exists":
            return None if value is None or isinstance(value, bool) else "must be true or false, or left out"
        case "gt" | "gte" | "lt" | "lte":
            return None if _is_number(value) else "must be a number"
        case "before" | "after":
            return None if moment_of(value) is not None else "must be a date or a time such as 2026-11-20"
        case "in":
            if not isinstance(value, list) or not 0 < len(value) <= MOST_VALUES:
                return f"must be a list of 1 to {MOST_VALUES} values"
            return next((problem for each in value if (problem := _scalar_problem(kind, each))), None)
        case "contains":
            return _scalar_problem("free" if kind == "free" else "text", value)
        case _:
            return _scalar_problem(kind, value)


def _scalar_problem(kind: Kind, value: Any) -> str | None:
    if kind == "number":
        return None if _is_number(value) else "must be a number"
    if kind == "text" and not isinstance(value, str):
        return "must be a text"
    if not isinstance(value, str | int | float | bool):
        return "must be a text, a number, true or false"
    if isinstance(value, str) and len(value) > MOST_TEXT:
        return f"must be at most {MOST_TEXT} characters long"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _engagement(test: EngagementTest, where: str, steps: Collection[str] | None) -> Iterator[Finding]:
    if steps is None:
        yield _finding(where, "cannot be tested before the lead is enrolled")
        return
    if test.step is not None and test.step not in steps:
        yield _finding(f"{where}.step", f"tests step {test.step}, which does not exist")
    if test.link is not None and test.signal != "clicked":
        yield _finding(f"{where}.link", "belongs to the signal clicked")
    if test.intent is not None and test.signal != "replied":
        yield _finding(f"{where}.intent", "belongs to the signal replied")


def _time(test: TimeTest, where: str) -> Iterator[Finding]:
    if all(getattr(test, name) is None for name in type(test).model_fields):
        yield _finding(where, "must name days, hours or dates")
    if test.days == []:
        yield _finding(f"{where}.days", "must name at least one day")
    if test.first_day is not None and test.last_day is not None and test.last_day < test.first_day:
        yield _finding(f"{where}.last_day", "must not be before first_day")


def _finding(where: str, problem: str) -> Finding:
    return {"field": where, "problem": problem}
