"""Texts with a lead's values in place: what merge tags see, and notes, titles and notifications for members.

What goes to the lead is rendered by the dispatcher, which refuses holes; a text for members does without what is
missing.
"""

from __future__ import annotations

from typing import Any

from services.enrollment.domain.lead import Lead
from shared.events.lead import PERSONAL_FIELDS, PLAIN_FIELDS
from shared.rendering.errors import BrokenContent
from shared.rendering.liquid_values import fill, without_blanks


def filled(template: str, lead: Lead | None) -> str:
    """The text with the lead's values in place, missing ones left out; as it stands when it cannot be read."""
    if "{" not in template or lead is None:
        return template
    values = lead_values(lead)
    named = without_blanks({**values["custom_fields"], **values, "lead": values})
    try:
        return fill(template, named).strip()
    except BrokenContent:
        return template


def lead_values(lead: Lead) -> dict[str, Any]:
    """The lead's fields as merge tags see them; ``custom_fields`` stand by themselves."""
    values: dict[str, Any] = {name: getattr(lead, name) for name in (*PERSONAL_FIELDS, *PLAIN_FIELDS)}
    values["score"], values["tags"] = lead.score, sorted(lead.tags)
    values["custom_fields"] = dict(lead.custom_fields or {})
    values["name"] = " ".join(part for part in (lead.first_name, lead.last_name) if part) or None
    return {name: value for name, value in values.items() if value is not None}
