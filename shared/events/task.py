"""Task: something a person must do. A draft is a task too: a message that a person must approve."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from shared.events.kinds import TaskKind
from shared.events.message import Command, Event, Instant, Pii

#: What a draft says, field by field.
CONTENT_FIELDS = ("subject", "html", "text", "preheader")
MOST_CONTENT = 200_000


class OpenTask(Command):
    """A member makes a task by hand."""

    TOPIC = "task.open.v1"
    task_id: UUID
    lead_id: UUID
    kind: TaskKind = "task"
    title: str = Field(min_length=1, max_length=300)
    notes: str | None = None
    due_at: Instant
    assignee: str | None = None


class CompleteTask(Command):
    """Done. ``outcome`` of a call is one of ``CALL_OUTCOMES``; of anything else what the person says."""

    TOPIC = "task.complete.v1"
    task_id: UUID
    outcome: str = Field(default="done", min_length=1, max_length=100)
    note: str | None = Field(default=None, max_length=10_000)


class SkipTask(Command):
    TOPIC = "task.skip.v1"
    task_id: UUID
    note: str | None = Field(default=None, max_length=10_000)


class SnoozeTask(Command):
    TOPIC = "task.snooze.v1"
    task_id: UUID
    until: Instant


class AssignTask(Command):
    TOPIC = "task.assign.v1"
    task_id: UUID
    assignee: str | None


class EditDraft(Command):
    """Change what a draft says; what is None stays as it is. ``html``, ``text`` and ``preheader`` may be emptied."""

    TOPIC = "task.edit_draft.v1"
    task_id: UUID
    subject: str | None = Field(default=None, min_length=1, max_length=998)
    html: str | None = Field(default=None, max_length=MOST_CONTENT)
    text: str | None = Field(default=None, max_length=MOST_CONTENT)
    preheader: str | None = Field(default=None, max_length=998)


class ApproveDraft(Command):
    """Send it, as soon as windows and limits allow."""

    TOPIC = "task.approve_draft.v1"
    task_id: UUID


class RejectDraft(Command):
    """Do not send it. ``then`` None does what the step says: go on with the next one, or end the enrollment."""

    TOPIC = "task.reject_draft.v1"
    task_id: UUID
    reason: str = Field(min_length=1, max_length=10_000)
    then: Literal["skip", "exit"] | None = None


class TaskOpened(Event):
    """``enrollment_id`` and ``execution`` are None for a task made by hand. ``kind``: ``task``, ``call``,
    ``reminder``, ``social``, ``email_manual`` (a draft, with its content as templates), ``identity_clash``, …"""

    TOPIC = "task.opened.v1"
    kind: str = "task"
    title: Pii
    notes: Pii = None
    due_at: Instant
    assignee: str | None = None
    enrollment_id: UUID | None = None
    sequence_id: UUID | None = None
    execution: int | None = None
    step_id: str | None = None
    network: str | None = None
    subject: Pii = None
    html: Pii = None
    text: Pii = None
    preheader: Pii = None


class TaskCompleted(Event):
    TOPIC = "task.completed.v1"
    outcome: str
    note: Pii = None


class TaskSkipped(Event):
    TOPIC = "task.skipped.v1"
    note: Pii = None


class TaskSnoozed(Event):
    TOPIC = "task.snoozed.v1"
    until: Instant


class TaskAssigned(Event):
    TOPIC = "task.assigned.v1"
    assignee: str | None


class TaskWithdrawn(Event):
    """It is not wanted any more: its enrollment ended, or went on without it (``overdue``)."""

    TOPIC = "task.withdrawn.v1"
    reason: str


class DraftEdited(Event):
    """The draft's whole content from now on, as templates."""

    TOPIC = "task.draft_edited.v1"
    subject: Pii = None
    html: Pii = None
    text: Pii = None
    preheader: Pii = None


class DraftApproved(Event):
    TOPIC = "task.draft_approved.v1"


class DraftRejected(Event):
    TOPIC = "task.draft_rejected.v1"
    reason: Pii = None
    then: Literal["skip", "exit"]
