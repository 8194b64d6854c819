"""Bulks with their progress, and the targets that were refused."""

from __future__ import annotations

from typing import ClassVar

from services.projector.event import Event
from services.projector.ops import Ops
from services.projector.views.ignored import BULK, ENGAGEMENT, ENROLLMENT, FUNNEL, LEAD, ORGANIZATION, SEQUENCE, TASK
from services.projector.views.plain import plain, plain_fields
from services.projector.views.view import Keys, View, on

_OTHERS = FUNNEL | LEAD | ENROLLMENT | ENGAGEMENT | TASK | SEQUENCE | ORGANIZATION


class Bulks(View):
    """A document per bulk. ``reasons`` counts refusals by code, ``stays`` the done of which something cannot be taken
    back. ``filter`` is how its targets were chosen, ``inside``
    the sequence whose enrollments it is for, ``undoes`` the bulk whose targets it takes; none for named ones."""

    name = "bulks"
    version = 3
    indexes: ClassVar[tuple[Keys, ...]] = (
        (("organization_id", 1), ("ordered_at", -1), ("_id", 1)),
        (("organization_id", 1), ("status", 1), ("ordered_at", -1)),
        (("organization_id", 1), ("kind", 1), ("ordered_at", -1)),
    )
    ignored = _OTHERS

    @on("bulk.ordered.v1")
    def ordered(self, event: Event, ops: Ops) -> None:
        self.new_of_subject(
            event,
            ops,
            {
                "kind": event.data["kind"],
                "order": plain(event.data.get("order") or {}),
                "filter": plain(event.data.get("filter")),
                "inside": event.data.get("inside"),
                "undoes": event.data.get("source"),
                "status": "gathering",
                "count": 0,
                "handled": 0,
                "done": 0,
                "unchanged": 0,
                "refused": 0,
                "stays": 0,
                "reasons": {},
                "undone_by": None,
                "ordered_at": event.at,
                "ordered_by": event.actor,
                "finished_at": None,
            },
        )

    @on("bulk.targets_named.v1")
    def targets_named(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).inc("count", len(event.data["targets"]))

    @on("bulk.begun.v1")
    def begun(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"status": "running", "count": event.data["count"]})

    @on("bulk.advanced.v1")
    def advanced(self, event: Event, ops: Ops) -> None:
        data = event.data
        document = self.of_subject(event, ops)
        document.set({"handled": data["handled"]})
        document.inc("done", data["done"])
        document.inc("unchanged", data["unchanged"])
        refusals = data.get("refusals") or ()
        if refusals:
            document.inc("refused", len(refusals))
        for refusal in refusals:
            document.inc(f"reasons.{refusal['code']}")
        if stays := data.get("stays"):
            document.inc("stays", len(stays))

    @on("bulk.finished.v1")
    def finished(self, event: Event, ops: Ops) -> None:
        data = event.data
        self.of_subject(event, ops).set(
            {
                "status": "finished",
                "finished_at": event.at,
                **{name: data[name] for name in ("done", "unchanged", "refused")},
                "reasons": plain_fields(data.get("reasons")),
            }
        )

    @on("bulk.cancelled.v1")
    def cancelled(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"status": "cancelled", "finished_at": event.at})

    @on("bulk.undone.v1")
    def undone(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"undone_by": event.data["undo_id"]})


class BulkRefusals(View):
    """A document per target that was refused, or of which something stays; ``number`` counts them within a bulk."""

    name = "bulk_refusals"
    version = 2
    indexes: ClassVar[tuple[Keys, ...]] = ((("organization_id", 1), ("bulk_id", 1), ("number", 1), ("_id", 1)),)
    ignored = _OTHERS | (BULK - {"bulk.advanced.v1"})

    @on("bulk.advanced.v1")
    def advanced(self, event: Event, ops: Ops) -> None:
        told = [*(event.data.get("refusals") or ()), *(event.data.get("stays") or ())]
        for index, refusal in enumerate(told):
            ops.new_document(
                event,
                f"{event.subject}-{event.position}-{index}",
                {
                    "bulk_id": event.subject,
                    "number": event.data["handled"] * 1_000 + index,
                    "target": refusal["target"],
                    "code": refusal["code"],
                    "detail": refusal["detail"],
                },
            )
