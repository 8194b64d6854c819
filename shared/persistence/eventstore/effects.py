"""What is written together with events, in the same transaction: rows of the side tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from shared.events.why import TimerClass


class InboxKey(NamedTuple):
    organization_id: str
    exchange: str
    message_id: str


class InboxRow(NamedTuple):
    """A handled message and the answer given (JSON). ``aggregate_id`` and ``aggregate_version`` name the event whose
    position a repeat is told;
    None when the answer came without events."""

    organization_id: str
    exchange: str
    message_id: str
    answer: bytes
    aggregate_id: UUID | None = None
    aggregate_version: int | None = None


class StoredAnswer(NamedTuple):
    """What a repeated message is told. ``position`` is None when no event was made."""

    answer: bytes
    position: int | None


class IdentityKey(NamedTuple):
    organization_id: str
    kind: str
    hash: str


class IdentityRow(NamedTuple):
    organization_id: str
    kind: str
    hash: str
    lead_id: UUID


class TimerKey(NamedTuple):
    aggregate_id: UUID
    name: str


class TimerRow(NamedTuple):
    """What wakes an aggregate. ``due_at`` is None while it waits without an end; ``blocked_on`` then says for what.
    For a watchdog ``due_at`` is machine time, else business time."""

    aggregate_id: UUID
    name: str
    organization_id: str
    timer_class: TimerClass
    due_at: datetime | None
    blocked_on: str | None
    execution: int
    attempt: int


class TimerWake(NamedTuple):
    """Every timer of the organization blocked on this comes due from ``at`` on, spread over ``spread_seconds`` (0: all
    at once). With None every one that waits for a later moment, watchdogs apart; none becomes later than it was.
    Few are woken with the events; of many, each comes due in a later page, by an order written with the events.
    """

    blocked_on: str | None
    organization_id: str
    at: datetime
    spread_seconds: int = 0


class WakeOrder(NamedTuple):
    """A wake that goes on in pages, in the order of the timers' aggregates. ``after``: the last aggregate of the pages
    done; None before the first."""

    wake: TimerWake
    after: UUID | None = None


class QuotaKey(NamedTuple):
    organization_id: str
    scope: str
    slot: str


class QuotaTake(NamedTuple):
    """One place in a limit of ``limit`` places."""

    organization_id: str
    scope: str
    slot: str
    limit: int


class SuppressionKey(NamedTuple):
    organization_id: str
    channel: str
    hash: str


class SuppressionRow(NamedTuple):
    organization_id: str
    channel: str
    hash: str
    reason: str
    at: datetime


class FigureRow(NamedTuple):
    """``add`` is added to what stands there (0 at first)."""

    organization_id: str
    kind: str
    key: str
    add: int


class KeyRow(NamedTuple):
    """A lead's key, wrapped by the master key."""

    lead_id: UUID
    wrapped: bytes


class CatalogueRow(NamedTuple):
    organization_id: str
    sequence_id: UUID
    status: str
    version: int


class BulkRow(NamedTuple):
    """A bulk that the clerk carries out; ``runs`` False takes the row away."""

    organization_id: str
    bulk_id: UUID
    runs: bool


class CompanyRow(NamedTuple):
    """The company a lead is of, as a keyed hash; a lead has one."""

    lead_id: UUID
    organization_id: str
    hash: str


class CompanyStop(NamedTuple):
    """The leads of a company that are still to be stopped in a sequence, for a signal to ``enrollment_id``. ``after``:
    the last lead that was given the order; None before the first.
    """

    enrollment_id: UUID
    signal: str
    organization_id: str
    sequence_id: UUID
    do: str
    hash: str
    after: UUID | None = None


class RelayState(NamedTuple):
    """``position``: everything up to it is confirmed. ``per_partition``: the last position published in each."""

    position: int = 0
    per_partition: dict[int, int] = {}  # noqa: RUF012  never changed in place


