"""Task: something a person must do. The state, folded from its events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from shared.events.message import Event
from shared.events.task import TaskAssigned, TaskCompleted, TaskOpened, TaskSkipped, TaskSnoozed, TaskWithdrawn

TaskStatus = Literal["open", "completed", "skipped", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Task:
    """``enrollment_id`` and ``execution`` are None for a task made by hand. Title and notes stay in the log."""

    id: UUID
    organization_id: str
    lead_id: UUID
    kind: str
    due_at: datetime
    status: TaskStatus = "open"
    assignee: str | None = None
    enrollment_id: UUID | None = None
    execution: int | None = None


def opened(task_id: UUID, organization_id: str, lead_id: UUID, event: TaskOpened) -> Task:
    """The state after the first event."""
    return Task(
        task_id,
        organization_id,
        lead_id,
        event.kind,
        event.due_at,
        assignee=event.assignee,
        enrollment_id=event.enrollment_id,
        execution=event.execution,
    )


def evolve(state: Task, event: Event, _at: datetime) -> Task:
    """The state after an event. An event it does not know leaves it as it is."""
    match event:
        case TaskCompleted():
            return replace(state, status="completed")
        case TaskSkipped():
            return replace(state, status="skipped")
        case TaskWithdrawn():
            return replace(state, status="withdrawn")
        case TaskSnoozed():
            return replace(state, due_at=event.until)
        case TaskAssigned():
            return replace(state, assignee=event.assignee)
    return state
