"""States of aggregates: folded from the store, kept in a bounded cache that is filled after commit and dropped on
conflict."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple, cast
from uuid import UUID

from services.enrollment.domain.handling import evolve_any
from shared.events.envelope import Envelope
from shared.events.message import Event, aggregate_of
from shared.persistence.eventstore import EventStore

#: States kept by one process, about 2 kB each: enough for the leads and enrollments on the move, and no more memory
#: for those that wait.
CACHED_STATES = 12_000


class Known(NamedTuple):
    """An aggregate as far as it is known: ``version`` 0 and no state when it has no events."""

    version: int
    state: Any


NOTHING = Known(0, None)


def fold(envelopes: Iterable[Envelope], known: Known = NOTHING) -> Known:
    """The state after ``envelopes`` of one aggregate, in order."""
    version, state = known
    for envelope in envelopes:
        state = evolve_any(
            aggregate_of(envelope.topic),
            state,
            cast("Event", envelope.message),
            id=envelope.originator_id,
            organization_id=cast("str", envelope.organization_id),
            lead_id=envelope.lead_id,
            at=envelope.time,
        )
        version = envelope.originator_version
    return Known(version, state)


class States:
    """Reads aggregates through the cache. Safe to use from several threads.

    ``shared`` says that other processes write to the same store, so that a cached state may be stale: ``refresh``
    then compares versions.
    """

    def __init__(self, store: EventStore, *, shared: bool, capacity: int = CACHED_STATES) -> None:
        self._store = store
        self.shared = shared
        self._capacity = capacity
        self._cached: OrderedDict[UUID, Known] = OrderedDict()
        self._lock = Lock()

    def get(self, aggregate_id: UUID) -> Known:
        """The aggregate as cached, else as stored; what is read from the store is cached."""
        with self._lock:
            known = self._cached.get(aggregate_id)
            if known is not None:
                self._cached.move_to_end(aggregate_id)
                return known
        known = fold(self._store.load(aggregate_id))
        if known.version:
            self.put(aggregate_id, known)
        return known

    def prefetch(self, aggregate_ids: Iterable[UUID], *, note_absent: bool = False) -> list[Known]:
        """Reads those not cached in one query; answers all that exist, in no order. With ``note_absent`` it is kept,
        too, that one does not exist, for those that are about to be made.
        """
        found: list[Known] = []
        missing: list[UUID] = []
        with self._lock:
            for each in set(aggregate_ids):
                known = self._cached.get(each)
                if known is None:
                    missing.append(each)
                else:
                    found.append(known)
        if missing:
            loaded = {
                aggregate_id: fold(envelopes)
                for aggregate_id, envelopes in self._store.load_many(missing).items()
                if envelopes or note_absent
            }
            self.put_all(loaded)
            found += loaded.values()
        return [known for known in found if known.version]

    def refresh(self, aggregate_ids: Sequence[UUID]) -> set[UUID]:
        """Drops those that the store knows further, and names them. With an unshared store nothing can be stale."""
        if not self.shared or not aggregate_ids:
            return set()
        with self._lock:
            cached = {each: self._cached[each].version for each in aggregate_ids if each in self._cached}
        if not cached:
            return set()
        stored = self._store.versions_of(list(cached))
        stale = {each for each, version in cached.items() if stored.get(each, 0) != version}
        self.drop(stale)
        return stale

    def put(self, aggregate_id: UUID, known: Known) -> None:
        """Keeps a committed state; an older one never replaces a newer."""
        self.put_all({aggregate_id: known})

    def put_all(self, committed: Mapping[UUID, Known]) -> None:
        """The same for several."""
        cached = self._cached
        with self._lock:
            for aggregate_id, known in committed.items():
                before = cached.get(aggregate_id)
                if before is None:
                    cached[aggregate_id] = known
                elif before.version <= known.version:
                    cached[aggregate_id] = known
                    cached.move_to_end(aggregate_id)
            while len(cached) > self._capacity:
                cached.popitem(last=False)

    def drop(self, aggregate_ids: Iterable[UUID]) -> None:
        with self._lock:
            for each in aggregate_ids:
                self._cached.pop(each, None)
