"""Tasks: what people must do, and what they did."""

from __future__ import annotations

from typing import ClassVar

from services.projector.event import Event, moment
from services.projector.ops import Ops
from services.projector.views.ignored import BULK, ENGAGEMENT, ENROLLMENT, FUNNEL, LEAD, ORGANIZATION, SEQUENCE
from services.projector.views.view import Keys, View, on

_CONTENT = ("subject", "html", "text", "preheader")
_PERSONAL = ("title", "notes", "note", *_CONTENT)


class Tasks(View):
    """A document per task and draft. Title, notes, note and a draft's content are None once the lead is erased.
    ``draft``: it is approved or rejected, not completed.
    """

    name = "tasks"
    version = 2
    indexes: ClassVar[tuple[Keys, ...]] = (
        (("organization_id", 1), ("draft", 1), ("due_at", 1), ("_id", 1)),
        (("organization_id", 1), ("status", 1), ("draft", 1), ("due_at", 1), ("_id", 1)),
        (("organization_id", 1), ("assignee", 1), ("status", 1), ("draft", 1), ("due_at", 1), ("_id", 1)),
        (("organization_id", 1), ("sequence_id", 1), ("status", 1), ("draft", 1), ("due_at", 1), ("_id", 1)),
        (("lead_id", 1), ("due_at", 1)),
    )
    ignored = BULK | FUNNEL | ENROLLMENT | ENGAGEMENT | SEQUENCE | ORGANIZATION | (LEAD - {"lead.erased.v1"})

    @on("task.opened.v1")
    def opened(self, event: Event, ops: Ops) -> None:
        data = event.data
        self.new_of_subject(
            event,
            ops,
            {
                "task_id": event.subject,
                "lead_id": event.lead_id,
                "title": data.get("title"),
                "notes": data.get("notes"),
                "kind": data.get("kind", "task"),
                "draft": data.get("kind") == "email_manual",
                "network": data.get("network"),
                **{name: data.get(name) for name in _CONTENT},
                "due_at": moment(data["due_at"]),
                "assignee": data.get("assignee"),
                "status": "open",
                "outcome": None,
                "note": None,
                "enrollment_id": data.get("enrollment_id"),
                "sequence_id": data.get("sequence_id"),
                "execution": data.get("execution"),
                "step_id": data.get("step_id"),
                "opened_at": event.at,
                "closed_at": None,
                "closed_by": None,
            },
        )

    @on("task.completed.v1")
    def completed(self, event: Event, ops: Ops) -> None:
        self._closed(event, ops, "completed", event.data["outcome"], event.data.get("note"))

    @on("task.skipped.v1")
    def skipped(self, event: Event, ops: Ops) -> None:
        self._closed(event, ops, "skipped", None, event.data.get("note"))

    @on("task.withdrawn.v1")
    def withdrawn(self, event: Event, ops: Ops) -> None:
        self._closed(event, ops, "withdrawn", event.data["reason"])

    @on("task.snoozed.v1")
    def snoozed(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"due_at": moment(event.data["until"])})

    @on("task.assigned.v1")
    def assigned(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"assignee": event.data.get("assignee")})

    @on("task.draft_edited.v1")
    def draft_edited(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({name: event.data.get(name) for name in _CONTENT})

    @on("task.draft_approved.v1")
    def draft_approved(self, event: Event, ops: Ops) -> None:
        self._closed(event, ops, "approved", None)

    @on("task.draft_rejected.v1")
    def draft_rejected(self, event: Event, ops: Ops) -> None:
        self._closed(event, ops, "rejected", event.data["then"], event.data.get("reason"))

    @on("lead.erased.v1")
    def lead_erased(self, event: Event, ops: Ops) -> None:
        ops.set_where("lead_id", event.subject, dict.fromkeys(_PERSONAL))

    def _closed(self, event: Event, ops: Ops, status: str, outcome: str | None, note: str | None = None) -> None:
        self.of_subject(event, ops).set(
            {
                "status": status,
                "outcome": outcome,
                "note": note,
                "closed_at": event.at,
                "closed_by": event.actor,
            }
        )
