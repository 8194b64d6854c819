"""Audit: who did what when. One entry for every event that a member or an API key caused; never what was said."""

from __future__ import annotations

from typing import ClassVar

from services.projector.event import Event
from services.projector.ops import Ops
from services.projector.views.ignored import EVERYTHING
from services.projector.views.plain import plain
from services.projector.views.view import Keys, View, on

#: What the engine does by itself, also in the wake of an order: the order's own event stands in the audit.
_AUTOMATIC = frozenset(
    {
        "engagement.signal_received.v1",
        "enrollment.engagement_noted.v1",
        "enrollment.step_postponed.v1",
        "enrollment.step_due.v1",
        "enrollment.step_sent.v1",
        "enrollment.step_deferred.v1",
        "enrollment.step_failed.v1",
        "enrollment.step_stop_requested.v1",
        "enrollment.step_stopped.v1",
        "enrollment.step_in_doubt.v1",
        "enrollment.step_taken.v1",
        "enrollment.step_handed_to_person.v1",
        "enrollment.step_overdue.v1",
        "enrollment.watchdog_rang.v1",
        "enrollment.note_left.v1",
        "enrollment.members_notified.v1",
        "enrollment.goal_reached.v1",
        "bulk.targets_named.v1",
        "bulk.begun.v1",
        "bulk.advanced.v1",
        "bulk.finished.v1",
        "lead.joined_sequence.v1",
        "lead.left_sequence.v1",
        "lead.matched.v1",
        "lead.not_matched.v1",
        "lead.not_enrolled.v1",
    }
)
#: Automatic too, but for a step that a person passes over: nothing else tells of the order.
_SKIPPED = "enrollment.step_skipped.v1"
#: What of a payload is shown: short, and never personal.
_SHOWN = (
    "version",
    "role",
    "active",
    "scopes",
    "sender_id",
    "member_id",
    "key_id",
    "channel",
    "reason",
    "outcome",
    "feedback",
    "before",
    "after",
    "added",
    "removed",
    "owner",
    "assignee",
    "until",
    "due_at",
    "activity_id",
    "value",
    "currency",
    "execution",
    "deed",
    "target",
    "by",
)
#: The same of an order over many: what was ordered, and how the targets were chosen.
_OF_BULK = ("kind", "order", "filter", "inside", "source")
_PEOPLE = ("member:", "api_key:")


class Audit(View):
    """A document per event, with the event's position as its id. ``changed`` names the fields that were set. A bulk
    has one for its order; what it does to each target is the bulk's deed."""

    name = "audit"
    version = 4
    indexes: ClassVar[tuple[Keys, ...]] = (
        (("organization_id", 1), ("position", -1), ("_id", 1)),
        (("organization_id", 1), ("actor", 1), ("position", -1), ("_id", 1)),
        (("organization_id", 1), ("kind", 1), ("position", -1), ("_id", 1)),
        (("organization_id", 1), ("subject", 1), ("position", -1), ("_id", 1)),
        (("organization_id", 1), ("at", -1)),
    )
    ignored = _AUTOMATIC

    def concerns(self, event: Event) -> bool:
        if event.topic == _SKIPPED and event.data["why"]["rule"] != "by_hand":
            return False
        return event.actor is not None and event.actor.startswith(_PEOPLE)

    @on(*sorted(EVERYTHING - _AUTOMATIC))
    def done(self, event: Event, ops: Ops) -> None:
        if not self.concerns(event):
            return
        data = event.data
        shown = _OF_BULK if event.kind == "bulk.ordered" else _SHOWN
        ops.new(
            event.position,
            {
                "organization_id": event.organization_id,
                "partition": event.partition,
                "position": event.position,
                "at": event.at,
                "actor": event.actor,
                "kind": event.kind,
                "subject": event.subject,
                "lead_id": event.lead_id,
                "sequence_id": event.sequence_id,
                "changed": sorted(name for name, value in data.items() if value is not None and value not in ([], {})),
                "detail": {name: plain(data[name]) for name in shown if data.get(name) is not None},
            },
        )
