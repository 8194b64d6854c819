"""What the event store can answer instead of positions.

StoreError
├── AppendConflict      nothing was written; decide again on fresh state
│   ├── InboxDuplicate    a message was handled before
│   ├── StaleVersion      an aggregate that was read has moved on
│   ├── IdentityTaken     an identity belongs to another lead
│   └── QuotaExceeded     a limit has no place left
├── StoreUnavailable    locked, down, read-only or full; nobody's fault but the store's
├── SyncFailed          an I/O error: what is on disk is unknown, the process must stop
├── UnreadableLog       an aggregate cannot be loaded because of one of its events
└── StoreRefused        the store cannot be opened as asked
    ├── StoreInUse        another process holds the SQLite file
    ├── WrongMasterKey    the master key does not open this store
    ├── PartitionsDiffer  the store was made with another number of partitions
    └── SchemaUnknown     the store was written by a newer version
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.persistence.eventstore.effects import IdentityRow, InboxKey, QuotaKey


class StoreError(Exception):
    """The event store did not do what was asked."""


class AppendConflict(StoreError):
    """Nothing was written; decide again on fresh state."""


class InboxDuplicate(AppendConflict):
    """A message was handled before. ``keys``: which; their answers are in the inbox."""

    def __init__(self, keys: Sequence[InboxKey]) -> None:
        self.keys = list(keys)
        super().__init__(f"{len(self.keys)} message(s) were handled before: {self.keys[:3]}")


class StaleVersion(AppendConflict):
    """An aggregate that was read has moved on. ``aggregate_ids``: which."""

    def __init__(self, aggregate_ids: Sequence[UUID]) -> None:
        self.aggregate_ids = list(aggregate_ids)
        super().__init__(
            f"{len(self.aggregate_ids)} aggregate(s) have moved on: {[str(i) for i in self.aggregate_ids[:3]]}"
        )


class IdentityTaken(AppendConflict):
    """An identity belongs to another lead. ``rows``: as they stand in the store, with the lead that holds them."""

    def __init__(self, rows: Sequence[IdentityRow]) -> None:
        self.rows = list(rows)
        super().__init__(f"{len(self.rows)} identity(ies) belong to another lead")


class QuotaExceeded(AppendConflict):
    """A limit has no place left. ``slots``: which."""

    def __init__(self, slots: Sequence[QuotaKey]) -> None:
        self.slots = list(slots)
        super().__init__(f"{len(self.slots)} limit(s) have no place left: {self.slots[:3]}")


class StoreUnavailable(StoreError):
    """The store is locked, down, read-only or full.

    ``outcome_unknown`` is True when the connection was lost while committing: the append may have happened. The inbox
    and the versions tell; a repeated append of the same events cannot be written twice.
    """

    def __init__(self, problem: str, *, outcome_unknown: bool = False) -> None:
        self.problem = problem
        self.outcome_unknown = outcome_unknown
        super().__init__(problem)


class SyncFailed(StoreError):
    """An I/O error: what is on disk is unknown, the process must stop."""


class UnreadableLog(StoreError):
    """An aggregate cannot be loaded because of one of its events."""

    def __init__(self, aggregate_id: UUID, version: int, topic: str, problem: str) -> None:
        self.aggregate_id = aggregate_id
        self.version = version
        self.topic = topic
        super().__init__(f"event {version} of {aggregate_id} ({topic}) cannot be read: {problem}")


class StoreRefused(StoreError):
    """The store cannot be opened as asked."""


class StoreInUse(StoreRefused):
    """Another process holds the SQLite file."""

    def __init__(self, path: str, holder: str) -> None:
        self.path = path
        self.holder = holder
        super().__init__(
            f"the event store {path} is in use by {holder or 'another process'}: with SQLite there is one enrollment "
            "process; stop the other, or use PostgreSQL"
        )


class WrongMasterKey(StoreRefused):
    """The master key does not open this store."""

    def __init__(self) -> None:
        super().__init__("TENDRIL_MASTER_KEY does not open this event store: give the key the store was made with")


class PartitionsDiffer(StoreRefused):
    """The store was made with another number of partitions."""

    def __init__(self, stored: int, wanted: int) -> None:
        self.stored = stored
        self.wanted = wanted
        super().__init__(
            f"TENDRIL_PARTITIONS is {wanted}, but this event store was made with {stored}, and that is fixed"
        )


class SchemaUnknown(StoreRefused):
    """The store was written by a newer version."""

    def __init__(self, stored: int, known: int) -> None:
        super().__init__(
            f"this event store has schema version {stored}, this program knows up to {known}: use a newer program"
        )
