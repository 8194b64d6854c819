"""Timeline: what happened with a lead, one entry per event worth showing; read by organization it is the activity
feed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from services.projector.event import Event
from services.projector.ops import Ops
from services.projector.views.ignored import BULK, FUNNEL, ORGANIZATION, SEQUENCE
from services.projector.views.plain import plain
from services.projector.views.view import Keys, View, on
from shared.events.lead import PERSONAL_FIELDS, PLAIN_FIELDS

#: Topic -> what of its payload is shown.
_SHOWN: dict[str, tuple[str, ...]] = {
    "lead.captured.v1": ("funnel_id", "source", "score"),
    "lead.details_merged.v1": ("funnel_id", "cleared"),
    "lead.identity_clashed.v1": ("other_lead_id", "kinds"),
    "lead.matched.v1": ("sequence_id", "version", "why"),
    "lead.not_matched.v1": ("why", "refused"),
    "lead.not_enrolled.v1": ("sequence_id", "by", "why"),
    "lead.scored.v1": ("before", "after", "why"),
    "lead.tagged.v1": ("added", "removed", "why"),
    "lead.unsubscribed.v1": ("source",),
    "lead.resubscribed.v1": ("source",),
    "lead.address_suppressed.v1": ("reason",),
    "lead.booked_meeting.v1": ("at",),
    "lead.won.v1": ("value", "currency"),
    "lead.assigned.v1": ("owner", "why"),
    "lead.call_logged.v1": ("activity_id", "at", "direction", "outcome", "duration_seconds"),
    "lead.meeting_logged.v1": ("activity_id", "at", "outcome", "duration_minutes"),
    "lead.email_logged.v1": ("activity_id", "at", "direction"),
    "lead.note_logged.v1": ("activity_id",),
    "lead.replied.v1": (),
    "lead.went_away.v1": ("returns_on",),
    "lead.erased.v1": (),
    "enrollment.started.v1": ("version", "by", "why"),
    "enrollment.activated.v1": (),
    "enrollment.start_refused.v1": ("why",),
    "enrollment.step_postponed.v1": ("plan",),
    "enrollment.advanced.v1": ("plan",),
    "enrollment.company_stop_asked.v1": ("signal", "do"),
    "enrollment.replanned.v1": ("plan", "why"),
    "enrollment.step_sent.v1": ("attempt",),
    "enrollment.step_deferred.v1": ("reason", "fault", "attempt"),
    "enrollment.step_failed.v1": ("reason", "bounce"),
    "enrollment.step_stop_requested.v1": ("reason",),
    "enrollment.step_stopped.v1": ("reason",),
    "enrollment.step_in_doubt.v1": ("reason",),
    "enrollment.step_settled.v1": ("outcome", "by"),
    "enrollment.step_skipped.v1": ("kind", "why"),
    "enrollment.step_taken.v1": ("kind", "arm", "why"),
    "enrollment.step_handed_to_person.v1": ("kind", "task_id"),
    "enrollment.step_done_by_person.v1": ("task_id", "outcome"),
    "enrollment.step_approved.v1": ("task_id",),
    "enrollment.step_overdue.v1": ("task_id", "then"),
    "enrollment.note_left.v1": (),
    "enrollment.members_notified.v1": ("to",),
    "enrollment.goal_reached.v1": ("goal",),
    "enrollment.engagement_noted.v1": ("signal", "link"),
    "enrollment.conversion_attributed.v1": ("by", "occurred_at", "variant"),
    "enrollment.paused.v1": ("reason", "why", "until"),
    "enrollment.resumed.v1": (),
    "enrollment.migration_awaited.v1": ("to_version",),
    "enrollment.migration_dropped.v1": ("to_version", "why"),
    "enrollment.migrated.v1": ("from_version", "to_version", "from_step", "to_step", "why"),
    "enrollment.completed.v1": (),
    "enrollment.exited.v1": ("reason", "why"),
    "task.opened.v1": ("kind", "due_at", "assignee"),
    "task.completed.v1": ("outcome",),
    "task.skipped.v1": (),
    "task.snoozed.v1": ("until",),
    "task.assigned.v1": ("assignee",),
    "task.draft_edited.v1": (),
    "task.withdrawn.v1": ("reason",),
    "task.draft_approved.v1": (),
    "task.draft_rejected.v1": ("then",),
}
#: Topic -> what of it is personal and is cleared when the lead is erased.
_PERSONAL: dict[str, tuple[str, ...]] = {
    "lead.replied.v1": ("subject", "text"),
    "lead.booked_meeting.v1": ("place",),
    "lead.call_logged.v1": ("note", "recording_url", "metadata"),
    "lead.meeting_logged.v1": ("title", "place", "attendees", "note", "metadata"),
    "lead.email_logged.v1": ("subject", "body", "to", "cc", "metadata"),
    "lead.note_logged.v1": ("text", "metadata"),
    "task.opened.v1": ("title",),
    "task.completed.v1": ("note",),
    "task.skipped.v1": ("note",),
    "task.draft_rejected.v1": ("reason",),
    "enrollment.note_left.v1": ("text",),
    "enrollment.members_notified.v1": ("text",),
}


#: Topic -> what kind of thing it is, where the aggregate alone does not say it. Readers filter by it.
_GROUPS: dict[str, str] = {
    "lead.call_logged.v1": "call",
    "lead.meeting_logged.v1": "meeting",
    "lead.booked_meeting.v1": "meeting",
    "lead.email_logged.v1": "email",
    "lead.note_logged.v1": "note",
    "lead.replied.v1": "signal",
    "lead.unsubscribed.v1": "signal",
    "lead.resubscribed.v1": "signal",
    "lead.address_suppressed.v1": "signal",
    "enrollment.engagement_noted.v1": "signal",
    "enrollment.step_sent.v1": "message",
    "enrollment.step_deferred.v1": "message",
    "enrollment.step_failed.v1": "message",
    "enrollment.step_stop_requested.v1": "message",
    "enrollment.step_stopped.v1": "message",
    "enrollment.step_in_doubt.v1": "message",
    "enrollment.step_settled.v1": "message",
    "enrollment.step_handed_to_person.v1": "task",
    "enrollment.step_done_by_person.v1": "task",
    "enrollment.step_overdue.v1": "task",
    "enrollment.step_approved.v1": "message",
    "enrollment.note_left.v1": "note",
}
_BY_AGGREGATE = {"lead": "change", "enrollment": "enrollment", "task": "task"}


def is_personal(topic: str, field: str) -> bool:
    """Is it cleared when the lead is erased?"""
    return field in _PERSONAL.get(topic, ())


def _fields_of(data: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Names of a lead's fields that got a value: plain ones, and personal ones with single custom fields. What is
    cleared has a list of its own, but for custom fields."""
    fields = [name for name in PLAIN_FIELDS if data.get(name) is not None]
    fields += [f"consent.{channel}" for channel in data.get("consent") or {}]
    own = [name for name in PERSONAL_FIELDS if data.get(name) is not None]
    return fields, [*own, *(data.get("custom_fields") or {}), *(data.get("cleared_custom") or ())]


