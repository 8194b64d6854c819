"""Funnels: which sequences take their leads, what happens when none does, and their web forms."""

from __future__ import annotations

from typing import ClassVar

from services.projector.event import Event
from services.projector.ops import Ops
from services.projector.views.ignored import BULK, ENGAGEMENT, ENROLLMENT, LEAD, ORGANIZATION, SEQUENCE, TASK
from services.projector.views.view import Keys, Partial, View, on


class Funnels(View):
    """A document per funnel; ``funnel_id`` is the word that funnels send. ``form`` is None while it is closed."""

    name = "funnels"
    version = 1
    indexes: ClassVar[tuple[Keys | Partial, ...]] = (
        (("organization_id", 1), ("name", 1), ("_id", 1)),
        (("organization_id", 1), ("funnel_id", 1)),
        (("organization_id", 1), ("sequences", 1), ("name", 1)),
        (("form.form_key", 1),),
    )
    ignored = BULK | LEAD | ENROLLMENT | ENGAGEMENT | TASK | SEQUENCE | ORGANIZATION

    @on("funnel.created.v1")
    def created(self, event: Event, ops: Ops) -> None:
        self.new_of_subject(
            event,
            ops,
            {
                "funnel_id": event.data["funnel_id"],
                "name": event.data["name"],
                "auto": True,
                "fallback": None,
                "sequences": [],
                "form": None,
                "created_at": event.at,
            },
        )

    @on("funnel.renamed.v1")
    def renamed(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"name": event.data["name"]})

    @on("funnel.switched.v1")
    def switched(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"auto": event.data["auto"]})

    @on("funnel.fallback_chosen.v1")
    def fallback_chosen(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"fallback": event.data.get("sequence_id")})

    @on("funnel.sequences_assigned.v1")
    def assigned(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).add_to_set("sequences", event.data["sequence_ids"])

    @on("funnel.sequences_unassigned.v1")
    def unassigned(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).remove_from_set("sequences", event.data["sequence_ids"])

    @on("funnel.form_opened.v1")
    def form_opened(self, event: Event, ops: Ops) -> None:
        form = {name: event.data.get(name) for name in ("form_key", "origins", "redirect_to")}
        self.of_subject(event, ops).set({"form": form})

    @on("funnel.form_closed.v1")
    def form_closed(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"form": None})