@dataclass(slots=True)
class Effects:
    """Everything that is written in the transaction of an append. Order inside the lists is free; a key appears at most
    once in a pair such as ``timers`` and ``timers_gone`` (``absorb`` keeps it so).

    ``read_versions``: the version at which each aggregate of the leads was read (0: it must not exist yet).
    """

    inbox: list[InboxRow] = field(default_factory=list)
    read_versions: dict[UUID, int] = field(default_factory=dict)
    identities: list[IdentityRow] = field(default_factory=list)
    identities_gone: list[UUID] = field(default_factory=list)
    timers: list[TimerRow] = field(default_factory=list)
    timers_gone: list[TimerKey] = field(default_factory=list)
    timers_woken: list[TimerWake] = field(default_factory=list)
    quotas: list[QuotaTake] = field(default_factory=list)
    quotas_given_back: list[QuotaKey] = field(default_factory=list)
    suppressions: list[SuppressionRow] = field(default_factory=list)
    suppressions_gone: list[SuppressionKey] = field(default_factory=list)
    figures: list[FigureRow] = field(default_factory=list)
    figures_gone: list[tuple[str, str]] = field(default_factory=list)  #: (organization, kind): all of its keys
    keys: list[KeyRow] = field(default_factory=list)
    keys_gone: list[UUID] = field(default_factory=list)
    catalogue: list[CatalogueRow] = field(default_factory=list)
    bulks: list[BulkRow] = field(default_factory=list)
    companies: list[CompanyRow] = field(default_factory=list)
    company_stops: list[CompanyStop] = field(default_factory=list)

    def is_empty(self) -> bool:
        """True when there is nothing to write or check."""
        return not any(getattr(self, name) for name in self.__slots__)

    @classmethod
    def folded(cls, several: Iterable[Effects]) -> Effects:
        """The effects of decisions made one after the other, as one: of two rows for the same key the later one holds.

        ``read_versions`` keeps the first version seen of each aggregate, which is the one in the store. A place taken
        and given back is neither.
        """
        whole = cls()
        timers: dict[tuple[UUID, str], TimerRow | None] = {}
        suppressions: dict[SuppressionKey, SuppressionRow | None] = {}
        catalogue: dict[tuple[str, UUID], CatalogueRow] = {}
        bulks: dict[UUID, BulkRow] = {}
        companies: dict[UUID, CompanyRow] = {}
        for effects in several:
            whole.inbox += effects.inbox
            for aggregate_id, version in effects.read_versions.items():
                whole.read_versions.setdefault(aggregate_id, version)
            if effects.identities_gone:
                gone = set(effects.identities_gone)
                whole.identities = [row for row in whole.identities if row.lead_id not in gone]
                whole.identities_gone += effects.identities_gone
            whole.identities += effects.identities
            timers.update({(row.aggregate_id, row.name): row for row in effects.timers})
            timers.update({(key[0], key[1]): None for key in effects.timers_gone})
            whole.timers_woken += effects.timers_woken
            whole.quotas += effects.quotas
            whole.quotas_given_back += effects.quotas_given_back
            suppressions.update({SuppressionKey(*row[:3]): row for row in effects.suppressions})
            suppressions.update({SuppressionKey(*key): None for key in effects.suppressions_gone})
            if effects.figures_gone:
                forgotten = set(effects.figures_gone)
                whole.figures = [row for row in whole.figures if (row.organization_id, row.kind) not in forgotten]
                whole.figures_gone += effects.figures_gone
            whole.figures += effects.figures
            whole.keys += effects.keys
            whole.keys_gone += effects.keys_gone
            catalogue.update({(row.organization_id, row.sequence_id): row for row in effects.catalogue})
            bulks.update({row.bulk_id: row for row in effects.bulks})
            companies.update({row.lead_id: row for row in effects.companies})
            whole.company_stops += effects.company_stops
        whole.timers = [row for row in timers.values() if row is not None]
        whole.timers_gone = [TimerKey(*key) for key, row in timers.items() if row is None]
        whole.suppressions = [row for row in suppressions.values() if row is not None]
        whole.suppressions_gone = [key for key, row in suppressions.items() if row is None]
        whole.catalogue = list(catalogue.values())
        whole.bulks = list(bulks.values())
        erased = set(whole.identities_gone)
        whole.companies = [row for row in companies.values() if row.lead_id not in erased]
        whole._settle_quotas()
        return whole

    def _settle_quotas(self) -> None:
        if not self.quotas_given_back or not self.quotas:
            return
        back = Counter(map(QuotaKey._make, self.quotas_given_back))
        kept: list[QuotaTake] = []
        for take in self.quotas:
            key = QuotaKey(*take[:3])
            if back[key]:
                back[key] -= 1
            else:
                kept.append(take)
        self.quotas, self.quotas_given_back = kept, list(back.elements())
