"""Values of webhook headers, which may be secrets: who may not change sequences sees their names alone. A masked
definition that is saved keeps what it hides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.gateway.access import Principal
from services.gateway.errors import Invalid
from shared.events.definition import SequenceDefinition
from shared.events.step_ids import ARMS, steps_of

#: Stands for a value; no service asks for such a secret.
MASK = "********"


def as_seen_by(principal: Principal, definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with every header masked, unless they may change it."""
    if "sequences:write" in principal.permissions:
        return dict(definition)
    return {**definition, "steps": [_masked(step) for step in definition.get("steps") or ()]}


def is_masked(definition: SequenceDefinition) -> bool:
    """Does a header hold the mask?"""
    steps = definition.model_dump(mode="json", by_alias=True)["steps"]
    return any(MASK in _headers(step).values() for step in steps_of(steps))


def unmasked(definition: SequenceDefinition, known: Mapping[str, Any]) -> SequenceDefinition:
    """The definition with masked headers as ``known`` has them in the same step. Raises Invalid where it has none."""
    plain = definition.model_dump(mode="json", by_alias=True)
    before = {step["step_id"]: _headers(step) for step in steps_of(known.get("steps"))}
    errors = []
    for step in steps_of(plain["steps"]):
        headers = _headers(step)
        for name in [name for name, value in headers.items() if value == MASK]:
            kept = before.get(step["step_id"], {}).get(name)
            if kept is None:
                field = f"steps.{step['step_id']}.config.headers.{name}"
                errors.append({"field": field, "problem": "is masked: write its value"})
            else:
                headers[name] = kept
    if errors:
        raise Invalid("; ".join(f"{each['field']} {each['problem']}" for each in errors), code="invalid", errors=errors)
    return SequenceDefinition.model_validate(plain)


def _masked(step: Mapping[str, Any]) -> dict[str, Any]:
    shown = {**step, **{arm: [_masked(each) for each in step[arm]] for arm in ARMS if step.get(arm)}}
    headers = _headers(step)
    if headers:
        shown["config"] = {**step["config"], "headers": dict.fromkeys(headers, MASK)}
    return shown


def _headers(step: Mapping[str, Any]) -> dict[str, str]:
    headers = (step.get("config") or {}).get("headers") if step.get("kind") == "webhook" else None
    return headers or {}
