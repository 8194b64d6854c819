"""What a view may ask of its documents: a small language, merged in memory to one update per document.

Views speak it; ``mongo_writes`` alone translates it for MongoDB, and ``memory`` carries it out on plain dicts. Orders
to one document take effect in the order given, whatever the batch they come in. Where two of them cannot be merged
(MongoDB refuses two changes of one path in one update), the later ones go to the document's next stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.projector.event import Event

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Union:
    """The sorted union of the arrays at these paths."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """The texts at these paths with a space between; None when all are missing or empty."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FirstOf:
    """The first value at these paths that is neither missing nor None; None when there is none."""

    paths: tuple[str, ...]


Derivation = Union | Join | FirstOf


class Stage:
    """Changes of one document that fit into one update: by path, and no path above or below another."""

    __slots__ = (
        "add",
        "high",
        "inc",
        "low",
        "new",
        "on_insert",
        "parents",
        "paths",
        "remove",
        "removed",
        "set",
        "unset",
    )

    def __init__(self) -> None:
        self.set: dict[str, Any] = {}
        self.on_insert: dict[str, Any] = {}
        self.inc: dict[str, int] = {}
        self.high: dict[str, Any] = {}
        self.low: dict[str, Any] = {}
        self.add: dict[str, list[Any]] = {}
        self.removed: dict[str, list[Any]] = {}
        self.unset: dict[str, None] = {}
        self.new = False  # it makes the document, which cannot exist yet
        self.remove = False
        self.paths: dict[str, dict[str, Any]] = {}  # every path written -> the operator's dict that holds it
        self.parents: set[str] = set()  # every path above one that is written

    def change(self, document: dict[str, Any]) -> None:
        """Carry the changes out on this document, which holds the stage's own values afterwards."""
        for path, value in self.set.items():
            holder, name = _holder(document, path)
            holder[name] = value
        for path, by in self.inc.items():
            holder, name = _holder(document, path)
            holder[name] = holder.get(name, 0) + by
        for bounds, better in ((self.high, max), (self.low, min)):
            for path, value in bounds.items():
                holder, name = _holder(document, path)
                holder[name] = value if holder.get(name) is None else better(holder[name], value)
        for path, values in self.add.items():
            holder, name = _holder(document, path)
            array = holder.setdefault(name, [])
            array.extend(value for value in values if value not in array)
        for path, values in self.removed.items():
            holder, name = _holder(document, path)
            if name in holder:
                holder[name] = [value for value in holder[name] if value not in values]
        for path in self.unset:
            holder, name = _holder(document, path)
            holder.pop(name, None)


class Document:
    """Orders to one document."""

    __slots__ = ("derived", "stages")

    def __init__(self) -> None:
        self.stages: list[Stage] = [Stage()]
        self.derived: dict[str, Derivation] = {}

    def set(self, fields: Mapping[str, Any]) -> None:
        """Put values at paths. The values are handed over: the caller does not touch them again."""
        for path, value in fields.items():
            stage = self.stages[-1]
            holder = stage.paths.get(path)
            if holder is stage.set:
                holder[path] = value
                continue
            if holder is None and "." not in path and path not in stage.parents and not stage.remove:
                stage.set[path] = value  # the common case, short of what the rest does for it
                stage.paths[path] = stage.set
                continue
            if holder is not None:
                del holder[path], stage.paths[path]
            elif path in stage.parents:
                _drop_below(stage, path)
            elif (inner := _inside(stage, path)) is not None:
                inner[0][inner[1]] = value
                continue
            stage = self._open(path)
            stage.set[path] = value
            _note(stage, path, stage.set)

    def set_on_insert(self, fields: Mapping[str, Any]) -> None:
        """Put values at top-level fields if this makes the document."""
        stage = self.stages[0]
        for path, value in fields.items():
            if path not in stage.paths and path not in stage.parents:
                stage.on_insert[path] = value
                _note(stage, path, stage.on_insert)

    def inc(self, path: str, by: int = 1) -> None:
        """Add to a whole number; a missing one counts as 0."""
        stage = self.stages[-1]
        holder = stage.paths.get(path)
        if holder is stage.inc:
            holder[path] += by
        elif holder is stage.set:
            holder[path] = (holder[path] or 0) + by
        elif holder is None and (inner := _inside(stage, path)) is not None:
            inner[0][inner[1]] = (inner[0].get(inner[1]) or 0) + by
        else:
            stage = self._open(path)
            stage.inc[path] = by
            _note(stage, path, stage.inc)

    def max(self, path: str, value: datetime | int) -> None:
        """Raise a value to this one; a missing one becomes it."""
        self._bound(path, value, "high")

    def min(self, path: str, value: datetime | int) -> None:
        """Lower a value to this one; a missing one becomes it."""
        self._bound(path, value, "low")

    def add_to_set(self, path: str, values: Sequence[Any]) -> None:
        """Append those that the array does not hold."""
        self._members(path, values, "add")

    def remove_from_set(self, path: str, values: Sequence[Any]) -> None:
        """Take these out of the array."""
        self._members(path, values, "removed")

    def unset(self, path: str) -> None:
        """Remove a path."""
        stage = self.stages[-1]
        holder = stage.paths.pop(path, None)
        if holder is not None:
            del holder[path]
        elif path in stage.parents:
            _drop_below(stage, path)
        elif (inner := _inside(stage, path)) is not None:
            inner[0].pop(inner[1], None)
            return
        stage = self._open(path)
        stage.unset[path] = None
        _note(stage, path, stage.unset)

    def derive(self, fields: Mapping[str, Derivation]) -> None:
        """Compute top-level fields from the document as it is after all of the batch's changes."""
        self.derived.update(fields)

    def _bound(self, path: str, value: Any, name: str) -> None:
        stage = self.stages[-1]
        holder = stage.paths.get(path)
        known: Any = _MISSING
        if holder is stage.set or holder is getattr(stage, name):
            known = holder
            key = path
        elif holder is None and (inner := _inside(stage, path)) is not None:
            known, key = inner
        if known is not _MISSING:
            old = known.get(key)
            if old is None or (value > old if name == "high" else value < old):
                known[key] = value
            return
        stage = self._open(path)
        getattr(stage, name)[path] = value
        _note(stage, path, getattr(stage, name))

    def _members(self, path: str, values: Sequence[Any], name: str) -> None:
        if not values:
            return
        stage = self.stages[-1]
        holder = stage.paths.get(path)
        array: list[Any] | None = None
        if holder is stage.set:
            array = stage.set[path] = list(stage.set[path] or [])
        elif holder is None and (inner := _inside(stage, path)) is not None:
            array = inner[0][inner[1]] = list(inner[0].get(inner[1]) or [])
        if array is not None:
            if name == "add":
                array.extend(value for n, value in enumerate(values) if value not in array and value not in values[:n])
            else:
                array[:] = [value for value in array if value not in values]
        elif holder is getattr(stage, name):
            members = getattr(stage, name)[path]
            members.extend(value for value in values if value not in members)
        else:
            stage = self._open(path)
            getattr(stage, name)[path] = (
                list(dict.fromkeys(values)) if all(isinstance(v, str) for v in values) else list(values)
            )
            _note(stage, path, getattr(stage, name))

    def _open(self, path: str) -> Stage:
        """The stage that can take one more change, at ``path``: the last one, or a new one after it."""
        stage = self.stages[-1]
        if (
            stage.remove
            or path in stage.paths
            or path in stage.parents
            or any(above in stage.paths for above in above_of(path))
        ):
            stage = Stage()
            self.stages.append(stage)
        return stage


