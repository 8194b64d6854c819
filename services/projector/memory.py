"""Documents in plain dicts: carries out the same orders as MongoDB does, for tests of views and of batches."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from services.projector.ops import Derivation, FirstOf, Join, Ops, Stage, Union


class MemoryDocuments:
    """The documents of one view by id."""

    def __init__(self) -> None:
        self.documents: dict[Any, dict[str, Any]] = {}

    def carry_out(self, ops: Ops) -> None:
        """Apply the orders of one batch."""
        for document_id, document in ops.documents.items():
            for stage in document.stages:
                self._stage(document_id, stage)
            for name, how in document.derived.items():
                self.documents[document_id][name] = _derived(self.documents[document_id], how)
        for field, value, fields in ops.wheres:
            for found in self.documents.values():
                if found.get(field) == value:
                    found.update(deepcopy(fields))

    def _stage(self, document_id: Any, stage: Stage) -> None:
        if stage.remove:
            self.documents.pop(document_id, None)
            return
        if stage.new and document_id in self.documents:
            raise ValueError(f"document {document_id!r} exists")
        if not stage.new and not stage.paths:
            return
        own = deepcopy(stage)  # the orders may be carried out elsewhere too
        own.change(self.documents.setdefault(document_id, {"_id": document_id, **own.on_insert}))


def _value(document: dict[str, Any], path: str) -> Any:
    value: Any = document
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _derived(document: dict[str, Any], how: Derivation) -> Any:
    values = [_value(document, path) for path in how.paths]
    match how:
        case Union():
            return sorted({member for value in values for member in value or ()})
        case Join():
            return " ".join(value for value in values if value).strip() or None
        case FirstOf():
            return next((value for value in values if value is not None), None)
