"""The call of another system: its body and headers. Pure.

A JSON body is filled with escaped values, so that no value can break out of its string; what comes out must be JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from services.dispatcher.message import Outbound
from services.dispatcher.states import Step
from shared.events.dispatch import DressedStep, WebhookCall
from shared.rendering.errors import BrokenContent
from shared.rendering.links import Links
from shared.rendering.liquid_values import render
from shared.rendering.message import values_of

JSON = "application/json"
MOST_BODY_BYTES = 512 * 1024


def compose_call(dressed: DressedStep, call: WebhookCall, step: Step, links: Links) -> Outbound:
    """The same bytes for each attempt; what changes with it (time, signature) is the channel's part.

    Raises MissingValues or BrokenContent.
    """
    headers = dict(call.headers)
    content_type = next((value for name, value in headers.items() if name.lower() == "content-type"), None)
    is_json = content_type is None or "json" in content_type.lower()
    template = dressed.content.get("body")
    if template is not None:
        body = _filled(template, values_of(dressed, links), is_json=is_json)
    else:
        body = "" if call.method in ("GET", "DELETE") else orjson.dumps(_facts(dressed, step)).decode()
    if len(body.encode()) > MOST_BODY_BYTES:
        raise BrokenContent(f"the body is larger than {MOST_BODY_BYTES} bytes")
    if body and content_type is None:
        headers["Content-Type"] = JSON
    return Outbound(
        message_id=str(dressed.dispatch_id),
        to=call.url,
        envelope_sender="",
        sender="",
        subject=call.method,
        html=None,
        text=body,
        headers=headers,
        organization_id=step.organization_id,
    )


def _filled(template: str, values: dict[str, Any], *, is_json: bool) -> str:
    if not is_json:
        return render(template, values, html=False)
    body = render(template, _escaped(values), html=False)
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


def _facts(dressed: DressedStep, step: Step) -> dict[str, Any]:
    """What a call says that has no body of its own."""
    return {
        "type": "step",
        "dispatch_id": str(dressed.dispatch_id),
        "organization_id": step.organization_id,
        "sequence_id": str(dressed.sequence_id),
        "version": dressed.version,
        "enrollment_id": str(dressed.enrollment_id),
        "execution": dressed.execution,
        "step_id": dressed.step_id,
        "lead_id": str(step.lead_id),
        "lead": dressed.lead,
    }
