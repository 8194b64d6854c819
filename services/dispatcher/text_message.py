"""Messages to a phone: SMS and WhatsApp. Pure."""

from __future__ import annotations

import orjson

from services.dispatcher.message import Outbound
from shared.events.dispatch import DressedStep
from shared.rendering.links import Links
from shared.rendering.plain import phone_text


def compose_text(dressed: DressedStep, links: Links) -> Outbound:
    """A template message keeps its name, language and parameters in its headers, for the provider that knows it.

    Raises MissingValues or BrokenContent.
    """
    said = phone_text(dressed, links)
    headers: dict[str, str] = {}
    if dressed.template is not None:
        headers = {
            "Template": dressed.template.name,
            "Language": dressed.template.language,
            "Parameters": orjson.dumps(said.parameters).decode(),
        }
    return Outbound(
        message_id=str(dressed.dispatch_id),
        to=dressed.address,
        envelope_sender="",
        sender=dressed.sender.name,
        subject="",
        html=None,
        text=said.text,
        headers=headers,
    )
