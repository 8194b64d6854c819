"""Templates of organizations: sequences kept to start from."""

from __future__ import annotations

from typing import ClassVar

from services.projector.event import Event
from services.projector.ops import Ops
from services.projector.views.ignored import EVERYTHING
from services.projector.views.plain import plain
from services.projector.views.view import Keys, View, on

_HANDLED = frozenset({"organization.template_saved.v1", "organization.template_removed.v1"})


class Templates(View):
    """A document per template; its id is the template's."""

    name = "templates"
    version = 1
    indexes: ClassVar[tuple[Keys, ...]] = ((("organization_id", 1), ("name", 1), ("_id", 1)),)
    ignored = EVERYTHING - _HANDLED

    @on("organization.template_saved.v1")
    def saved(self, event: Event, ops: Ops) -> None:
        definition = plain(event.data["definition"])
        ops.document(event, event.data["template_id"]).set(
            {
                "name": definition["name"],
                "category": definition["category"],
                "definition": definition,
                "saved_at": event.at,
                "saved_by": event.actor,
            }
        )

    @on("organization.template_removed.v1")
    def removed(self, event: Event, ops: Ops) -> None:
        ops.delete(event.data["template_id"])
