"""Many reads of one thread in one transaction: a transaction costs more than most of the reads in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from shared.persistence.eventstore.tables.session import Session


class Together:
    """Lends the thread's open session to whoever reads meanwhile; without one every reader gets a transaction of its
    own."""

    def __init__(self, begin: Callable[[], AbstractContextManager[Session]]) -> None:
        self._begin = begin
        self._mine = threading.local()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """The thread's session, or a new one."""
        session: Session | None = getattr(self._mine, "session", None)
        if session is not None:
            yield session
            return
        with self._begin() as session:
            yield session

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Until its end, every read of this thread goes through one session."""
        with self._begin() as session:
            self._mine.session = session
            try:
                yield
            finally:
                self._mine.session = None
