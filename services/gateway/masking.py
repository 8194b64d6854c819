"""What a webhook step may hold secrets in: header values, the address behind its host, the body. Who may not change
sequences sees that they are there, and no more. A masked definition that is saved keeps what it hides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from services.gateway.access import Principal
from services.gateway.errors import Invalid
from shared.events.definition import SequenceDefinition
from shared.events.step_ids import ARMS, steps_of

#: Stands for a value; no service asks for such a secret.
MASK = "********"
HEADER = "headers."
#: Scheme and host, of whatever a definition takes for an address.
_HOST = re.compile(r"https?://[^/?#]*")


def as_seen_by(principal: Principal, definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with its webhooks masked, unless they may change it."""
    if "sequences:write" in principal.permissions:
        return dict(definition)
    return {**definition, "steps": [_masked(step) for step in definition.get("steps") or ()]}


def content_as_seen_by(principal: Principal, told: dict[str, Any]) -> dict[str, Any]:
    """A step of a trial (``kind``, ``content``), what a webhook would say masked likewise."""
    if "sequences:write" in principal.permissions or told.get("kind") != "webhook" or not told.get("content"):
        return told
    return {**told, "content": {**told["content"], "text": MASK}}


def is_masked(definition: SequenceDefinition) -> bool:
    """Does a webhook hold a mask?"""
    steps = definition.model_dump(mode="json", by_alias=True)["steps"]
    return any(value == _mask(place, value) for step in steps_of(steps) for place, value in _secrets(step).items())


def unmasked(definition: SequenceDefinition, known: Mapping[str, Any]) -> SequenceDefinition:
    """The definition with what is masked as ``known`` has it in the same step. Raises Invalid where it has none, or has
    another host."""
    plain = definition.model_dump(mode="json", by_alias=True)
    before = {step["step_id"]: _secrets(step) for step in steps_of(known.get("steps"))}
    errors = []
    for step in steps_of(plain["steps"]):
        for place, value in _secrets(step).items():
            if value != _mask(place, value):
                continue
            kept = before.get(step["step_id"], {}).get(place)
            if kept is None or _mask(place, kept) != value:
                field = f"steps.{step['step_id']}.config.{place}"
                errors.append({"field": field, "problem": "is masked: write its value"})
            else:
                _put(step["config"], place, kept)
    if errors:
        raise Invalid("; ".join(f"{each['field']} {each['problem']}" for each in errors), code="invalid", errors=errors)
    return SequenceDefinition.model_validate(plain)


def _masked(step: Mapping[str, Any]) -> dict[str, Any]:
    shown = {**step, **{arm: [_masked(each) for each in step[arm]] for arm in ARMS if step.get(arm)}}
    secrets = _secrets(step)
    if secrets:
        config = shown["config"] = {**step["config"], "headers": dict(step["config"].get("headers") or {})}
        for place, value in secrets.items():
            _put(config, place, _mask(place, value))
    return shown


def _secrets(step: Mapping[str, Any]) -> dict[str, str]:
    """What may be secret, by its place in the config."""
    if step.get("kind") != "webhook":
        return {}
    config = step.get("config") or {}
    found = {f"{HEADER}{name}": value for name, value in (config.get("headers") or {}).items()}
    if config.get("body"):
        found["body"] = config["body"]
    url = config.get("url") or ""
    if _behind_host(url) not in {"", "/"}:
        found["url"] = url
    return found


def _mask(place: str, value: str) -> str:
    """The host of an address stays: it says whom the step calls."""
    return f"{value.removesuffix(_behind_host(value))}/{MASK}" if place == "url" else MASK


def _behind_host(url: str) -> str:
    """Path, query and fragment."""
    host = _HOST.match(url)
    return url[host.end() :] if host is not None else url


def _put(config: dict[str, Any], place: str, value: str) -> None:
    if place.startswith(HEADER):
        config["headers"][place.removeprefix(HEADER)] = value
    else:
        config[place] = value
