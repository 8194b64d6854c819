"""From a view's document to what the API shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from services.gateway import performance
from services.gateway.access import Scope
from services.gateway.activities import described
from services.gateway.lists import ids_of
from shared.events.naming import named_raw_steps
from shared.persistence.field_names import original_fields
from shared.persistence.figures import Figures
from shared.persistence.views import ViewReader

_HIDDEN = frozenset({"_id", "organization_id", "partition", "position", "search", "tokens"})


def position_of(document: Mapping[str, Any]) -> str:
    """``<partition>-<position>`` of the last event in a document."""
    return f"{int(document.get('partition') or 0):02d}-{document.get('position') or 0}"


def shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document with its id and position, without what only the views need."""
    kept = {name: value for name, value in document.items() if name not in _HIDDEN}
    return {**kept, "id": str(document["_id"]), "position": position_of(document)}


def lead(document: Mapping[str, Any]) -> dict[str, Any]:
    """A lead."""
    return {**shown(document), "custom_fields": original_fields(document.get("custom_fields"))}


async def stats_of_sequences(views: ViewReader, scope: Scope, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Figures of many sequences, with one query."""
    if not ids:
        return {}
    trees = await Figures(views).ever(
        scope.organization_id, [f"sequence:{each}" for each in ids], names=("n", "now", "reasons")
    )
    return {each: performance.of_sequence(trees[f"sequence:{each}"]) for each in ids}


async def count_inside(views: ViewReader, scope: Scope, sequence_id: UUID) -> int:
    """How many enrollments are open in a sequence, those that are still to begin among them."""
    enrollments = await views.collection("enrollments")
    condition = {"sequence_id": str(sequence_id), "status": {"$in": ["pending", "active", "paused"]}}
    return await enrollments.count_documents(scope.filter(condition))


def sequence_summary(document: Mapping[str, Any], stats: Mapping[str, Any]) -> dict[str, Any]:
    """A sequence in a list."""
    return {
        "id": document["_id"],
        "sequence_id": document["_id"],
        "name": document.get("name") or "",
        "description": document.get("description") or "",
        "category": document.get("category") or "custom",
        "audience": document.get("audience") or "",
        "type": document.get("type") or "mixed",
        "owner": document.get("owner"),
        "ai": document.get("ai"),
        "creator": document.get("creator") or "person",
        "estimated_minutes": document.get("estimated_minutes") or 0,
        "status": document.get("status") or "draft",
        "draft_status": document.get("draft_status"),
        "deleted": document.get("deleted") is not None,
        "version": document.get("version"),
        "has_draft": bool(document.get("has_draft")),
        "steps_count": document.get("steps_count") or 0,
        "braked": document.get("braked"),
        "created_at": document.get("created_at"),
        "created_by": document.get("created_by"),
        "updated_at": document.get("updated_at"),
        "stats": stats,
    }


class Names:
    """Names of sequences and their steps, looked up together."""

    def __init__(self, documents: Sequence[Mapping[str, Any]]) -> None:
        self._names = {document["_id"]: document.get("name") for document in documents}
        self._steps: dict[tuple[str, str], str] = {}
        for document in documents:
            for definition in (document.get("published"), document.get("draft")):
                self._learn(document["_id"], (definition or {}).get("steps") or [])

    @classmethod
    async def of(cls, views: ViewReader, scope: Scope, documents: Sequence[Mapping[str, Any]]) -> Names:
        """For documents with a ``sequence_id``."""
        ids = ids_of(documents, "sequence_id")
        if not ids:
            return cls([])
        sequences = await views.collection("sequences")
        wanted = scope.filter({"_id": {"$in": ids}})
        return cls(await sequences.find(wanted, {"name": 1, "published.steps": 1, "draft.steps": 1}).to_list())

    def sequence(self, sequence_id: str | None) -> str | None:
        """None when it is unknown."""
        return self._names.get(sequence_id) if sequence_id else None

    def step(self, sequence_id: str | None, step_id: str | None) -> str | None:
        """A step's name, as explanations call it; its id where no version that is looked at has it; None without a
        step."""
        if not step_id:
            return None
        return self._steps.get((sequence_id or "", step_id)) or step_id

    def _learn(self, sequence_id: str, steps: Sequence[Mapping[str, Any]]) -> None:
        for step_id, step in named_raw_steps(steps).items():
            self._steps.setdefault((sequence_id, step_id), step.name)


async def with_names(views: ViewReader, scope: Scope, found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Documents as shown, with the names of their lead, sequence and step."""
    leads = await views.names_of(each.get("lead_id") for each in found)
    names = await Names.of(views, scope, found)
    return [
        {
            **shown(each),
            "lead_name": leads.get(each.get("lead_id") or ""),
            "sequence_name": names.sequence(each.get("sequence_id")),
            "step_name": names.step(each.get("sequence_id"), each.get("step_id")),
        }
        for each in found
    ]


def enrollment(document: Mapping[str, Any], lead_name: str | None, names: Names) -> dict[str, Any]:
    """An enrollment in a list."""
    sequence_id, current = document["sequence_id"], document.get("current_step")
    waiting = document.get("waiting_for")
    following = document.get("next")
    return {
        "id": document["_id"],
        "lead_id": document["lead_id"],
        "lead_name": lead_name,
        "sequence_id": sequence_id,
        "sequence_name": names.sequence(sequence_id),
        "version": document["version"],
        "status": document["status"],
        "reason": document.get("reason"),
        "current_step": current,
        "current_step_name": names.step(sequence_id, current),
        "waiting_for": waiting,
        "next": following,
        "counts": document.get("counts") or {},
        "started_at": document.get("started_at"),
        "ended_at": document.get("ended_at"),
        "updated_at": document.get("updated_at"),
        "position": position_of(document),
    }


def executions(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The execution log, in order."""
    steps: Mapping[str, Mapping[str, Any]] = document.get("steps") or {}
    return [
        {"status": None, "step_id": None, **steps[number], "execution": int(number)}
        for number in sorted(steps, key=int)
    ]


def activity(document: Mapping[str, Any], lead_name: str | None, names: Names) -> dict[str, Any]:
    """An entry of the timeline, which is the feed when read by organization."""
    sequence_id, step_id = document.get("sequence_id"), document.get("step_id")
    detail = {**(document.get("detail") or {}), **(document.get("personal") or {})}
    for name in ("channel", "execution"):
        if document.get(name) is not None:
            detail.setdefault(name, document[name])
    return {
        "id": str(document["_id"]),
        "at": document["at"],
        "kind": document["kind"],
        **described(document),
        "lead_id": document.get("lead_id"),
        "lead_name": lead_name,
        "enrollment_id": document.get("enrollment_id"),
        "sequence_id": sequence_id,
        "sequence_name": names.sequence(sequence_id),
        "step_id": step_id,
        "step_name": names.step(sequence_id, step_id),
        "actor": document.get("actor"),
        "detail": detail,
        "position": document["position"],
    }
