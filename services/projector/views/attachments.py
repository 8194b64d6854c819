"""Attachments: files that messages may carry. Their bytes stand elsewhere."""

from __future__ import annotations

from typing import ClassVar

from services.projector.event import Event
from services.projector.ops import Ops
from services.projector.views.ignored import EVERYTHING
from services.projector.views.view import Keys, View, on

_HANDLED = frozenset({"organization.attachment_added.v1", "organization.attachment_removed.v1"})


class Attachments(View):
    """A document per attachment; its id is the attachment's. One that was removed is ``removed``, so that what is
    still sent can still be shown."""

    name = "attachments"
    version = 1
    indexes: ClassVar[tuple[Keys, ...]] = (
        (("organization_id", 1), ("removed", 1), ("added_at", 1), ("_id", 1)),
        (("organization_id", 1), ("removed", 1), ("name", 1), ("_id", 1)),
    )
    ignored = EVERYTHING - _HANDLED

    @on("organization.attachment_added.v1")
    def added(self, event: Event, ops: Ops) -> None:
        fields = {name: event.data["file"][name] for name in ("name", "content_type", "size", "sha256")}
        ops.document(event, event.data["attachment_id"]).set(
            {**fields, "added_at": event.at, "added_by": event.actor, "removed": False}
        )

    @on("organization.attachment_removed.v1")
    def removed(self, event: Event, ops: Ops) -> None:
        ops.document(event, event.data["attachment_id"]).set({"removed": True})
