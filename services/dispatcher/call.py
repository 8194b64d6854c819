"""The call of another system: its body and headers. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from services.dispatcher.message import Outbound
from services.dispatcher.states import Step
from shared.events.dispatch import DressedStep
from shared.rendering.links import Links
from shared.rendering.plain import call_body, content_type_of


def compose_call(dressed: DressedStep, step: Step, links: Links) -> Outbound:
    """The same bytes for each attempt; what changes with it (time, signature) is the channel's part.

    Raises MissingValues or BrokenContent.
    """
    call = dressed.webhook
    assert call is not None
    body = call_body(dressed, links)
    if body is None:
        body = "" if call.method in ("GET", "DELETE") else orjson.dumps(_facts(dressed, step)).decode()
    typed = not body or content_type_of(call.headers) is not None
    return Outbound(
        message_id=str(dressed.dispatch_id),
        to=call.url,
        envelope_sender="",
        sender="",
        subject=call.method,
        html=None,
        text=body,
        headers=call.headers if typed else {**call.headers, "Content-Type": "application/json"},
        organization_id=step.organization_id,
    )


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
