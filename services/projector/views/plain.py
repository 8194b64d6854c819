"""Values and names from outside, made fit for storage: MongoDB refuses whole numbers beyond 64 bits, zero bytes in
names and deep nesting.
"""

from __future__ import annotations

from typing import Any

from shared.persistence.field_names import stored_name

DEEPEST = 90  #: MongoDB stops at 100 levels; what people nest deeper than this is kept as text
_WHOLE = range(-(2**63), 2**63)


def plain(value: Any, depth: int = 0) -> Any:
    """The value with the same content in a form that can be stored."""
    if isinstance(value, bool) or value is None or isinstance(value, str | float):
        return value
    if isinstance(value, int):
        return value if value in _WHOLE else str(value)
    if depth >= DEEPEST:
        return str(value)
    if isinstance(value, dict):
        return {str(name).replace("\0", ""): plain(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item, depth + 1) for item in value]
    return value


def plain_fields(fields: dict[str, Any] | None) -> dict[str, Any]:
    """Named values with names that can be part of a path; ``shared.persistence.field_names`` turns them back."""
    return {stored_name(name): plain(value) for name, value in (fields or {}).items()}
