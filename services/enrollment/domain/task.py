"""Task: something a person must do, and draft: a message a person must approve. The state, folded from its events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from shared.events.kinds import StepKind
from shared.events.message import Event
from shared.events.task import (
    DraftApproved,
    DraftEdited,
    DraftRejected,
    TaskAssigned,
    TaskCompleted,
    TaskOpened,
    TaskSkipped,
    TaskSnoozed,
    TaskWithdrawn,
)

TaskStatus = Literal["open", "completed", "skipped", "withdrawn", "approved", "rejected"]


def by_hand_of(lead_id: UUID) -> str:
    """Kind of the figures whose keys are the lead's tasks that belong to no enrollment, open or not."""
    return f"tasks:lead:{lead_id}"


class Content(NamedTuple):
    """What a draft says, as templates. All None once the lead is erased."""

    subject: str | None
    html: str | None
    text: str | None
    preheader: str | None


@dataclass(frozen=True, slots=True)
class Task:
    """``enrollment_id`` and ``execution`` are None for a task made by hand. Title and notes stay in the log.
    ``content`` is a draft's, None for anything else and once it is not needed any more.
    """

    id: UUID
    organization_id: str
    lead_id: UUID
    kind: str
    due_at: datetime
    status: TaskStatus = "open"
    assignee: str | None = None
    enrollment_id: UUID | None = None
    execution: int | None = None
    content: Content | None = None

    @property
    def is_draft(self) -> bool:
        return self.kind == StepKind.EMAIL_MANUAL


def _content(event: TaskOpened | DraftEdited) -> Content:
    return Content(event.subject, event.html, event.text, event.preheader)


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
        content=_content(event) if event.kind == StepKind.EMAIL_MANUAL else None,
    )


def evolve(state: Task, event: Event, _at: datetime) -> Task:  # noqa: PLR0911
    """The state after an event. An event it does not know leaves it as it is."""
    match event:
        case TaskCompleted():
            return replace(state, status="completed")
        case TaskSkipped():
            return replace(state, status="skipped", content=None)
        case TaskWithdrawn():
            return replace(state, status="withdrawn", content=None)
        case TaskSnoozed():
            return replace(state, due_at=event.until)
        case TaskAssigned():
            return replace(state, assignee=event.assignee)
        case DraftEdited():
            return replace(state, content=_content(event))
        case DraftApproved():
            return replace(state, status="approved")
        case DraftRejected():
            return replace(state, status="rejected", content=None)
    return state