class Ops:
    """Orders to the documents of one view, from one batch of one partition."""

    __slots__ = ("documents", "wheres")

    def __init__(self) -> None:
        self.documents: dict[Any, Document] = {}
        self.wheres: list[tuple[str, Any, dict[str, Any]]] = []

    def document(self, event: Event, document_id: str) -> Document:
        """The document with this id, made if it is missing; every one knows organization, partition, position and
        ``updated_at``.
        """
        document = self.documents.get(document_id)
        if document is None:
            document = self.documents[document_id] = Document()
            document.set({"position": event.position, "updated_at": event.at})
            document.set_on_insert({"organization_id": event.organization_id, "partition": event.partition})
        else:
            document.set({"position": event.position, "updated_at": event.at})
        return document

    def new(self, document_id: int | str, fields: dict[str, Any]) -> Document:
        """A document that cannot exist yet, with these values at its top; what follows in the batch is made part of it.
        Where one exists after all, the view is at fault and is set aside.
        """
        document = self.documents.get(document_id)
        if document is None:
            document = self.documents[document_id] = Document()
        else:
            document.stages.append(Stage())
        stage = document.stages[-1]
        stage.new, stage.set, stage.paths = True, fields, dict.fromkeys(fields, fields)
        return document

    def new_document(self, event: Event, document_id: str, fields: Mapping[str, Any]) -> Document:
        """The same, with what every document that ``document`` makes knows."""
        return self.new(
            document_id,
            {
                "organization_id": event.organization_id,
                "partition": event.partition,
                "position": event.position,
                "updated_at": event.at,
                **fields,
            },
        )

    def delete(self, document_id: int | str) -> None:
        """Remove a document; nothing happens when there is none."""
        document = self.documents.setdefault(document_id, Document())
        stage = Stage()
        stage.remove = True
        document.stages.append(stage)
        document.derived.clear()

    def set_where(self, field: str, value: Any, fields: dict[str, Any]) -> None:
        """Put values into all documents of the view whose ``field`` equals ``value``, after all else of the batch.

        Made for erasure: events after it carry no personal values, so being last changes nothing.
        """
        self.wheres.append((field, value, fields))

    def __bool__(self) -> bool:
        return bool(self.documents or self.wheres)


def above_of(path: str) -> Iterator[str]:
    """Every path above this one, the nearest last: ``a``, ``a.b`` of ``a.b.c``."""
    end = path.find(".")
    while end != -1:
        yield path[:end]
        end = path.find(".", end + 1)


def _holder(document: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The dict in ``document``, made where it is missing, that holds the last name of ``path``."""
    if "." not in path:
        return document, path
    *above, name = path.split(".")
    for step in above:
        document = document.setdefault(step, {})
    return document, name


def _note(stage: Stage, path: str, holder: dict[str, Any]) -> None:
    stage.paths[path] = holder
    if "." in path:
        stage.parents.update(above_of(path))


def _inside(stage: Stage, path: str) -> tuple[dict[str, Any], str] | None:
    """The dict, already part of this stage as a value set above ``path``, that holds its last name."""
    if "." not in path or not stage.set:
        return None
    for above in above_of(path):
        if stage.paths.get(above) is stage.set:
            value = stage.set[above]
            names = path[len(above) + 1 :].split(".")
            for name in names[:-1]:
                if not isinstance(value, dict):
                    return None
                value = value.setdefault(name, {})
            return (value, names[-1]) if isinstance(value, dict) else None
    return None


def _drop_below(stage: Stage, path: str) -> None:
    """Forget changes below a path that is replaced as a whole."""
    below = path + "."
    for other in [other for other in stage.paths if other.startswith(below)]:
        del stage.paths.pop(other)[other]
    stage.parents = {above for other in stage.paths for above in above_of(other)}
