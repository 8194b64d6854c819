"""Content that is no mail: the text of a message to a phone, and the body of a call.

A JSON body is filled with escaped values, so that no value can break out of its string; what comes out must be JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from shared.events.dispatch import DressedStep
from shared.rendering.errors import BrokenContent
from shared.rendering.links import Links
from shared.rendering.values import filled_parts, values_of

TEXT_KINDS = frozenset({"sms", "whatsapp"})
MOST_CHARACTERS = 4_096
MOST_BODY_BYTES = 512 * 1024


class PhoneText(NamedTuple):
    """``parameters`` are those of a template message, in order; its ``text`` only names them."""

    text: str
    parameters: list[str]


def phone_text(step: DressedStep, links: Links) -> PhoneText:
    """Raises MissingValues or BrokenContent."""
    parts = {name: text.strip() for name, text in filled_parts(step, values_of(step, links)).items()}
    if step.template is not None:
        parameters = [parts[f"parameter_{number}"] for number in range(1, len(parts) + 1)]
        return PhoneText(", ".join([step.template.name, *parameters]), parameters)
    text = parts.get("text", "")
    if not text:
        raise BrokenContent("the message has no content")
    if len(text) > MOST_CHARACTERS:
        raise BrokenContent(f"the message is longer than {MOST_CHARACTERS} characters")
    return PhoneText(text, [])


def content_type_of(headers: Mapping[str, str]) -> str | None:
    """The content type that a call's headers name."""
    return next((value for name, value in headers.items() if name.lower() == "content-type"), None)


def call_body(step: DressedStep, links: Links) -> str | None:
    """The body of a call that has one of its own, else None. Raises MissingValues or BrokenContent."""
    if step.webhook is None or step.content.get("body") is None:
        return None
    content_type = content_type_of(step.webhook.headers)
    is_json = content_type is None or "json" in content_type.lower()
    values = values_of(step, links)
    body = filled_parts(step, _escaped(values) if is_json else values)["body"]
    if len(body.encode()) > MOST_BODY_BYTES:
        raise BrokenContent(f"the body is larger than {MOST_BODY_BYTES} bytes")
    if is_json:
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError:
            raise BrokenContent("the body is no JSON") from None
    return body


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return orjson.dumps(value).decode()[1:-1]
    if isinstance(value, Mapping):
        return {name: _escaped(each) for name, each in value.items()}
    return [_escaped(each) for each in value] if isinstance(value, list) else value
