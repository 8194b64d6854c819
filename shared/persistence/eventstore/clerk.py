"""On PostgreSQL: who is the clerk, and hearing of appends by other processes. Each has a connection of its own."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, Self

import psycopg

from shared.persistence.eventstore.errors import StoreUnavailable
from shared.persistence.eventstore.wakeup import Wakeup

CHANNEL = "tendril_events"
_CLERK = 0x7E9D_71C1  # the advisory lock of the clerk
PING_SECONDS = 5.0
#: The server ends the session of a clerk that is silent for this long: frozen, or cut off. Another then becomes the
#: clerk.
SESSION_TIMEOUT_SECONDS = 30
#: Without an answer for this long the right is looked at again before it is relied on. Well below the session's
#: timeout.
TRUST_SECONDS = 10.0
#: How often a listener that hears nothing looks for itself.
LOOK_SECONDS = 5.0
_RECONNECT_SECONDS = 0.5

Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresClerkLock:
    """An advisory lock of a session kept alive from a thread of its own: a frozen process keeps nothing alive."""

    def __init__(self, conninfo: Mapping[str, Any]) -> None:
        self._conninfo = dict(conninfo)
        self._lock = Lock()
        self._connection: Connection | None = None
        self._answered_at = 0.0
        self._ended = Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> bool:
        with self._lock:
            if self._connection is not None and self._ping():
                return True
            try:
                connection: Connection = psycopg.connect(**self._conninfo, autocommit=True)
                connection.execute(f"SET idle_session_timeout = '{SESSION_TIMEOUT_SECONDS}s'".encode())
                row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_CLERK,)).fetchone()
            except psycopg.Error as error:
                raise StoreUnavailable(f"the event store is not available: {error}") from error
            if row != (True,):
                connection.close()
                return False
            self._connection = connection
            self._answered_at = monotonic()
            self._ended = Event()
            Thread(target=self._keep_alive, args=(self._ended,), name="clerk-lock", daemon=True).start()
            return True

    def held(self) -> bool:
        with self._lock:
            if self._connection is None:
                return False
            return monotonic() - self._answered_at < TRUST_SECONDS or self._ping()

    def release(self) -> None:
        with self._lock:
            self._drop()

    def _keep_alive(self, ended: Event) -> None:
        while not ended.wait(PING_SECONDS):
            with self._lock:
                if ended.is_set() or not self._ping():
                    return

    def _ping(self) -> bool:
        """Does the session live? One that does not is given up."""
        if self._connection is None:
            return False
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error:
            self._drop()
            return False
        self._answered_at = monotonic()
        return True

    def _drop(self) -> None:
        self._ended.set()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Listener:
    """Signals a wakeup for every append of any process; connects again when the line is lost."""

    def __init__(self, conninfo: Mapping[str, Any], wakeup: Wakeup) -> None:
        self._conninfo = dict(conninfo)
        self._wakeup = wakeup
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="event-listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except psycopg.Error:
                self._stopped.wait(_RECONNECT_SECONDS)

    def _listen(self) -> None:
        with psycopg.connect(**self._conninfo, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}".encode())
            looked_at = -LOOK_SECONDS
            while not self._stopped.is_set():
                if monotonic() - looked_at >= LOOK_SECONDS:
                    row = connection.execute("SELECT max(notification_id) FROM stored_events").fetchone()
                    self._wakeup.signal((row and row[0]) or 0)
                    looked_at = monotonic()
                for notice in connection.notifies(timeout=0.5, stop_after=1):
                    self._wakeup.signal(int(notice.payload))
