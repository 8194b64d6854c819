"""A lead's fields as a person or a program sends them: all that is wrong is said at once, field by field, before
anything is sent.
"""

from __future__ import annotations

import re
from typing import Any, get_args
from zoneinfo import ZoneInfo

from services.gateway.errors import Invalid
from shared.events.lead import ClearableField, LeadBody
from shared.identity import IdentityKind, InvalidIdentity, normalise

#: BCP 47 as far as it is used: language, script, region, variants.
_LOCALE = re.compile(r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}$")
_IDENTITIES: tuple[IdentityKind, ...] = ("external_id", "email", "phone")


def checked(body: LeadBody, prefix: str = "") -> LeadBody:
    """The same with its identities in their one spelling. ``prefix`` stands before the fields' names in the problems.

    Raises Invalid.
    """
    errors: list[dict[str, str]] = []
    spelled: dict[str, str] = {}

    def wrong(field: str, problem: str) -> None:
        errors.append({"field": f"{prefix}{field}", "problem": problem})

    for kind in _IDENTITIES:
        text = getattr(body, kind)
        if text is None:
            continue
        try:
            spelled[kind] = normalise(kind, text)
        except InvalidIdentity as error:
            wrong(kind, error.problem)
    if body.timezone is not None and not _is_zone(body.timezone):
        wrong("timezone", "must be a time zone such as Europe/Berlin")
    if body.locale is not None and not _LOCALE.match(body.locale):
        wrong("locale", "must be a locale such as de or de-CH")
    for number, tag in enumerate(body.tags or ()):
        if not tag.strip() or len(tag) > 200:
            wrong(f"tags[{number}]", "must have 1 to 200 characters")
    if errors:
        raise Invalid(
            "; ".join(f"{each['field']}: {each['problem']}" for each in errors), code="invalid", errors=errors
        )
    return body.model_copy(update=spelled)


def patched(body: LeadBody) -> dict[str, Any]:
    """A JSON merge patch as the fields of an order: what is null is cleared. Raises Invalid."""
    nulls = {name for name in body.model_fields_set if getattr(body, name) is None}
    kept = sorted(nulls & {"score", "consent"})
    if kept:
        problem = "cannot be cleared"
        errors = [{"field": name, "problem": problem} for name in kept]
        raise Invalid(f"{', '.join(kept)}: {problem}", code="invalid", errors=errors)
    spelled = checked(body)
    custom = body.custom_fields or {}
    changed: dict[str, Any] = {"custom_fields": {name: each for name, each in custom.items() if each is not None}}
    if "tags" in nulls:
        changed["tags"] = []
    return {
        "lead": spelled.model_copy(update=changed),
        "clear": [name for name in get_args(ClearableField) if name in nulls],
        "clear_custom": [name for name, value in custom.items() if value is None],
    }


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # KeyError: ZoneInfoNotFoundError
        return False
    return True
