"""A lead's fields by name, as sequences name them, and a date field as a moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

from services.enrollment.domain.lead import FIELDS, Lead

#: Years in which a lead's dates may lie; another is taken for a mistake.
YEARS = range(1970, 2200)
#: Fields that every lead has, and no custom ones.
KNOWN = frozenset({*FIELDS, "score", "tags", "name", "owner"})
#: A field read from a lead; None where it has none.
Reader = Callable[[Lead], Any]


def bare(name: str) -> str:
    """The name without ``lead.`` before it."""
    return name.removeprefix("lead.")


def is_known(name: str) -> bool:
    """Is this a field that every lead has, and no custom one?"""
    return bare(name) in KNOWN


@lru_cache(maxsize=4_096)
def reader_of(name: str) -> Reader:
    """Reads a field by name: ``score``, ``lead.status``, ``custom_fields.budget``, or a custom field's bare name."""
    name = bare(name)
    if name in FIELDS or name in {"score", "owner"}:
        return attrgetter(name)
    if name == "tags":
        return lambda lead: sorted(lead.tags)
    if name == "name":
        return lambda lead: " ".join(part for part in (lead.first_name, lead.last_name) if part) or None
    for prefix in ("custom_fields.", "custom."):
        name = name.removeprefix(prefix)
    return lambda lead: lead.custom_fields.get(name)


def lead_value(lead: Lead | None, name: str) -> Any:
    """A field of a lead by name (see ``reader_of``). None when it has none."""
    return None if lead is None else reader_of(name)(lead)


def date_field(lead: Lead | None, name: str, zone: ZoneInfo) -> datetime | None:
    """A lead's field as a moment; a bare date is its midnight in ``zone``. None when it is empty or no date."""
    value = lead_value(lead, name)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        moment = (moment.replace(tzinfo=zone) if moment.tzinfo is None else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year in YEARS else None
