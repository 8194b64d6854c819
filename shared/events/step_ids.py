"""Ids for steps that were written without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ARMS = ("then", "else")


def with_step_ids(raw: Any) -> Any:
    """A definition as it was sent, each of its steps with an id: ``<kind>-<n>``, with the lowest n that is free.

    The same definition always gets the same ids. What is no definition comes back as it is: its form is judged later.
    """
    if not isinstance(raw, Mapping):
        return raw
    steps = list(steps_of(raw.get("steps")))
    if all(step.get("step_id") is not None for step in steps):
        return raw
    taken = {step["step_id"] for step in steps if isinstance(step.get("step_id"), str)}
    return {**raw, "steps": _named(raw["steps"], taken)}


def steps_of(raw: Any) -> Iterator[Mapping[str, Any]]:
    """Every step of a list that can be recognised as one, in reading order, arms included."""
    if not isinstance(raw, list):
        return
    for step in raw:
        if isinstance(step, Mapping):
            yield step
            for arm in ARMS:
                yield from steps_of(step.get(arm))


def _named(raw: Any, taken: set[str]) -> Any:
    if not isinstance(raw, list):
        return raw
    named = []
    for step in raw:
        if not isinstance(step, Mapping):
            named.append(step)
            continue
        step_id = step.get("step_id")
        if step_id is None:
            step_id = _free(str(step.get("kind") or "step"), taken)
            taken.add(step_id)
        arms = {arm: _named(step[arm], taken) for arm in ARMS if arm in step}
        named.append({**step, "step_id": step_id, **arms})
    return named


def _free(kind: str, taken: set[str]) -> str:
    number = 1
    while f"{kind}-{number}" in taken:
        number += 1
    return f"{kind}-{number}"


def named_steps(reasons: list[dict[str, str]], raw: Any) -> list[dict[str, str]]:
    """The same reasons, with ``steps.welcome.config`` for ``steps.0.config`` where that step of ``raw`` has an id."""
    return [{**reason, "field": _by_id(reason["field"], with_step_ids(raw))} for reason in reasons]


def _by_id(place: str, raw: Any) -> str:
    """``steps.1.then.0.delay`` reads ``steps.<id of the inner step>.delay``."""
    parts = place.split(".")
    if parts[0] != "steps" or not isinstance(raw, Mapping):
        return place
    at, steps, step_id = 0, raw.get("steps"), None
    while at + 1 < len(parts) and parts[at] in ("steps", *ARMS) and parts[at + 1].isdigit():
        index = int(parts[at + 1])
        step = steps[index] if isinstance(steps, list) and index < len(steps) else None
        if not isinstance(step, Mapping) or not isinstance(step.get("step_id"), str):
            break
        step_id, at = step["step_id"], at + 2
        steps = step.get(parts[at]) if at < len(parts) else None
    return place if step_id is None else ".".join(["steps", step_id, *parts[at:]])
