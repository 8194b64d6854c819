"""Sequences with their approval life, and their frozen versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from services.projector.event import Event, moment
from services.projector.ops import Derivation, Document, FirstOf, Ops
from services.projector.views.ignored import BULK, ENGAGEMENT, ENROLLMENT, FUNNEL, LEAD, ORGANIZATION, SEQUENCE, TASK
from services.projector.views.plain import plain
from services.projector.views.view import Keys, View, on
from shared.events.outline import count_steps, estimated_minutes, sequence_type

#: What a list shows of a definition: the running one, else the draft.
_SHOWN = ("name", "description", "category", "audience", "owner", "ai", "settings", "trigger")
#: What is worked out of a definition, kept beside each.
_OUTLINE = ("steps_count", "type", "estimated_minutes")
_DERIVED: dict[str, Derivation] = {
    "status": FirstOf(("life", "draft_status")),
    "definition": FirstOf(("draft", "published")),
    **{field: FirstOf((f"published_{field}", f"draft_{field}")) for field in _OUTLINE},
    **{field: FirstOf((f"published.{field}", f"draft.{field}")) for field in _SHOWN},
}


class Sequences(View):
    """A document per sequence. ``status`` is its life once published, the draft's before; ``definition`` the draft
    if there is one, else the running one. ``creator`` is ``ai`` where its first draft was suggested by a model.
    """

    name = "sequences"
    version = 3
    indexes: ClassVar[tuple[Keys, ...]] = (
        (("organization_id", 1), ("created_at", -1), ("_id", 1)),
        (("organization_id", 1), ("updated_at", -1), ("_id", 1)),
        (("organization_id", 1), ("name", 1), ("_id", 1)),
        (("organization_id", 1), ("status", 1), ("created_at", -1)),
        (("organization_id", 1), ("status", 1), ("_id", 1)),
        (("organization_id", 1), ("category", 1), ("created_at", -1)),
        (("organization_id", 1), ("type", 1), ("created_at", -1)),
        (("organization_id", 1), ("creator", 1), ("created_at", -1)),
        (("organization_id", 1), ("draft_status", 1), ("created_at", -1)),
    )
    ignored = BULK | FUNNEL | LEAD | ENROLLMENT | ENGAGEMENT | TASK | ORGANIZATION

    @on("sequence.drafted.v1")
    def drafted(self, event: Event, ops: Ops) -> None:
        document = self._drafted(event, ops)
        document.set(
            {
                "sequence_id": event.subject,
                "life": None,
                "version": None,
                "versions": [],
                "published": None,
                **_outline("published", None),
                "deleted": None,
                "funnels": [],
                "creator": "ai" if ((event.data["definition"].get("ai") or {}).get("suggested")) else "person",
                "copied_from": event.data.get("copied_from"),
                "created_at": event.at,
                "created_by": event.actor,
            }
        )

    @on("sequence.edited.v1")
    def edited(self, event: Event, ops: Ops) -> None:
        self._drafted(event, ops)

    @on("sequence.submitted.v1")
    def submitted(self, event: Event, ops: Ops) -> None:
        self._changed(event, ops, {"draft_status": "pending"})

    @on("sequence.approved.v1")
    def approved(self, event: Event, ops: Ops) -> None:
        self._changed(event, ops, {"draft_status": "approved", "feedback": None})

    @on("sequence.rejected.v1")
    def rejected(self, event: Event, ops: Ops) -> None:
        self._changed(event, ops, {"draft_status": "rejected", "feedback": event.data["feedback"]})

    @on("sequence.published.v1")
    def published(self, event: Event, ops: Ops) -> None:
        definition = plain(event.data["definition"])
        fields = {
            "life": "active",
            "draft": None,
            **_outline("draft", None),
            "draft_status": "approved",
            "has_draft": False,
            "published": definition,
            **_outline("published", definition),
            "version": event.data["version"],
        }
        document = self._changed(event, ops, fields)
        document.add_to_set("funnels", definition.get("trigger", {}).get("funnels") or ())
        document.add_to_set("versions", [{"version": event.data["version"], "published_at": event.at}])

    @on("sequence.assigned_to_funnels.v1")
    def assigned(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).add_to_set("funnels", event.data["funnel_ids"])

    @on("sequence.unassigned_from_funnels.v1")
    def unassigned(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).remove_from_set("funnels", event.data["funnel_ids"])

    @on("sequence.paused.v1")
    def paused(self, event: Event, ops: Ops) -> None:
        self._changed(event, ops, {"life": "paused"})

    @on("sequence.resumed.v1")
    def resumed(self, event: Event, ops: Ops) -> None:
        self._changed(event, ops, {"life": "active"})

    @on("sequence.archived.v1")
    def archived(self, event: Event, ops: Ops) -> None:
        self._changed(event, ops, {"life": "archived"})

    @on("sequence.variant_won.v1")
    def variant_won(self, event: Event, ops: Ops) -> None:
        data = event.data
        winner = {name: data[name] for name in ("variant", "measure", "probability", "counts", "contents", "used")}
        self._changed(event, ops, {f"winners.{data['step_id']}": {**winner, "at": event.at}})

    @on("sequence.deleted.v1")
    def deleted(self, event: Event, ops: Ops) -> None:
        self._changed(event, ops, {"life": "archived", "deleted": event.data["enrollments"]})

    @on("sequence.restored.v1")
    def restored(self, event: Event, ops: Ops) -> None:
        again = {"life": "paused"} if event.data["to"] == "paused" else {"life": None, "draft_status": "draft"}
        self._changed(event, ops, {"deleted": None, **again})

    @on("sequence.braked.v1")
    def braked(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"braked": {"at": moment(event.data["at"]), "why": event.data["why"]}})

    @on("sequence.released.v1")
    def released(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"braked": None})

    def _drafted(self, event: Event, ops: Ops) -> Document:
        definition = plain(event.data["definition"])
        fields = {
            "draft": definition,
            **_outline("draft", definition),
            "draft_status": "draft",
            "has_draft": True,
            "feedback": None,
        }
        return self._changed(event, ops, fields)

    def _changed(self, event: Event, ops: Ops, fields: Mapping[str, Any]) -> Document:
        document = self.of_subject(event, ops)
        document.set(fields)
        document.derive(_DERIVED)
        return document


class SequenceVersions(View):
    """A document per published version; its id is ``<sequence_id>-<version>``. It never changes."""

    name = "sequence_versions"
    version = 1
    indexes: ClassVar[tuple[Keys, ...]] = ((("sequence_id", 1), ("version", -1)),)
    ignored = (
        BULK | FUNNEL | LEAD | ENROLLMENT | ENGAGEMENT | TASK | ORGANIZATION | (SEQUENCE - {"sequence.published.v1"})
    )

    @on("sequence.published.v1")
    def published(self, event: Event, ops: Ops) -> None:
        version = event.data["version"]
        ops.document(event, f"{event.subject}-{version}").set(
            {
                "sequence_id": event.subject,
                "version": version,
                "definition": plain(event.data["definition"]),
                "published_at": event.at,
                "published_by": event.actor,
            }
        )


def _outline(prefix: str, definition: Mapping[str, Any] | None) -> dict[str, Any]:
    """Fields for what can be said of a definition at a glance; None without one."""
    if definition is None:
        return dict.fromkeys(f"{prefix}_{field}" for field in _OUTLINE)
    steps = definition["steps"]
    figures = (count_steps(steps), sequence_type(steps), estimated_minutes(steps))
    return {f"{prefix}_{field}": figure for field, figure in zip(_OUTLINE, figures, strict=True)}
