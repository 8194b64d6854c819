"""Statistics: whole-number counters per partition, merged on reading. Keyed by organization, sequence, step and
time, never by a person.
"""

from __future__ import annotations

from typing import ClassVar

from services.projector.event import Event
from services.projector.ops import Ops
from services.projector.views.ignored import BULK, FUNNEL, SEQUENCE
from services.projector.views.view import Keys, View, on

#: Events that count as they are: topic -> figure.
_FIGURES = {
    "lead.captured.v1": "leads",
    "lead.erased.v1": "erased",
    "lead.booked_meeting.v1": "meetings",
    "lead.won.v1": "conversions",
    "lead.unsubscribed.v1": "unsubscribed",
    "enrollment.started.v1": "enrolled",
    "enrollment.completed.v1": "completed",
    "enrollment.exited.v1": "exited",
    "enrollment.paused.v1": "paused",
    "enrollment.resumed.v1": "resumed",
    "enrollment.step_sent.v1": "sent",
    "enrollment.step_deferred.v1": "deferred",
    "enrollment.step_failed.v1": "failed",
    "enrollment.step_stopped.v1": "stopped",
    "enrollment.step_in_doubt.v1": "in_doubt",
    "enrollment.step_skipped.v1": "skipped",
    "enrollment.goal_reached.v1": "goals",
    "task.opened.v1": "tasks_opened",
    "task.completed.v1": "tasks_done",
    "task.skipped.v1": "tasks_skipped",
    "task.draft_approved.v1": "tasks_done",
    "task.draft_rejected.v1": "tasks_skipped",
}


class Statistics(View):
    """Two documents per scope and partition: all time, and the day (UTC) with its hours. A sequence's all-time
    document counts its steps too.
    """

    name = "statistics"
    version = 1
    indexes: ClassVar[tuple[Keys, ...]] = ((("organization_id", 1), ("scope", 1), ("bucket", 1)),)
    ignored = (
        BULK
        | FUNNEL
        | SEQUENCE
        | {
            "lead.details_merged.v1",
            "lead.identity_clashed.v1",
            "lead.matched.v1",
            "lead.not_matched.v1",
            "lead.scored.v1",
            "lead.tagged.v1",
            "lead.assigned.v1",
            "lead.call_logged.v1",
            "lead.meeting_logged.v1",
            "lead.email_logged.v1",
            "lead.note_logged.v1",
            "lead.resubscribed.v1",
            "lead.address_suppressed.v1",
            "lead.replied.v1",
            "lead.went_away.v1",
            "lead.joined_sequence.v1",
            "lead.left_sequence.v1",
            "enrollment.activated.v1",
            "enrollment.start_refused.v1",
            "enrollment.step_postponed.v1",
            "enrollment.advanced.v1",
            "enrollment.company_stop_asked.v1",
            "enrollment.replanned.v1",
            "enrollment.step_stop_requested.v1",
            "enrollment.watchdog_rang.v1",
            "enrollment.conversion_attributed.v1",
            "enrollment.step_taken.v1",
            "enrollment.step_handed_to_person.v1",
            "enrollment.step_done_by_person.v1",
            "enrollment.step_approved.v1",
            "enrollment.step_overdue.v1",
            "enrollment.note_left.v1",
            "enrollment.members_notified.v1",
            "engagement.signal_received.v1",
            "task.snoozed.v1",
            "task.assigned.v1",
            "task.withdrawn.v1",
            "task.draft_edited.v1",
            "organization.founded.v1",
            "organization.settings_set.v1",
            "organization.calendar_set.v1",
            "organization.member_added.v1",
            "organization.member_set.v1",
            "organization.api_key_issued.v1",
            "organization.api_key_revoked.v1",
            "organization.sender_set.v1",
            "organization.sender_braked.v1",
            "organization.sender_released.v1",
            "organization.address_suppressed.v1",
            "organization.address_unsuppressed.v1",
        }
    )

    @on(*_FIGURES)
    def plain_figure(self, event: Event, ops: Ops) -> None:
        _count(event, ops, _FIGURES[event.topic])

    @on("enrollment.step_due.v1")
    def due(self, event: Event, ops: Ops) -> None:
        if event.data["attempt"] == 1:  # a step is due once, however often it is tried
            _count(event, ops, "due")

    @on("enrollment.step_settled.v1")
    def settled(self, event: Event, ops: Ops) -> None:
        _count(event, ops, "sent" if event.data["outcome"] == "sent" else "failed")

    @on("enrollment.engagement_noted.v1")
    def engaged(self, event: Event, ops: Ops) -> None:
        if event.data["signal"] != "unsubscribed":  # the lead's own event counts that
            _count(event, ops, event.data["signal"])


def _count(event: Event, ops: Ops, figure: str) -> None:
    stamp = event.at.isoformat()
    day, hour = stamp[:10], stamp[11:13]
    _count_in(event, ops, "organization", day, hour, figure, None)
    if event.sequence_id is not None:
        step_id = event.data.get("step_id") if event.topic.startswith("enrollment.") else None
        _count_in(event, ops, f"sequence:{event.sequence_id}", day, hour, figure, step_id)


def _count_in(event: Event, ops: Ops, scope: str, day: str, hour: str, figure: str, step_id: str | None) -> None:
    key = f"{event.organization_id}|{scope}|{event.partition}|"
    ever = ops.document(event, key + "all")
    ever.set_on_insert({"scope": scope, "bucket": "all"})
    ever.inc(f"n.{figure}")
    if step_id is not None:
        ever.inc(f"steps.{step_id}.{figure}")
    today = ops.document(event, f"{key}day:{day}")
    today.set_on_insert({"scope": scope, "bucket": f"day:{day}"})
    today.inc(f"n.{figure}")
    today.inc(f"hours.{hour}.{figure}")
