"""What differs between two definitions: step by step by their ids, and field by field."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from shared.events.step_ids import ARMS

_PARTS = ("settings", "trigger")
_MISSING = object()


class Spot(NamedTuple):
    """Where a step stands: in which arm of which condition (None and None at the top), at which place from 0."""

    parent: str | None
    arm: str | None
    place: int


def diff(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """``{"steps": {"added", "removed", "moved", "changed"}, "settings", "trigger", "fields"}``; a changed field has
    ``before`` and ``after`` (None where it is missing)."""
    old, new = dict(_placed(older.get("steps") or ())), dict(_placed(newer.get("steps") or ()))
    stayed = [step_id for step_id in old if step_id in new]
    moved = _moved(stayed, {each: old[each][0] for each in stayed}, {each: new[each][0] for each in stayed})
    return {
        "steps": {
            "added": [_shown(each, *new[each]) for each in new if each not in old],
            "removed": [_shown(each, *old[each]) for each in old if each not in new],
            "moved": [
                {"step_id": each, "from": old[each][0]._asdict(), "to": new[each][0]._asdict()}
                for each in stayed
                if each in moved
            ],
            "changed": [
                {"step_id": each, "fields": fields}
                for each in stayed
                if (fields := _fields(_own(old[each][1]), _own(new[each][1])))
            ],
        },
        **{part: _fields(older.get(part) or {}, newer.get(part) or {}) for part in _PARTS},
        "fields": _fields(_rest(older), _rest(newer)),
    }


def _placed(
    steps: Sequence[Mapping[str, Any]], parent: str | None = None, arm: str | None = None
) -> Iterator[tuple[str, tuple[Spot, Mapping[str, Any]]]]:
    for index, step in enumerate(steps):
        yield step["step_id"], (Spot(parent, arm, index), step)
        for name in ARMS:
            yield from _placed(step.get(name) or (), step["step_id"], name)


def _moved(stayed: Sequence[str], old: Mapping[str, Spot], new: Mapping[str, Spot]) -> set[str]:
    """Steps in another arm than before, and as few as will do of those whose order in their list has changed."""
    moved = {each for each in stayed if old[each][:2] != new[each][:2]}
    lists: dict[tuple[str | None, str | None], list[str]] = {}
    for each in stayed:
        if each not in moved:
            lists.setdefault(old[each][:2], []).append(each)
    for members in lists.values():
        kept = _longest_rising([new[each].place for each in members])
        moved |= {each for at, each in enumerate(members) if at not in kept}
    return moved


def _longest_rising(numbers: Sequence[int]) -> set[int]:
    """Places of a longest rising part of distinct numbers."""
    ends: list[int] = []
    at_end: list[int] = []
    before: list[int | None] = []
    for at, number in enumerate(numbers):
        length = bisect_left(ends, number)
        before.append(at_end[length - 1] if length else None)
        ends[length:] = [number, *ends[length + 1 :]]
        at_end[length:] = [at, *at_end[length + 1 :]]
    kept: set[int] = set()
    last = at_end[-1] if at_end else None
    while last is not None:
        kept.add(last)
        last = before[last]
    return kept


def _shown(step_id: str, spot: Spot, step: Mapping[str, Any]) -> dict[str, Any]:
    return {"step_id": step_id, "kind": step.get("kind"), "name": step.get("name") or "", "at": spot._asdict()}


def _own(step: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in step.items() if name not in {*ARMS, "step_id"}}


def _rest(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in definition.items() if name not in {*_PARTS, "steps"}}


def _fields(older: Mapping[str, Any], newer: Mapping[str, Any], where: str = "") -> list[dict[str, Any]]:
    """Each field that differs, by its path; lists count as one value."""
    found: list[dict[str, Any]] = []
    for name in [*older, *(each for each in newer if each not in older)]:
        before, after = older.get(name, _MISSING), newer.get(name, _MISSING)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _fields(before, after, f"{where}{name}.")
        else:
            values = [None if value is _MISSING else value for value in (before, after)]
            if values[0] != values[1]:
                found.append({"field": f"{where}{name}", "before": values[0], "after": values[1]})
    return found
