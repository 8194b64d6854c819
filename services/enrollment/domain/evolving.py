"""One door to every aggregate's ``evolve``."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from services.enrollment.domain import (
    bulk,
    engagement,
    enrollment,
    enrollment_history,
    lead,
    organization,
    sequence,
    task,
)
from shared.events.enrollment import EnrollmentStarted
from shared.events.message import Event
from shared.events.task import TaskOpened

Aggregate = Literal["lead", "enrollment", "task", "sequence", "organization", "engagement", "bulk"]
State = (
    lead.Lead
    | enrollment.Enrollment
    | task.Task
    | sequence.Sequence
    | organization.Organization
    | engagement.Engagement
    | bulk.Bulk
)


def evolve_any(  # noqa: PLR0911  # one for each aggregate
    aggregate: str,
    state: State | None,
    event: Event,
    *,
    id: UUID,  # noqa: A002  # the word of the envelope
    organization_id: str,
    lead_id: UUID | None,
    at: datetime,
) -> State:
    """The state of an aggregate after an event recorded at ``at`` (business time).

    ``state`` is None before the first event. Raises ValueError for an unknown aggregate and for a stream that does
    not begin with its first event.
    """
    match aggregate:
        case "enrollment":
            if isinstance(event, EnrollmentStarted):
                return enrollment_history.started(id, organization_id, event, at)
            if isinstance(state, enrollment.Enrollment):
                return enrollment_history.evolve(state, event, at)
        case "lead":
            return lead.evolve(state if isinstance(state, lead.Lead) else lead.initial(id, organization_id), event, at)
        case "engagement":
            known = state if isinstance(state, engagement.Engagement) else engagement.initial(id, organization_id)
            return engagement.evolve(known, event, at)
        case "task":
            if isinstance(event, TaskOpened) and lead_id is not None:
                return task.opened(id, organization_id, lead_id, event)
            if isinstance(state, task.Task):
                return task.evolve(state, event, at)
        case "sequence":
            drafted = state if isinstance(state, sequence.Sequence) else sequence.initial(id, organization_id)
            return sequence.evolve(drafted, event, at)
        case "bulk":
            ordered = state if isinstance(state, bulk.Bulk) else bulk.initial(id, organization_id)
            return bulk.evolve(ordered, event, at)
        case "organization":
            founded = state if isinstance(state, organization.Organization) else organization.initial(organization_id)
            return organization.evolve(founded, event, at)
    raise ValueError(f"{event.TOPIC} cannot stand here in a stream of aggregate {aggregate!r}")
