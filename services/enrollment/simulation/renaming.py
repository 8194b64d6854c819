"""The same value under other ids: states and messages of one lead become those of its twin."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel

from services.enrollment.domain import frozen

UUID_CHARACTERS = 36

T = TypeVar("T")


class Renaming:
    """Ids and what they become. Whatever holds none of them is given back as it is, not copied."""

    def __init__(self, ids: Mapping[UUID, UUID]) -> None:
        self._ids = dict(ids)
        self._texts: dict[str, str] = {}

    def add(self, old: UUID, new: UUID) -> None:
        self._ids[old] = new
        self._texts.clear()

    def __contains__(self, aggregate_id: object) -> bool:
        return aggregate_id in self._ids

    def of(self, value: T) -> T:
        """The value with every id renamed, in texts such as ``task:<id>`` too."""
        cls = type(value)
        way = _ways.get(cls) or _ways.setdefault(cls, _way_of(cls))
        renamed: T = way(self, value)
        return renamed

    def id_of(self, value: UUID) -> UUID:
        return self._ids.get(value, value)

    def text_of(self, text: str) -> str:
        if len(text) < UUID_CHARACTERS or "-" not in text:
            return text
        if not self._texts:
            self._texts = {str(old): str(new) for old, new in self._ids.items()}
        for old, new in self._texts.items():
            if old in text:
                text = text.replace(old, new)
        return text


#: Renames values of one class.
_Way = Callable[[Renaming, Any], Any]
#: A twin is made for every part of a crowd, so what its class says about a value is looked at only once.
_ways: dict[type[Any], _Way] = {}


def _way_of(cls: type[Any]) -> _Way:
    if issubclass(cls, UUID):
        return Renaming.id_of
    if issubclass(cls, str):
        return Renaming.text_of
    if issubclass(cls, Mapping):
        return _mapping
    if issubclass(cls, tuple):
        return _named_tuple if hasattr(cls, "_fields") else _tuple
    if issubclass(cls, list | frozenset | set):
        return _collection
    if issubclass(cls, BaseModel):
        return _model_way(tuple(cls.model_fields))
    if dataclasses.is_dataclass(cls):
        return _dataclass_way(cls)
    return lambda _renaming, value: value


def _mapping(renaming: Renaming, value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    of, renamed, is_same = renaming.of, {}, True
    for key, each in value.items():
        new_key, new = of(key), of(each)
        is_same = is_same and new_key is key and new is each
        renamed[new_key] = new
    return value if is_same else renamed


def _tuple(renaming: Renaming, value: tuple[Any, ...]) -> tuple[Any, ...]:
    each = tuple(renaming.of(one) for one in value)
    return value if _same(each, value) else each


def _named_tuple(renaming: Renaming, value: Any) -> Any:
    each = [renaming.of(one) for one in value]
    return value if _same(each, value) else type(value)(*each)


def _collection(renaming: Renaming, value: Any) -> Any:
    members = list(value)
    each = [renaming.of(one) for one in members]
    return value if _same(each, members) else type(value)(each)


def _same(new: Any, old: Any) -> bool:
    return all(one is other for one, other in zip(new, old, strict=True))


def _model_way(names: tuple[str, ...]) -> _Way:
    def renamed(renaming: Renaming, value: BaseModel) -> BaseModel:
        changes = _changes(renaming, names, map(value.__dict__.__getitem__, names))
        return value.model_copy(update=changes) if changes else value

    return renamed


def _dataclass_way(cls: type[Any]) -> _Way:
    names = tuple(each.name for each in dataclasses.fields(cls))
    read = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),) if names else ()
    is_plain = "__slots__" not in cls.__dict__ and not hasattr(cls, "__post_init__")
    replace: Callable[..., Any] = frozen.replace if is_plain else dataclasses.replace

    def renamed(renaming: Renaming, value: Any) -> Any:
        changes = _changes(renaming, names, read(value))
        return replace(value, **changes) if changes else value

    return renamed


def _changes(renaming: Renaming, names: Any, values: Any) -> dict[str, Any]:
    of, changes = renaming.of, {}
    for name, value in zip(names, values, strict=True):
        if value is not None and (new := of(value)) is not value:
            changes[name] = new
    return changes