def group_of(topic: str) -> str:
    """One of ``shared.persistence.views.TIMELINE_GROUPS``."""
    return _GROUPS.get(topic) or _BY_AGGREGATE.get(topic.partition(".")[0], "change")


class Timeline(View):
    """A document per event, with the event's position as its id. ``personal`` is None when there is nothing
    personal, or not any more.
    """

    name = "timeline"
    version = 4
    indexes: ClassVar[tuple[Keys, ...]] = (
        (("organization_id", 1), ("position", -1), ("_id", 1)),
        (("lead_id", 1), ("position", -1), ("_id", 1)),  # groups and times are looked for among the lead's own
    )
    ignored = (
        BULK
        | FUNNEL
        | SEQUENCE
        | ORGANIZATION
        | {
            "enrollment.step_due.v1",  # what became of it follows
            "enrollment.watchdog_rang.v1",
            "lead.joined_sequence.v1",  # the enrollment's own event says it
            "lead.left_sequence.v1",
            "engagement.signal_received.v1",  # raw hits; the first that counts is shown
        }
    )

    @on(*(topic for topic in _SHOWN if topic != "lead.erased.v1"))
    def happened(self, event: Event, ops: Ops) -> None:
        topic, data, get = event.topic, event.data, event.data.get
        personal: dict[str, Any] | None = None
        if topic in _PERSONAL:
            personal = {field: plain(data[field]) for field in _PERSONAL[topic] if get(field) is not None} or None
        detail = {field: plain(data[field]) for field in _SHOWN[topic] if get(field) is not None}
        if topic == "lead.details_merged.v1":
            fields, own = _fields_of(data)
            detail |= {"fields": fields} if fields else {}
            personal = {"personal_fields": own} if own else None
        ops.new(
            event.position,
            {
                "organization_id": event.organization_id,
                "partition": event.partition,
                "position": event.position,
                "lead_id": event.lead_id,
                "at": event.at,
                "kind": event.kind,
                "group": group_of(topic),
                "enrollment_id": event.subject if topic.startswith("enrollment.") else get("enrollment_id"),
                "sequence_id": event.sequence_id,
                "step_id": get("step_id"),
                "execution": get("execution"),
                "channel": get("channel"),
                "actor": event.actor,
                "detail": detail,
                "personal": personal,
            },
        )

    @on("lead.erased.v1")
    def erased(self, event: Event, ops: Ops) -> None:
        self.happened(event, ops)
        ops.set_where("lead_id", event.subject, {"personal": None})
