"""One command's unit of work: what it has decided so far, visible to its own later reads, and what it has read."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast
from uuid import UUID

from services.enrollment.domain.bulk import Bulk
from services.enrollment.domain.engagement import Engagement
from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.enrollment_history import evolve as evolve_enrollment
from services.enrollment.domain.errors import UnknownTarget
from services.enrollment.domain.evolving import Aggregate, State, evolve_any
from services.enrollment.domain.flow import Version
from services.enrollment.domain.funnel import Funnel, funnel_aggregate
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.sequence import Sequence
from services.enrollment.domain.task import Task
from services.enrollment.domain.world import World
from shared.events.message import Event
from shared.ids import derived_id

T = TypeVar("T", bound=State)


class Change(NamedTuple):
    """An event to be recorded. ``lead_id`` is None for sequences and organizations."""

    aggregate: Aggregate
    id: UUID
    event: Event
    lead_id: UUID | None
    organization_id: str


class IdentityClaim(NamedTuple):
    """This identity names this lead from now on. ``normalised`` is still to be hashed."""

    organization_id: str
    kind: str
    normalised: str
    lead_id: UUID


class Wake(NamedTuple):
    """Every timer blocked on ``blocked_on`` becomes due at ``at``, spread over ``spread_seconds`` of business time.
    None: every timer that waits for a later moment, watchdogs apart, so that it is planned again.
    """

    organization_id: str
    blocked_on: str | None
    at: datetime
    spread_seconds: int


class Work:
    """Reads go through here, so that own changes are seen and every aggregate of a lead that was read is known.

    ``before`` and ``states`` hold each changed aggregate's state as it was and as it is. ``read`` names leads,
    enrollments, tasks and
    engagements that were looked at, whether they exist or not. ``retimed`` names enrollments whose timer row is to be
    written again.
    ``crossings`` holds changes of score (lead, before, after) that matching has still to look at; ``enrolled`` the
    (lead, sequence) pairs opened here.
    """

    __slots__ = (
        "before",
        "changes",
        "claims",
        "crossings",
        "enrolled",
        "now",
        "organization_id",
        "read",
        "result",
        "retimed",
        "states",
        "wall_now",
        "woken",
        "world",
    )

    def __init__(self, world: World, organization_id: str) -> None:
        self.world = world
        self.now = world.now
        self.wall_now = world.wall_now
        self.organization_id = organization_id
        self.changes: list[Change] = []
        self.before: dict[UUID, State | None] = {}
        self.states: dict[UUID, State] = {}
        self.read: set[UUID] = set()
        self.retimed: set[UUID] = set()
        self.claims: list[IdentityClaim] = []
        self.woken: list[Wake] = []
        self.crossings: list[tuple[UUID, int, int]] = []
        self.enrolled: set[tuple[UUID, UUID]] = set()
        self.result: dict[str, object] = {}

    # --- reading: another organization's aggregates do not exist ----------------------------------------------------

    def find_lead(self, lead_id: UUID) -> Lead | None:
        known: Any = self.states.get(lead_id) if self.states else None
        return self._mine(known or self.world.lead(lead_id), lead_id)

    def lead(self, lead_id: UUID) -> Lead:
        """Raises UnknownTarget."""
        state = self.find_lead(lead_id)
        if state is None:
            raise UnknownTarget("lead", lead_id)
        return state

    def find_enrollment(self, enrollment_id: UUID) -> Enrollment | None:
        known: Any = self.states.get(enrollment_id) if self.states else None
        return self._mine(known or self.world.enrollment(enrollment_id), enrollment_id)

    def enrollment(self, enrollment_id: UUID) -> Enrollment:
        """Raises UnknownTarget."""
        state = self.find_enrollment(enrollment_id)
        if state is None:
            raise UnknownTarget("enrollment", enrollment_id)
        return state

    def find_task(self, task_id: UUID) -> Task | None:
        return self._mine(cast("Task | None", self.states.get(task_id)) or self.world.task(task_id), task_id)

    def task(self, task_id: UUID) -> Task:
        """Raises UnknownTarget."""
        state = self.find_task(task_id)
        if state is None:
            raise UnknownTarget("task", task_id)
        return state

    def engagement(self, engagement_id: UUID) -> Engagement | None:
        known = cast("Engagement | None", self.states.get(engagement_id)) or self.world.engagement(engagement_id)
        return self._mine(known, engagement_id)

    def engagement_of(self, enrollment_id: UUID, execution: int) -> Engagement | None:
        """What came back for one dispatch."""
        return self.engagement(engagement_id(enrollment_id, execution))

    def find_sequence(self, sequence_id: UUID) -> Sequence | None:
        known: Any = self.states.get(sequence_id) if self.states else None
        state = known or self.world.sequence(sequence_id)
        return state if state is not None and state.organization_id == self.organization_id else None

    def sequence(self, sequence_id: UUID) -> Sequence:
        """Raises UnknownTarget."""
        state = self.find_sequence(sequence_id)
        if state is None:
            raise UnknownTarget("sequence", sequence_id)
        return state

    def find_bulk(self, bulk_id: UUID) -> Bulk | None:
        state = cast("Bulk | None", self.states.get(bulk_id)) or self.world.bulk(bulk_id)
        return state if state is not None and state.organization_id == self.organization_id else None

    def bulk(self, bulk_id: UUID) -> Bulk:
        """Raises UnknownTarget."""
        state = self.find_bulk(bulk_id)
        if state is None:
            raise UnknownTarget("bulk", bulk_id)
        return state

    def find_funnel(self, funnel_id: str) -> Funnel | None:
        """By the word that funnels send."""
        aggregate_id = funnel_aggregate(self.organization_id, funnel_id)
        return cast("Funnel | None", self.states.get(aggregate_id)) or self.world.funnel(aggregate_id)

    def funnel(self, funnel_id: str) -> Funnel:
        """Raises UnknownTarget."""
        state = self.find_funnel(funnel_id)
        if state is None:
            raise UnknownTarget("funnel", funnel_id)
        return state

    def find_organization(self) -> Organization | None:
        known: Any = self.states.get(organization_aggregate(self.organization_id)) if self.states else None
        return known or self.world.organization(self.organization_id)

    def organization(self) -> Organization:
        """Raises UnknownTarget."""
        state = self.find_organization()
        if state is None:
            raise UnknownTarget("organization", self.organization_id)
        return state

    def version(self, sequence_id: UUID, version: int) -> Version:
        """Raises UnknownTarget."""
        compiled = self.world.version(sequence_id, version)
        if compiled is None:
            raise UnknownTarget("version", f"{sequence_id}/{version}")
        return compiled

    def _mine(self, state: T | None, aggregate_id: UUID) -> T | None:
        self.read.add(aggregate_id)
        if state is None or getattr(state, "organization_id", None) != self.organization_id:
            return None
        return state

    # --- recording ------------------------------------------------------------------------------------------------

    def record(self, aggregate: Aggregate, aggregate_id: UUID, event: Event, lead_id: UUID | None) -> State:
        """Adds an event and answers the state after it."""
        current = self.states.get(aggregate_id)
        if current is None:
            current = self.before[aggregate_id] = self._stored(aggregate, aggregate_id)
        state = evolve_any(
            aggregate,
            current,
            event,
            id=aggregate_id,
            organization_id=self.organization_id,
            lead_id=lead_id,
            at=self.now,
        )
        self.states[aggregate_id] = state
        self.changes.append(Change(aggregate, aggregate_id, event, lead_id, self.organization_id))
        return state

    def on_enrollment(self, state: Enrollment, event: Event) -> Enrollment:
        """Records an event of an enrollment that exists, ``state`` being what was read of it here last."""
        aggregate_id = state.id
        known: Any = self.states.get(aggregate_id)
        if known is None:
            known = self.before[aggregate_id] = state
        after = self.states[aggregate_id] = evolve_enrollment(known, event, self.now)
        self.changes.append(Change("enrollment", aggregate_id, event, state.lead_id, self.organization_id))
        return after

    def on_lead(self, lead_id: UUID, event: Event) -> Lead:
        return cast("Lead", self.record("lead", lead_id, event, lead_id))

    def wake(self, blocked_on: str | None, *, spread_seconds: int) -> None:
        """See ``Wake``."""
        self.woken.append(Wake(self.organization_id, blocked_on, self.now, spread_seconds))

    def _stored(self, aggregate: Aggregate, aggregate_id: UUID) -> State | None:
        match aggregate:
            case "enrollment":
                return self.find_enrollment(aggregate_id)
            case "lead":
                return self.find_lead(aggregate_id)
            case "task":
                return self.find_task(aggregate_id)
            case "engagement":
                return self.engagement(aggregate_id)
            case "sequence":
                return self.find_sequence(aggregate_id)
            case "bulk":
                return self.find_bulk(aggregate_id)
            case "funnel":
                return self.world.funnel(aggregate_id)
            case "organization":
                return self.find_organization()


@lru_cache(maxsize=4_096)
def organization_aggregate(organization_id: str) -> UUID:
    """The aggregate id of an organization."""
    return derived_id("organization", organization_id)


def engagement_id(enrollment_id: UUID, execution: int) -> UUID:
    """The aggregate id of what comes back for one dispatch."""
    return derived_id("engagement", enrollment_id, execution)
