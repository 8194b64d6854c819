"""What a webhook step may hold secrets in: header values, the address behind its host, the body. Who may not change
sequences sees that they are there, and no more. A masked definition that is saved keeps what it hides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from services.gateway.access import Principal
from services.gateway.errors import Invalid
from shared.events.definition import Step
from shared.events.step_ids import ARMS, steps_of
from shared.messaging.topology import dispatch_queue

#: Stands for a value; no service asks for such a secret.
MASK = "********"
HEADER = "headers."
#: Scheme and host, of whatever a definition takes for an address.
_HOST = re.compile(r"https?://[^/?#]*")


def as_seen_by(principal: Principal, definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with its webhooks masked, unless they may change it."""
    if not hides_calls(principal):
        return dict(definition)
    return masked(definition)


def masked(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with what its webhooks may hold of secrets masked."""
    return {**definition, "steps": [_masked(step) for step in definition.get("steps") or ()]}


def content_as_seen_by(principal: Principal, told: dict[str, Any]) -> dict[str, Any]:
    """A step of a trial (``kind``, ``content``), what a webhook would say masked likewise."""
    if not hides_calls(principal) or told.get("kind") != "webhook" or not told.get("content"):
        return told
    return {**told, "content": {**told["content"], "text": MASK}}


def sent_as_seen_by(principal: Principal, channel: str | None, sent: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A message as it went out; what a call of another system said is masked likewise."""
    if sent is None:
        return None
    if not hides_calls(principal) or channel != "webhook":
        return dict(sent)
    url = str(sent.get("to") or "")
    return {
        **sent,
        "to": _mask("url", url) if _behind_host(url) not in {"", "/"} else url,
        "headers": dict.fromkeys(sent.get("headers") or {}, MASK),
        "text": MASK if sent.get("text") else sent.get("text"),
    }


def letter_as_seen_by(principal: Principal, queue: str, body: str) -> str:
    """A dead letter's body, hidden where it holds a call that was to be made."""
    return MASK if hides_calls(principal) and queue == dispatch_queue("webhook") else body


def hides_calls(principal: Principal) -> bool:
    """Who may not change sequences sees no secret of theirs."""
    return "sequences:write" not in principal.permissions


def is_masked(steps: Sequence[Step]) -> bool:
    """Does a webhook hold a mask?"""
    plain = _plain(steps)
    return any(value == _mask(place, value) for step in steps_of(plain) for place, value in _secrets(step).items())


def unmasked(steps: Sequence[Step], known: Mapping[str, Any]) -> list[Step]:
    """The steps with what is masked as the definition ``known`` has it in the same step. Raises Invalid where it has
    none, or has another host."""
    plain = _plain(steps)
    before = {step["step_id"]: _secrets(step) for step in steps_of(known.get("steps"))}
    errors = []
    for step in steps_of(plain):
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
    return [Step.model_validate(step) for step in plain]


def _plain(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [step.model_dump(mode="json", by_alias=True) for step in steps]


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
