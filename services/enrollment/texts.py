"""Texts with a lead's values in place: what merge tags see, and notes, titles and notifications for members.

What goes to the lead is rendered by the dispatcher, which refuses holes; a text for members does without what is
missing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from liquid import BoundTemplate, Environment
from liquid.exceptions import LiquidError

from services.enrollment.domain.lead import Lead
from shared.events.lead import PERSONAL_FIELDS, PLAIN_FIELDS


class _Bounded(Environment):
    output_stream_limit = 64 * 1024
    loop_iteration_limit = 1_000
    local_namespace_limit = 64 * 1024
    context_depth_limit = 20


def _environment() -> Environment:
    environment = _Bounded()
    for tag in ("include", "render"):
        environment.tags.pop(tag, None)
    return environment


_ENVIRONMENT = _environment()


@lru_cache(maxsize=512)
def _compiled(template: str) -> BoundTemplate:
    return _ENVIRONMENT.from_string(template)


def filled(template: str, lead: Lead | None) -> str:
    """The text with the lead's values in place, missing ones left out; as it stands when it cannot be read."""
    if "{" not in template or lead is None:
        return template
    values = lead_values(lead)
    own = {**values["custom_fields"], **values, "lead": values}
    try:
        return _compiled(template).render(**own).strip()
    except (LiquidError, TypeError, ValueError, ArithmeticError, RecursionError, AttributeError, KeyError, IndexError):
        return template


def lead_values(lead: Lead) -> dict[str, Any]:
    """The lead's fields as merge tags see them; ``custom_fields`` stand by themselves."""
    values: dict[str, Any] = {name: getattr(lead, name) for name in (*PERSONAL_FIELDS, *PLAIN_FIELDS)}
    values["score"], values["tags"] = lead.score, sorted(lead.tags)
    values["custom_fields"] = dict(lead.custom_fields or {})
    values["name"] = " ".join(part for part in (lead.first_name, lead.last_name) if part) or None
    return {name: value for name, value in values.items() if value is not None}
