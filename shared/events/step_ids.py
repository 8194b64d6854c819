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
