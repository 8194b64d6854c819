"""A World of dicts: for simulators, dry runs and tests. It applies decisions the way the store does, and keeps the
log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from services.enrollment.domain.best_hour import OF_LEAD
from services.enrollment.domain.bulk import Bulk
from services.enrollment.domain.engagement import Engagement
from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.evolving import State
from services.enrollment.domain.flow import Version, compile_version
from services.enrollment.domain.full_slots import FullSlots
from services.enrollment.domain.funnel import Funnel
from services.enrollment.domain.handling import Decision, handle
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.quotas import parsed
from services.enrollment.domain.row_types import CompanyToStop, Figure, Rows, Timer
from services.enrollment.domain.rows import rows_of
from services.enrollment.domain.sequence import Sequence
from services.enrollment.domain.task import Task
from services.enrollment.domain.work import Change, Wake, organization_aggregate
from services.enrollment.domain.world import CatalogueEntry
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import StopForCompany, WakeTimer
from shared.events.envelope import Envelope
from shared.events.kinds import Channel
from shared.events.message import Message
from shared.events.sequence import SequencePublished
from shared.events.why import TimerClass

T = TypeVar("T", bound=State)


class MemoryWorld:
    """See ``World``. ``now`` and ``wall_now`` are set by whoever drives it. Draws are those of the store's world, where
    each id always draws the same; another ``seed`` gives other draws.

    ``fill`` puts a lead's values into a text; without it texts stay as they are. ``served`` names the channels that
    can be used.
    """

    def __init__(
        self, now: datetime, *, seed: object = None, fill: Callable[[str, Lead | None], str] = lambda text, _lead: text
    ) -> None:
        self.now = now.astimezone(UTC)
        self.wall_now = self.now
        self.seed = seed
        self.states: dict[UUID, State] = {}
        self.log: list[Change] = []
        self.timers: dict[tuple[UUID, str], Timer] = {}
        self.quotas: dict[tuple[str, str, str], int] = {}
        self.identities: dict[tuple[str, str, str], UUID] = {}
        self.suppressions: dict[tuple[str, str, str], str] = {}
        self.counted: dict[tuple[str, str], dict[str, int]] = {}
        self.full_slots = FullSlots()
        self.companies: dict[UUID, tuple[str, str]] = {}
        self.company_stops: list[CompanyToStop] = []
        self.consumed = True
        self.weight = 1  #: how many equal leads a decision that is applied stands for
        self.served: frozenset[str] = frozenset(Channel)
        self.filled = fill
        self._versions: dict[tuple[UUID, int], Version] = {}

    # --- World --------------------------------------------------------------------------------------------------------

    def lead(self, lead_id: UUID) -> Lead | None:
        return self._state(lead_id, Lead)

    def enrollment(self, enrollment_id: UUID) -> Enrollment | None:
        return self._state(enrollment_id, Enrollment)

    def task(self, task_id: UUID) -> Task | None:
        return self._state(task_id, Task)

    def engagement(self, engagement_id: UUID) -> Engagement | None:
        return self._state(engagement_id, Engagement)

    def sequence(self, sequence_id: UUID) -> Sequence | None:
        return self._state(sequence_id, Sequence)

    def bulk(self, bulk_id: UUID) -> Bulk | None:
        return self._state(bulk_id, Bulk)

    def funnel(self, aggregate_id: UUID) -> Funnel | None:
        return self._state(aggregate_id, Funnel)

    def organization(self, organization_id: str) -> Organization | None:
        return self._state(organization_aggregate(organization_id), Organization)

    def version(self, sequence_id: UUID, version: int) -> Version | None:
        return self._versions.get((sequence_id, version))

    def catalogue(self, organization_id: str) -> list[CatalogueEntry]:
        states = (self.sequence(sequence_id) for sequence_id, _ in self._versions)
        found = {state.id: state for state in states if state is not None and state.organization_id == organization_id}
        return [
            CatalogueEntry(state.id, state.version, state.published, state.funnels, state.narrowed)
            for state in found.values()
            if state.status == "active" and state.published is not None
        ]

    def lead_by_identity(self, organization_id: str, kind: str, normalised: str) -> UUID | None:
        return self.identities.get((organization_id, kind, normalised))

    def suppression(self, organization_id: str, channel: str, address: str) -> str | None:
        if not self.suppressions:
            return None
        for form in (address, address.rpartition("@")[2]):
            reason = self.suppressions.get(
                (organization_id, channel, self.address_hash(organization_id, channel, form))
            )
            if reason is not None:
                return reason
        return None

    def address_hash(self, organization_id: str, channel: str, address: str) -> str:
        return hashlib.blake2b(f"{organization_id}\x1f{channel}\x1f{address}".encode(), digest_size=16).hexdigest()

    def quota_used(self, organization_id: str, scope: str, slot: str) -> int:
        return self.quotas.get((organization_id, scope, slot), 0)

    def figures(self, organization_id: str, kind: str) -> Mapping[str, int]:
        return self.counted.get((organization_id, kind), {})

    def active_sequences(self, organization_id: str) -> int:
        return len(self.catalogue(organization_id))

    def channel_consumed(self, channel: str) -> bool:
        return bool(channel) and self.consumed

    def serves(self, channel: str) -> bool:
        return channel in self.served

    def draw(self, *parts: object) -> float:
        seeded = parts if self.seed is None else (self.seed, *parts)
        text = "\x1f".join(str(part) for part in seeded)
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big") / float(1 << 56)

    # --- driving it -------------------------------------------------------------------------------------------------

    def send(
        self, message: Message, *, organization_id: str | None = "demo", message_id: str = "", actor: str | None = None
    ) -> Decision:
        """Decides a message and applies the decision. Raises what ``handle`` raises, and then nothing has changed but
        for what the refusal records.
        """
        envelope = Envelope(
            id=message_id, message=message, source="memory", time=self.now, organization_id=organization_id, actor=actor
        )
        try:
            decision = handle(envelope, self)
        except DomainError as refusal:
            if refusal.recorded is not None:
                self.apply(refusal.recorded)
            raise
        self.apply(decision)
        return decision

    def hold(self, *states: State) -> None:
        """Puts states in place as they are, without a log."""
        for state in states:
            is_organization = isinstance(state, Organization)
            self.states[organization_aggregate(state.id) if is_organization else UUID(str(state.id))] = state

    def publish(self, organization_id: str, sequence_id: UUID, version: int, definition: SequenceDefinition) -> Version:
        """Makes a definition the running version of an active sequence, without a log."""
        compiled = self._versions[sequence_id, version] = compile_version(sequence_id, version, definition)
        self.hold(Sequence(sequence_id, organization_id, life="active", version=version, published=definition))
        return compiled

    def apply(self, decision: Decision, rows: Rows | None = None) -> Rows:
        """Takes events, states and rows over; ``rows`` when they are known already."""
        rows = rows or rows_of(decision, self)
        for change in decision.changes:
            self.log.append(change)
            if isinstance(change.event, SequencePublished):
                key = (change.id, change.event.version)
                self._versions[key] = compile_version(*key, change.event.definition)
        self.states.update(decision.states)
        self._take(rows)
        return rows

    def advance(self, by: timedelta) -> None:
        """Lets time pass, by both clocks."""
        self.now += by
        self.wall_now += by

    def due(self) -> list[Timer]:
        """Timers that are due, earliest first."""
        found = [
            timer
            for timer in self.timers.values()
            if timer.due_at is not None
            and timer.due_at <= (self.wall_now if timer.timer_class == TimerClass.WATCHDOG else self.now)
        ]
        return sorted(found, key=lambda timer: (timer.due_at, timer.aggregate_id))

    def wake(self, timer: Timer) -> Decision:
        """Rings one timer."""
        return self.send(wake_order(timer), organization_id=timer.organization_id)

    def stop_companies(self) -> list[Decision]:
        """Gives the orders of every company's stop, as the clerk does."""
        decisions: list[Decision] = []
        while self.company_stops:
            stop = self.company_stops.pop(0)
            for lead_id, company in sorted(self.companies.items()):
                if company == (stop.organization_id, stop.hash):
                    command = StopForCompany.model_validate(
                        {
                            "lead_id": lead_id,
                            "sequence_id": stop.sequence_id,
                            "enrollment_id": stop.enrollment_id,
                            "signal": stop.signal,
                            "do": stop.do,
                            "company_hash": stop.hash,
                        }
                    )
                    decisions.append(self.send(command, organization_id=stop.organization_id))
        return decisions

    def _take(self, rows: Rows) -> None:
        self.companies.update({row.lead_id: (row.organization_id, row.hash) for row in rows.companies})
        self.company_stops += rows.company_stops
        for erased in rows.erased:
            self.companies.pop(erased, None)
        for timer in rows.timers:
            self.timers[timer.aggregate_id, timer.name] = timer
        for timer_key in rows.timers_gone:
            self.timers.pop(timer_key, None)
        for wake in rows.woken:
            self._wake_waiting(wake)
        for organization_id, scope, slot in rows.quotas_given_back:
            self.quotas[organization_id, scope, slot] = max(
                0, self.quotas.get((organization_id, scope, slot), 0) - self.weight
            )
            self.full_slots.free(organization_id, scope, *parsed(slot))
        for take in rows.quotas:
            quota_key = (take.organization_id, take.scope, take.slot)
            self.quotas[quota_key] = self.quotas.get(quota_key, 0) + self.weight
            assert self.quotas[quota_key] <= take.limit, f"{quota_key} is over its limit"
        for claim in rows.claims:
            self.identities[claim.organization_id, claim.kind, claim.normalised] = claim.lead_id
        for suppression in rows.suppressions:
            self.suppressions[suppression.organization_id, suppression.channel, suppression.hash] = suppression.reason
        for suppression_key in rows.suppressions_gone:
            self.suppressions.pop(suppression_key, None)
        self._count(rows.figures)
        for figures_key in rows.figures_gone:
            self.counted.pop(figures_key, None)
        for lead_id in rows.erased:
            self.identities = {key: owner for key, owner in self.identities.items() if owner != lead_id}

    def _wake_waiting(self, wake: Wake) -> None:
        for key, timer in self.timers.items():
            if timer.organization_id != wake.organization_id or timer.timer_class == TimerClass.WATCHDOG:
                continue
            waits = timer.blocked_on is None and timer.due_at is not None and timer.due_at > wake.at
            if timer.blocked_on == wake.blocked_on if wake.blocked_on is not None else waits:
                self.timers[key] = timer._replace(due_at=wake.at, blocked_on=None)

    def _count(self, figures: Iterable[Figure]) -> None:
        for figure in figures:
            counts = self.counted.setdefault((figure.organization_id, figure.kind), {})
            of_one = figure.kind.startswith(OF_LEAD)  # each of many leads has its own
            counts[figure.key] = counts.get(figure.key, 0) + figure.add * (1 if of_one else self.weight)

    def _state(self, aggregate_id: UUID, cls: type[T]) -> T | None:
        state = self.states.get(aggregate_id)
        return state if isinstance(state, cls) else None


def wake_order(timer: Timer) -> WakeTimer:
    """What a timer says when it rings."""
    return WakeTimer(
        enrollment_id=timer.aggregate_id,
        execution=timer.execution,
        attempt=timer.attempt,
        timer_class=timer.timer_class,
    )
