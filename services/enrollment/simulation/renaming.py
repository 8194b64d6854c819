"""The same value under other ids: states and messages of one lead become those of its twin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any
from uuid import UUID

from pydantic import BaseModel

UUID_CHARACTERS = 36


class Renaming:
    """Ids and what they become. Whatever holds none of them is given back as it is, not copied."""

    def __init__(self, ids: Mapping[UUID, UUID]) -> None:
        self._ids = dict(ids)
        self._texts = {str(old): str(new) for old, new in ids.items()}

    def add(self, old: UUID, new: UUID) -> None:
        self._ids[old] = new
        self._texts[str(old)] = str(new)

    def __contains__(self, aggregate_id: object) -> bool:
        return aggregate_id in self._ids

    def of(self, value: Any) -> Any:
        """The value with every id renamed, in texts such as ``task:<id>`` too."""
        match value:
            case UUID():
                return self._ids.get(value, value)
            case str():
                return self._text(value)
            case Mapping():
                renamed = {self.of(key): self.of(each) for key, each in value.items()}
                return renamed if renamed != value else value
            case tuple():
                return self._tuple(value)
            case list() | frozenset() | set():
                each = [self.of(one) for one in value]
                return type(value)(each) if each != list(value) else value
            case BaseModel():
                changes = self._changes({name: getattr(value, name) for name in type(value).model_fields})
                return value.model_copy(update=changes) if changes else value
        if is_dataclass(value) and not isinstance(value, type):
            changes = self._changes({field.name: getattr(value, field.name) for field in fields(value)})
            return replace(value, **changes) if changes else value
        return value

    def _changes(self, values: Mapping[str, Any]) -> dict[str, Any]:
        renamed = {name: self.of(value) for name, value in values.items() if value is not None}
        return {name: value for name, value in renamed.items() if value is not values[name]}

    def _tuple(self, value: tuple[Any, ...]) -> Any:
        each = [self.of(one) for one in value]
        if all(new is old for new, old in zip(each, value, strict=True)):
            return value
        return type(value)(*each) if hasattr(value, "_fields") else tuple(each)

    def _text(self, text: str) -> str:
        if len(text) < UUID_CHARACTERS or "-" not in text:
            return text
        for old, new in self._texts.items():
            if old in text:
                text = text.replace(old, new)
        return text
