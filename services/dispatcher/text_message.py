"""Messages of plain text to a phone: SMS and WhatsApp. Pure."""

from __future__ import annotations

import orjson

from services.dispatcher.message import Outbound
from shared.events.dispatch import DressedStep
from shared.rendering.errors import BrokenContent, MissingValues
from shared.rendering.links import Links
from shared.rendering.liquid_values import render
from shared.rendering.message import values_of

KINDS = frozenset({"sms", "whatsapp"})
MOST_CHARACTERS = 4_096


def compose_text(dressed: DressedStep, links: Links) -> Outbound:
    """A template message keeps its name, language and parameters in its headers, for the provider that knows it.

    Raises MissingValues or BrokenContent.
    """
    values, parts, missing = values_of(dressed, links), {}, set[str]()
    for name, template in dressed.content.items():
        try:
            parts[name] = render(template or "", values, html=False).strip()
        except MissingValues as error:
            missing.update(error.names)
    if missing:
        raise MissingValues(sorted(missing))
    headers: dict[str, str] = {}
    text = parts.get("text", "")
    if dressed.template is not None:
        parameters = [parts[f"parameter_{number}"] for number in range(1, len(parts) + 1)]
        headers = {
            "Template": dressed.template.name,
            "Language": dressed.template.language,
            "Parameters": orjson.dumps(parameters).decode(),
        }
        text = ", ".join([dressed.template.name, *parameters])
    if not text:
        raise BrokenContent("the message has no content")
    if len(text) > MOST_CHARACTERS:
        raise BrokenContent(f"the message is longer than {MOST_CHARACTERS} characters")
    return Outbound(
        message_id=str(dressed.dispatch_id),
        to=dressed.address,
        envelope_sender="",
        sender=dressed.sender.name,
        subject="",
        html=None,
        text=text,
        headers=headers,
    )
