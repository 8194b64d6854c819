"""Events as a screen may show them: terminals are recorded, and their output is pasted."""

from __future__ import annotations

from typing import Any

from services.gateway.masking import MASK, masked

#: Fields of events by which somebody signs in, were they guessed.
SECRET_FIELDS = frozenset({"password_hash", "secret_hash"})


def shown(event: dict[str, Any]) -> dict[str, Any]:
    """A CloudEvent whose data holds no hash of a password or key, and no secret of a webhook."""
    data = event.get("data")
    if not isinstance(data, dict):
        return event
    hidden: dict[str, Any] = {name: MASK for name in SECRET_FIELDS & data.keys() if data[name] is not None}
    definition = data.get("definition")
    if isinstance(definition, dict):
        hidden["definition"] = masked(definition)
    return {**event, "data": {**data, **hidden}} if hidden else event
