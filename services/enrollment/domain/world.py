"""All that a decision may know. Backed by the store in the committer, by dicts in simulators and tests
(``memory_world``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from services.enrollment.domain.bulk import Bulk
from services.enrollment.domain.engagement import Engagement
from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.flow import Version
from services.enrollment.domain.full_slots import FullSlots
from services.enrollment.domain.funnel import Funnel
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.sequence import Sequence
from services.enrollment.domain.task import Task
from shared.events.definition import SequenceDefinition


class CatalogueEntry(NamedTuple):
    """An active sequence with its running version, and the funnels it is assigned to (none: it takes leads of any,
    unless it was ``narrowed`` to some before).
    """

    sequence_id: UUID
    version: int
    definition: SequenceDefinition
    funnels: frozenset[str] = frozenset()
    narrowed: bool = False


class World(Protocol):
    """``now`` is business time, ``wall_now`` machine time (watchdogs only); both UTC and fixed for a decision.

    Everything read here is as the decisions before this one left it. A read of what does not exist answers None.
    """

    @property
    def now(self) -> datetime: ...

    @property
    def wall_now(self) -> datetime: ...

    def lead(self, lead_id: UUID) -> Lead | None: ...

    def enrollment(self, enrollment_id: UUID) -> Enrollment | None: ...

    def task(self, task_id: UUID) -> Task | None: ...

    def engagement(self, engagement_id: UUID) -> Engagement | None: ...

    def sequence(self, sequence_id: UUID) -> Sequence | None: ...

    def bulk(self, bulk_id: UUID) -> Bulk | None: ...

    def funnel(self, aggregate_id: UUID) -> Funnel | None: ...

    def organization(self, organization_id: str) -> Organization | None: ...

    def version(self, sequence_id: UUID, version: int) -> Version | None:
        """A published version, compiled."""
        ...

    def catalogue(self, organization_id: str) -> list[CatalogueEntry]:
        """Active sequences."""
        ...

    def lead_by_identity(self, organization_id: str, kind: str, normalised: str) -> UUID | None: ...

    def suppression(self, organization_id: str, channel: str, address: str) -> str | None:
        """Why an address (normalised), or its domain, must not be sent to; None when it may."""
        ...

    def address_hash(self, organization_id: str, channel: str, address: str) -> str:
        """The organization's keyed hash of a normalised address or of a bare domain."""
        ...

    @property
    def full_slots(self) -> FullSlots:
        """Which slots of limits were found full; kept from decision to decision."""
        ...

    def quota_used(self, organization_id: str, scope: str, slot: str) -> int: ...

    def figures(self, organization_id: str, kind: str) -> Mapping[str, int]:
        """Counts of a kind by key, last known: what ``Rows.figures`` added. They may lag behind, never ahead."""
        ...

    def active_sequences(self, organization_id: str) -> int:
        """How many sequences take leads."""
        ...

    def channel_consumed(self, channel: str) -> bool:
        """Has the channel's queue had a consumer lately? Silence counts against a step only then."""
        ...

    def serves(self, channel: str) -> bool:
        """Is there a dispatcher that can serve the channel?"""
        ...

    def filled(self, template: str, lead: Lead | None) -> str:
        """A text for members, its merge tags replaced by the lead's values and missing ones left out."""
        ...

    def draw(self, *parts: object) -> float:
        """A number from 0 to 1 that depends on the parts alone."""
        ...
