"""One door to every aggregate's ``evolve``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from services.enrollment.domain import (
    bulk,
    engagement,
    enrollment,
    enrollment_history,
    funnel,
    lead,
    organization,
    sequence,
    task,
)
from shared.events.enrollment import EnrollmentStarted
from shared.events.message import Event
from shared.events.task import TaskOpened

Aggregate = Literal["lead", "enrollment", "task", "sequence", "organization", "engagement", "bulk", "funnel"]
State = (
    lead.Lead
    | enrollment.Enrollment
    | task.Task
    | sequence.Sequence
    | organization.Organization
    | engagement.Engagement
    | bulk.Bulk
    | funnel.Funnel
)


def evolve_any(
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
        case "task":
            if isinstance(event, TaskOpened) and lead_id is not None:
                return task.opened(id, organization_id, lead_id, event)
            if isinstance(state, task.Task):
                return task.evolve(state, event, at)
        case "organization":
            founded = state if isinstance(state, organization.Organization) else organization.initial(organization_id)
            return organization.evolve(founded, event, at)
        case _ if aggregate in _FROM_NOTHING:
            cls, initial, evolve = _FROM_NOTHING[aggregate]
            evolved: State = evolve(state if isinstance(state, cls) else initial(id, organization_id), event, at)
            return evolved
    raise ValueError(f"{event.TOPIC} cannot stand here in a stream of aggregate {aggregate!r}")


#: Aggregates whose stream may begin with any event: class, state before the first, fold.
_FROM_NOTHING: dict[str, tuple[type[Any], Callable[[UUID, str], Any], Callable[[Any, Event, datetime], Any]]] = {
    "lead": (lead.Lead, lead.initial, lead.evolve),
    "engagement": (engagement.Engagement, engagement.initial, engagement.evolve),
    "sequence": (sequence.Sequence, sequence.initial, sequence.evolve),
    "bulk": (bulk.Bulk, bulk.initial, bulk.evolve),
    "funnel": (funnel.Funnel, funnel.initial, funnel.evolve),
}
