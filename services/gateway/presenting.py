"""Documents of the views as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.persistence.field_names import original_fields

_INTERNAL = frozenset({"_id", "organization_id", "partition", "position", "updated_at", "tokens", "search"})


def shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is internal; moments as RFC 3339 texts."""
    return {key: plain(value) for key, value in document.items() if key not in _INTERNAL}


def plain(value: Any) -> Any:
    """JSON values."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def lead(document: Mapping[str, Any]) -> dict[str, Any]:
    found = shown(document)
    found["id"] = found["lead_id"] = str(document["_id"])
    found["custom_fields"] = original_fields(document.get("custom_fields"))
    return found


def enrollment(document: Mapping[str, Any]) -> dict[str, Any]:
    """With the execution log as a list, in order of execution."""
    found = shown(document)
    found["id"] = str(document["_id"])
    found["position"] = f"{document['partition']:02d}-{document['position']}" if "position" in document else None
    found["steps"] = [
        {"execution": int(number), **plain(step)}
        for number, step in sorted((document.get("steps") or {}).items(), key=lambda item: int(item[0]))
    ]
    return found


def sequence(document: Mapping[str, Any]) -> dict[str, Any]:
    found = shown(document)
    found.pop("published", None)
    found.pop("draft", None)
    found["id"] = found["sequence_id"] = str(document["_id"])
    return found


def task(document: Mapping[str, Any]) -> dict[str, Any]:
    found = shown(document)
    found["id"] = found["task_id"] = str(document["_id"])
    return found


def happening(document: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a timeline or of the feed; personal parts stand in its detail."""
    found = shown(document)
    found["id"] = str(document["_id"])
    found["detail"] = {**(found.get("detail") or {}), **(found.pop("personal", None) or {})}
    return found


def rates(figures: Mapping[str, int]) -> dict[str, float]:
    """Fractions of what was sent, 0 when nothing was."""
    sent = figures.get("sent", 0)
    return {
        name: round(figures.get(figure, 0) / sent, 4) if sent else 0.0
        for name, figure in (
            ("open", "opened"),
            ("click", "clicked"),
            ("reply", "replied"),
            ("bounce", "bounced"),
            ("unsubscribe", "unsubscribed"),
        )
    }
