"""Leads as rows of a CSV file, in the columns that an import reads: what was exported can be imported.

A cell that a spreadsheet would take for a formula gets an apostrophe in front; an import takes it away again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from shared.persistence.field_names import original_fields

CHANNELS = ("email", "sms", "whatsapp", "open_tracking")
_FIELDS = (
    "external_id",
    "email",
    "phone",
    "first_name",
    "last_name",
    "company",
    "title",
    "timezone",
    "locale",
    "score",
    "source",
    "status",
    "temperature",
)
COLUMNS = (*_FIELDS, "tags", *(f"consent_{channel}" for channel in CHANNELS), "custom_fields")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def guarded(cell: str) -> str:
    """The cell as it may stand in a file that a spreadsheet opens."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def unguarded(cell: str) -> str:
    """The cell as it was before ``guarded``."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_STARTS) else cell


def row_of(document: Mapping[str, Any]) -> list[str]:
    """A document of the leads view as cells, in the order of ``COLUMNS``."""
    consent = document.get("consent") or {}
    custom = original_fields(document.get("custom_fields"))
    cells = [_text(document.get(name)) for name in _FIELDS]
    cells.append(";".join(document.get("tags") or ()))
    cells += ["" if channel not in consent else "yes" if consent[channel] else "no" for channel in CHANNELS]
    cells.append(orjson.dumps(custom, default=str, option=orjson.OPT_SORT_KEYS).decode() if custom else "")
    return [guarded(cell) for cell in cells]


def lines(rows: Iterable[Iterable[str]]) -> str:
    """The rows as CSV (RFC 4180)."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)
