"""Names that people choose (custom fields), as names of MongoDB fields and back: a dot or a leading dollar would be
read as a path or an operator.
"""

from __future__ import annotations

from typing import Any

_DOT, _DOLLAR, _EMPTY = "\uff0e", "\uff04", "\u200b"


def stored_name(name: str) -> str:
    """The name as it is stored. Zero bytes, which cannot be stored, are left out."""
    return name.replace("\0", "").replace(".", _DOT).replace("$", _DOLLAR) or _EMPTY


def original_name(name: str) -> str:
    """The name as it was given."""
    return "" if name == _EMPTY else name.replace(_DOT, ".").replace(_DOLLAR, "$")


def original_fields(fields: dict[str, Any] | None) -> dict[str, Any]:
    """Stored named values under their own names."""
    return {original_name(name): value for name, value in (fields or {}).items()}
