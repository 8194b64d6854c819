"""What the decisions of one batch may know: the store as it is, and on top of it what the batch has decided so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from uuid import UUID

from services.enrollment.domain.flow import Version, compile_version
from services.enrollment.domain.full_slots import FullSlots
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.work import organization_aggregate
from services.enrollment.domain.world import CatalogueEntry
from services.enrollment.slot_counts import SlotCounts
from services.enrollment.states import Known, States
from services.enrollment.texts import filled
from shared.clock import Clock
from shared.events.sequence import SequencePublished
from shared.identity import domain_of
from shared.messaging.topology import SERVED_CHANNELS
from shared.persistence.eventstore import Effects, EventStore, IdentityKey

if TYPE_CHECKING:
    from services.enrollment.domain.handling import Decision


class Versions:
    """Published versions, compiled. They never change, so a bounded cache is always right."""

    def __init__(self, store: EventStore, *, capacity: int = 256) -> None:
        self._store = store
        self._read = lru_cache(maxsize=capacity)(self._load)

    def get(self, sequence_id: UUID, version: int) -> Version | None:
        try:
            return self._read(sequence_id, version)
        except KeyError:
            return None

    def _load(self, sequence_id: UUID, version: int) -> Version:
        for envelope in self._store.load(sequence_id):
            event = envelope.message
            if isinstance(event, SequencePublished) and event.version == version:
                return compile_version(sequence_id, version, event.definition)
        raise KeyError((sequence_id, version))  # not cached: it may be published later


class BatchWorld:
    """The World of one batch (see domain/world.py). Used by the writer thread alone.

    ``now`` is business time and ``wall_now`` machine time, both fixed for the batch, so that every decision of it
    sees the same moment.
    """

    def __init__(
        self,
        store: EventStore,
        states: States,
        versions: Versions,
        clock: Clock,
        channel_consumed: Callable[[str], bool],
        full_slots: FullSlots,
    ) -> None:
        self._store = store
        self._states = states
        self._versions = versions
        self.channel_consumed = channel_consumed
        self.now: datetime = clock.now()
        self.wall_now: datetime = clock.wall()
        self.decided: dict[UUID, Known] = {}
        self.base_versions: dict[UUID, int] = {}  #: the version at which each aggregate was read; 0: there was none
        self._seen: dict[UUID, Known] = {}  #: everything read, as the batch has left it
        self._catalogues: dict[str, list[CatalogueEntry]] = {}
        self._identities: dict[IdentityKey, UUID | None] = {}
        self._suppressions: dict[tuple[str, str, str], str | None] = {}
        self._keys_of: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}  #: by organization, channel, address
        self._figures: dict[tuple[str, str], dict[str, int]] = {}
        self._unasked: dict[tuple[str, str], dict[str, int]] = {}  #: what the batch added to figures not read yet
        self._quotas = SlotCounts(store)
        self.full_slots = full_slots

    # --- what a decision may ask ------------------------------------------------------------------------------------

    def lead(self, lead_id: UUID) -> Any:
        return self._known(lead_id).state

    enrollment = task = sequence = engagement = bulk = funnel = lead

    def organization(self, organization_id: str) -> Any:
        return self._known(organization_aggregate(organization_id)).state

    def version(self, sequence_id: UUID, version: int) -> Version | None:
        """Versions published in this very batch are read from the state that published them."""
        decided = self.decided.get(sequence_id)
        if decided is not None and decided.state.version == version:
            return compile_version(sequence_id, version, decided.state.published)
        return self._versions.get(sequence_id, version)

    def catalogue(self, organization_id: str) -> list[CatalogueEntry]:
        entries = self._catalogues.get(organization_id)
        if entries is None:
            entries = []
            for row in self._store.catalogue(organization_id):
                state = self._known(row.sequence_id).state
                if state is not None and state.status == "active":
                    entries.append(
                        CatalogueEntry(row.sequence_id, state.version, state.published, state.funnels, state.narrowed)
                    )
            self._catalogues[organization_id] = entries
        return entries

    def lead_by_identity(self, organization_id: str, kind: str, normalised: str) -> UUID | None:
        key = IdentityKey(organization_id, kind, self._store.hash_identity(organization_id, kind, normalised))
        if key not in self._identities:
            self._identities[key] = self._store.identities([key]).get(key)
        return self._identities[key]

    def suppression(self, organization_id: str, channel: str, address: str) -> str | None:
        keys = self._suppression_keys(organization_id, channel, address)
        if any(key not in self._suppressions for key in keys):
            self._read_suppressions(keys)
        return next((reason for key in keys if (reason := self._suppressions[key])), None)

    def prefetch_suppressions(self, addresses: Iterable[tuple[str, str, str]]) -> None:
        """Reads what (organization, channel, address) of the whole batch need in one query for each organization."""
        self._read_suppressions([key for each in addresses for key in self._suppression_keys(*each)])

    def _suppression_keys(self, organization_id: str, channel: str, address: str) -> list[tuple[str, str, str]]:
        about = (organization_id, channel, address)
        keys = self._keys_of.get(about)
        if keys is None:
            forms = [address, domain_of(address)] if "@" in address else [address]
            keys = self._keys_of[about] = [
                (organization_id, channel, self._store.hash_address(organization_id, channel, form)) for form in forms
            ]
        return keys

    def _read_suppressions(self, keys: Iterable[tuple[str, str, str]]) -> None:
        wanted: dict[str, set[tuple[str, str]]] = {}
        for key in keys:
            if key not in self._suppressions:
                self._suppressions[key] = None
                wanted.setdefault(key[0], set()).add((key[1], key[2]))
        for organization_id, pairs in wanted.items():
            for (channel, hashed), reason in self._store.suppressed(organization_id, pairs).items():
                self._suppressions[(organization_id, channel, hashed)] = reason

    def address_hash(self, organization_id: str, channel: str, address: str) -> str:
        return self._store.hash_address(organization_id, channel, address)

    def quota_used(self, organization_id: str, scope: str, slot: str) -> int:
        return self._quotas.get((organization_id, scope, slot))

    def active_sequences(self, organization_id: str) -> int:
        return len(self.catalogue(organization_id))

    def figures(self, organization_id: str, kind: str) -> Mapping[str, int]:
        about = (organization_id, kind)
        known = self._figures.get(about)
        if known is None:
            known = self._figures[about] = self._store.figures(*about)
            for key, added in self._unasked.pop(about, {}).items():
                known[key] = known.get(key, 0) + added
        return known

    def serves(self, channel: str) -> bool:
        return channel in SERVED_CHANNELS

    def filled(self, template: str, lead: Lead | None) -> str:
        return filled(template, lead)

    def draw(self, *parts: object) -> float:
        """A number from 0 to 1 that depends on ``parts`` alone."""
        text = "\x1f".join(str(part) for part in parts)
        return int.from_bytes(blake2b(text.encode(), digest_size=7).digest()) / float(1 << 56)

    # --- what the batch does with a decision ------------------------------------------------------------------------

    def accept(self, decision: Decision) -> None:
        """Takes a decision over: later decisions of the batch see it."""
        for change in decision.changes:
            if change.aggregate == "sequence":
                self._catalogues.pop(change.organization_id, None)
        written: dict[UUID, int] = {}
        for change in decision.changes:
            written[change.id] = written.get(change.id, 0) + 1
        for aggregate_id, state in decision.states.items():
            known = Known(self._known(aggregate_id).version + written.get(aggregate_id, 0), state)
            self.decided[aggregate_id] = self._seen[aggregate_id] = known

    def foresee(self, effects: Effects) -> None:
        """What a decision writes beside its events, as later decisions of the batch must see it."""
        for identity in effects.identities:
            name = IdentityKey(identity.organization_id, identity.kind, identity.hash)
            if self._identities.get(name) is None:
                self._identities[name] = identity.lead_id
        for suppression in effects.suppressions:
            self._suppressions[(suppression.organization_id, suppression.channel, suppression.hash)] = (
                suppression.reason
            )
        for gone in effects.suppressions_gone:
            self._suppressions[(gone[0], gone[1], gone[2])] = None
        for figure in effects.figures:
            about = (figure.organization_id, figure.kind)
            counted = self._figures.get(about)
            if counted is None:
                counted = self._unasked.setdefault(about, {})
            counted[figure.key] = counted.get(figure.key, 0) + figure.add
        if effects.quotas or effects.quotas_given_back:
            self._quotas.foresee(effects, self.full_slots)

    def version_of(self, aggregate_id: UUID) -> int:
        return self._known(aggregate_id).version

    def _known(self, aggregate_id: UUID) -> Known:
        known = self._seen.get(aggregate_id)
        if known is None:
            known = self._seen[aggregate_id] = self._states.get(aggregate_id)
            self.base_versions[aggregate_id] = known.version
        return known
