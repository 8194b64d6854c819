"""What the store needs of a database, beyond the library's recorder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self

from eventsourcing.persistence import StoredEvent

from shared.persistence.eventstore.batch import Batch
from shared.persistence.eventstore.tables.session import Session
from shared.persistence.eventstore.wakeup import Wakeup


class ClerkLock(Protocol):
    """The right to be the clerk of a store. Usable as a context; ``release`` may be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def acquire(self) -> bool:
        """True when this process is the clerk now; False while another is. Raises StoreUnavailable."""

    def held(self) -> bool:
        """Still the clerk? Asked before each thing a clerk does; False once the right may have gone to another."""

    def release(self) -> None:
        """Lets another be the clerk."""


class Recorder(Protocol):
    """One of the two recorders. Errors of the drivers come out as StoreUnavailable or SyncFailed."""

    wakeup: Wakeup

    def append(self, events: Sequence[StoredEvent], batch: Batch) -> list[int]:
        """Writes everything in one transaction; positions of the events."""

    def reading(self) -> AbstractContextManager[Session]:
        """A transaction that reads, on a connection of its own."""

    def reading_together(self) -> AbstractContextManager[None]:
        """Until its end, every ``reading`` of this thread shares one transaction."""

    def writing(self, *, durable: bool = True) -> AbstractContextManager[Session]:
        """A transaction that writes side tables. ``durable`` False lets a crash of the machine undo it."""

    def clerk_lock(self) -> ClerkLock: ...

    def listen(self) -> None:
        """From now on ``wakeup`` hears of appends by any process."""

    def close(self) -> None: ...
