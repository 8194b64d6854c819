"""Fields that people name and fill as they like (custom fields, metadata): what JSON readers take and no writer writes
is refused.
"""

from __future__ import annotations

from typing import Any, TypeVar

#: Levels that such fields may nest; JSON writers and MongoDB stop at some hundred.
DEEPEST = 50

T = TypeVar("T", dict[str, Any], dict[str, Any] | None)


def storable(fields: T) -> T:
    """The same fields. Raises ValueError for too much depth, lone surrogates and numbers beyond 64 bits."""
    level: list[Any] = [fields]
    for _ in range(DEEPEST + 2):
        inner: list[Any] = []
        value: Any
        for value in level:
            if isinstance(value, str) and not value.isascii():
                _must_be_unicode(value)
            elif isinstance(value, int) and not -(2**63) <= value < 2**64:
                raise ValueError("numbers must fit in 64 bits")
            elif isinstance(value, dict):
                inner += [*value, *value.values()]
            elif isinstance(value, list):
                inner += value
        level = inner
    if level:
        raise ValueError(f"must not nest deeper than {DEEPEST} levels")
    return fields


def _must_be_unicode(text: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("texts must not have lone surrogates")
