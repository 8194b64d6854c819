"""Lists: keyset paging with opaque cursors, so that a page stays right while rows come and go, and costs the same
however deep it is.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from services.gateway.problems import Invalid

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Sort:
    """A field and a direction; ties are broken by ``_id`` in the same direction."""

    field: str
    descending: bool

    @classmethod
    def parse(cls, text: str | None, allowed: Sequence[str], default: str) -> Sort:
        """``-sent_at`` or ``name``. Raises Invalid for a field that cannot be sorted by."""
        text = text or default
        field = text.removeprefix("-")
        if field not in allowed:
            raise Invalid(
                "This list cannot be sorted so.",
                errors=[
                    {"field": "sort", "problem": f"must be one of {', '.join(sorted(allowed))}, with - for descending"}
                ],
            )
        return cls(field, text.startswith("-"))

    @property
    def keys(self) -> list[tuple[str, int]]:
        direction = -1 if self.descending else 1
        return [(self.field, direction), ("_id", direction)] if self.field != "_id" else [("_id", direction)]


def page_filter(filter_: dict[str, Any], sort: Sort, cursor: str | None) -> dict[str, Any]:
    """The filter of the page after ``cursor``. Raises Invalid for a cursor that is not one of this list's."""
    if cursor is None:
        return filter_
    value, last_id = decode_cursor(cursor, sort)
    beyond = "$lt" if sort.descending else "$gt"
    if sort.field == "_id":
        return {"$and": [filter_, {"_id": {beyond: last_id}}]}
    after: list[dict[str, Any]] = [{sort.field: value, "_id": {beyond: last_id}}]
    if value is None:
        # Null sorts before everything: ascending, all that has a value comes after it; descending, nothing does.
        if not sort.descending:
            after.append({sort.field: {"$ne": None}})
    else:
        after.append({sort.field: {beyond: value}})
        if sort.descending:
            after.append({sort.field: None})
    return {"$and": [filter_, {"$or": after}]}


def encode_cursor(document: dict[str, Any], sort: Sort) -> str:
    """Marks the place after ``document``."""
    value = document.get(sort.field)
    kind = "t" if isinstance(value, datetime) else "v"
    value = value.isoformat() if isinstance(value, datetime) else value
    body = orjson.dumps([sort.field, sort.descending, kind, value, str(document["_id"])])
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def decode_cursor(cursor: str, sort: Sort) -> tuple[Any, str]:
    """Value and id that a cursor stands for. Raises Invalid."""
    try:
        body = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        field, descending, kind, value, last_id = body
        ours = [field, descending] == [sort.field, sort.descending] and isinstance(last_id, str)
        if kind == "t":
            value = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, TypeError, binascii.Error):
        ours = False
    if not ours or isinstance(value, (dict, list)):
        problem = {"field": "cursor", "problem": "is not valid here"}
        raise Invalid("The cursor is not one of this list's.", errors=[problem])
    return value, last_id
