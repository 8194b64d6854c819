"""Rows of the tables beside the log, as the domain says them: plain tuples, whose identities the store hashes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.enrollment.domain.work import IdentityClaim, Wake
from shared.events.why import TimerClass

#: An enrollment has one timer, of this name.
TIMER = "step"


class Timer(NamedTuple):
    """``due_at`` is machine time for a watchdog, else business time; None while it waits without an end for
    ``blocked_on``.
    """

    aggregate_id: UUID
    name: str
    organization_id: str
    timer_class: TimerClass
    due_at: datetime | None
    blocked_on: str | None
    execution: int
    attempt: int


class Take(NamedTuple):
    organization_id: str
    scope: str
    slot: str
    limit: int


class Suppression(NamedTuple):
    organization_id: str
    channel: str
    hash: str
    reason: str
    at: datetime


class Figure(NamedTuple):
    """``add`` is added to the count of this kind and key, 0 at first."""

    organization_id: str
    kind: str
    key: str
    add: int = 1


class Listing(NamedTuple):
    """A sequence in the catalogue."""

    organization_id: str
    sequence_id: UUID
    status: str
    version: int


class Company(NamedTuple):
    """The company a lead is of, as the organization's keyed hash."""

    lead_id: UUID
    organization_id: str
    hash: str


class CompanyToStop(NamedTuple):
    """The other leads of a company that a sequence's stop rule reaches."""

    enrollment_id: UUID
    signal: str
    organization_id: str
    sequence_id: UUID
    do: str
    hash: str


class BulkMark(NamedTuple):
    """A bulk that is being carried out, or is so no more."""

    organization_id: str
    bulk_id: UUID
    runs: bool


@dataclass(slots=True)
class Rows:
    """Everything to be written in the transaction that records the decision's events.

    ``quotas_given_back`` holds (organization, scope, slot), ``suppressions_gone`` (organization, channel, hash),
    ``figures_gone``
    (organization, kind), ``erased`` leads whose identities and key go.
    """

    timers: list[Timer] = field(default_factory=list)
    timers_gone: list[tuple[UUID, str]] = field(default_factory=list)
    woken: list[Wake] = field(default_factory=list)
    quotas: list[Take] = field(default_factory=list)
    quotas_given_back: list[tuple[str, str, str]] = field(default_factory=list)
    claims: list[IdentityClaim] = field(default_factory=list)
    suppressions: list[Suppression] = field(default_factory=list)
    suppressions_gone: list[tuple[str, str, str]] = field(default_factory=list)
    catalogue: list[Listing] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    figures_gone: list[tuple[str, str]] = field(default_factory=list)
    erased: list[UUID] = field(default_factory=list)
    bulks: list[BulkMark] = field(default_factory=list)
    companies: list[Company] = field(default_factory=list)
    company_stops: list[CompanyToStop] = field(default_factory=list)
