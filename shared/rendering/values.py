"""What templates may name, and a step's content with these values in place."""

from __future__ import annotations

from typing import Any

from shared.events.dispatch import DressedStep
from shared.rendering.errors import MissingValues
from shared.rendering.links import Links
from shared.rendering.liquid_values import render, without_blanks


def values_of(step: DressedStep, links: Links) -> dict[str, Any]:
    """What templates may name: the lead's fields and custom fields by themselves and under ``lead``, ``sender``, the
    unsubscribe link.
    """
    lead = dict(step.lead)
    custom = lead.pop("custom_fields", None)
    fields = {**(custom if isinstance(custom, dict) else {}), **lead}
    if not fields.get("name"):
        fields["name"] = " ".join(str(fields[part]) for part in ("first_name", "last_name") if fields.get(part))
    own = {
        "lead": {**fields, "custom_fields": custom or {}},
        "custom_fields": custom or {},
        "sender": {"name": step.sender.name, "email": step.sender.email},
        "unsubscribe_url": links.unsubscribe,
        "postal_address": step.postal_address,
    }
    return without_blanks({**fields, **own})


def filled_parts(step: DressedStep, values: dict[str, Any]) -> dict[str, str]:
    """The content by name. Raises MissingValues with the names missing in any part, or BrokenContent."""
    parts: dict[str, str] = {}
    missing: set[str] = set()
    for name, template in step.content.items():
        if template is None:
            continue
        try:
            parts[name] = render(template, values, html=name == "html")
        except MissingValues as error:
            missing.update(error.names)
    if missing:
        raise MissingValues(sorted(missing))
    return parts
