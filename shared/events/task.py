"""Task: something a person must do."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from shared.events.message import Command, Event, Instant, Pii


class OpenTask(Command):
    """A member makes a task by hand."""

    TOPIC = "task.open.v1"
    task_id: UUID
    lead_id: UUID
    title: str = Field(min_length=1, max_length=300)
    notes: str | None = None
    due_at: Instant
    assignee: str | None = None


class CompleteTask(Command):
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


class TaskOpened(Event):
    """``enrollment_id`` and ``execution`` are None for a task made by hand. ``kind``: ``task``, ``identity_clash``,
    …"""

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
    """The enrollment it belonged to ended."""

    TOPIC = "task.withdrawn.v1"
    reason: str
