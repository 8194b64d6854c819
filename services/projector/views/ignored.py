"""Event topics by aggregate, for views that have nothing to do with some of them. A topic made later must be added
by hand, so that somebody thinks of it.
"""

from __future__ import annotations

LEAD = frozenset(
    {
        "lead.captured.v1",
        "lead.details_merged.v1",
        "lead.identity_clashed.v1",
        "lead.matched.v1",
        "lead.not_matched.v1",
        "lead.scored.v1",
        "lead.tagged.v1",
        "lead.assigned.v1",
        "lead.unsubscribed.v1",
        "lead.resubscribed.v1",
        "lead.address_suppressed.v1",
        "lead.booked_meeting.v1",
        "lead.won.v1",
        "lead.replied.v1",
        "lead.went_away.v1",
        "lead.joined_sequence.v1",
        "lead.left_sequence.v1",
        "lead.call_logged.v1",
        "lead.meeting_logged.v1",
        "lead.email_logged.v1",
        "lead.note_logged.v1",
        "lead.erased.v1",
    }
)
ENROLLMENT = frozenset(
    {
        "enrollment.started.v1",
        "enrollment.activated.v1",
        "enrollment.start_refused.v1",
        "enrollment.step_postponed.v1",
        "enrollment.advanced.v1",
        "enrollment.company_stop_asked.v1",
        "enrollment.replanned.v1",
        "enrollment.step_due.v1",
        "enrollment.step_sent.v1",
        "enrollment.step_deferred.v1",
        "enrollment.step_failed.v1",
        "enrollment.step_stop_requested.v1",
        "enrollment.step_stopped.v1",
        "enrollment.step_in_doubt.v1",
        "enrollment.step_settled.v1",
        "enrollment.watchdog_rang.v1",
        "enrollment.step_skipped.v1",
        "enrollment.step_taken.v1",
        "enrollment.step_handed_to_person.v1",
        "enrollment.step_done_by_person.v1",
        "enrollment.step_approved.v1",
        "enrollment.step_overdue.v1",
        "enrollment.note_left.v1",
        "enrollment.members_notified.v1",
        "enrollment.goal_reached.v1",
        "enrollment.engagement_noted.v1",
        "enrollment.conversion_attributed.v1",
        "enrollment.paused.v1",
        "enrollment.resumed.v1",
        "enrollment.migration_awaited.v1",
        "enrollment.migration_dropped.v1",
        "enrollment.migrated.v1",
        "enrollment.completed.v1",
        "enrollment.exited.v1",
    }
)
ENGAGEMENT = frozenset({"engagement.signal_received.v1"})
TASK = frozenset(
    {
        "task.opened.v1",
        "task.completed.v1",
        "task.skipped.v1",
        "task.snoozed.v1",
        "task.assigned.v1",
        "task.withdrawn.v1",
        "task.draft_edited.v1",
        "task.draft_approved.v1",
        "task.draft_rejected.v1",
    }
)
SEQUENCE = frozenset(
    {
        "sequence.drafted.v1",
        "sequence.edited.v1",
        "sequence.submitted.v1",
        "sequence.approved.v1",
        "sequence.rejected.v1",
        "sequence.published.v1",
        "sequence.paused.v1",
        "sequence.resumed.v1",
        "sequence.archived.v1",
        "sequence.variant_won.v1",
        "sequence.deleted.v1",
        "sequence.restored.v1",
        "sequence.braked.v1",
        "sequence.released.v1",
        "sequence.assigned_to_funnels.v1",
        "sequence.unassigned_from_funnels.v1",
    }
)
ORGANIZATION = frozenset(
    {
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
        "organization.snippet_set.v1",
        "organization.snippet_removed.v1",
        "organization.template_saved.v1",
        "organization.template_removed.v1",
        "organization.address_suppressed.v1",
        "organization.address_unsuppressed.v1",
    }
)
BULK = frozenset(
    {
        "bulk.ordered.v1",
        "bulk.targets_named.v1",
        "bulk.begun.v1",
        "bulk.advanced.v1",
        "bulk.finished.v1",
        "bulk.cancelled.v1",
        "bulk.undone.v1",
    }
)
FUNNEL = frozenset(
    {
        "funnel.created.v1",
        "funnel.renamed.v1",
        "funnel.switched.v1",
        "funnel.fallback_chosen.v1",
        "funnel.sequences_assigned.v1",
        "funnel.sequences_unassigned.v1",
        "funnel.form_opened.v1",
        "funnel.form_closed.v1",
    }
)
EVERYTHING = FUNNEL | BULK | LEAD | ENROLLMENT | ENGAGEMENT | TASK | SEQUENCE | ORGANIZATION
