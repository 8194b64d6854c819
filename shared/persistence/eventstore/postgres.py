"""The store on PostgreSQL: any number of processes, one appending at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any, NoReturn, cast
from uuid import UUID

import psycopg
from eventsourcing.persistence import InterfaceError, OperationalError, StoredEvent
from eventsourcing.persistence import PersistenceError as LibraryError
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row, tuple_row

from shared.faults import crash_point
from shared.persistence.eventstore.batch import Batch, write_batch
from shared.persistence.eventstore.clerk import CHANNEL, Listener, PostgresClerkLock
from shared.persistence.eventstore.errors import StoreUnavailable, SyncFailed
from shared.persistence.eventstore.recorder import ClerkLock
from shared.persistence.eventstore.tables.schema import postgres_statements
from shared.persistence.eventstore.tables.session import EVERYWHERE, Rows, Session, Within, Write, unnest
from shared.persistence.eventstore.together import Together
from shared.persistence.eventstore.wakeup import Wakeup

LOCK_TIMEOUT_SECONDS = 5
CONNECT_TIMEOUT_SECONDS = 5
#: A process frozen inside an append loses its transaction, and with it the lock, after this long.
IDLE_IN_TRANSACTION_SECONDS = 10
MAX_CONNECTIONS = 16
#: A line that is cut without a word is noticed within about 15 s.
KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 15_000}
#: Tables that a store made by an earlier release lacks, and the last one made.
_NEWEST = ("company_stops", "timer_wakes", "append_lock")
_MAKING = 0x7E9D_711A  # the advisory lock under which tables are made

Cursor = psycopg.Cursor[tuple[Any, ...]]


# What is joined to a column keeps PostgreSQL from finding it by an index.
_WAKE = (
    "UPDATE timers SET "
    "due_at = ? + ('x' || right(aggregate_id::text, 8))::bit(32)::bigint * ? / 4294967296 * 1000, "
    "blocked_on = NULL WHERE organization_id{0} = ? AND blocked_on{0} = ?"
)
_ADVANCE = (
    "UPDATE timers SET due_at = "
    "least(due_at, ? + ('x' || right(aggregate_id::text, 8))::bit(32)::bigint * ? / 4294967296 * 1000) "
    "WHERE class IN (0, 1) AND organization_id{0} = ? AND due_at > ? AND blocked_on IS NULL"
)


def _within(update: str, within: Within) -> str:
    """A page is found by its aggregates: an index would go through every timer of the organization, which the planner
    likes while it knows little of the table."""
    return update.format("" if within == EVERYWHERE else " || ''") + within.condition


class PostgresSession(Session):
    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def uid(self, value: UUID) -> UUID:
        return value

    def uuid(self, value: Any) -> UUID:
        return cast(UUID, value)

    def uuid_text(self, value: Any) -> str:
        return str(value)

    def take_write_lock(self) -> None:
        """On a table of its own, and before any row is touched: appends meet here and nowhere else, so they cannot
        deadlock.
        """
        self._cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        self._cursor.execute("LOCK TABLE append_lock IN EXCLUSIVE MODE")

    def rows(self, sql: str, params: Sequence[Any] = ()) -> Rows:
        return self._cursor.execute(_native(sql), params).fetchall()

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        return self._cursor.execute(_native(sql), params).rowcount

    def write(self, statement: Write, rows: Sequence[tuple[Any, ...]]) -> int:
        return self._cursor.execute(
            statement.postgres_sql.encode(), [list(column) for column in zip(*rows, strict=True)]
        ).rowcount

    def keyed(self, sql: str, types: tuple[str, ...], keys: Sequence[tuple[Any, ...]]) -> Rows:
        columns = [list(column) for column in zip(*keys, strict=True)]
        return self._cursor.execute(_keyed(sql, types), columns).fetchall()

    def wake_timers(
        self, blocked_on: str, organization_id: str, at: int, spread_ms: int, within: Within = EVERYWHERE
    ) -> int:
        return self.run(
            _within(_WAKE, within),
            (at, spread_ms, organization_id, blocked_on, *within.params),
        )

    def advance_timers(self, organization_id: str, at: int, spread_ms: int, within: Within = EVERYWHERE) -> int:
        return self.run(
            _within(_ADVANCE, within),
            (at, spread_ms, organization_id, at, *within.params),
        )

    def first_timers(self, timer_class: int, organizations: Sequence[str], due_by: int, limit: int) -> Rows:
        return self.rows(
            "SELECT t.* FROM unnest(?::text[]) WITH ORDINALITY AS o(id, nth) CROSS JOIN LATERAL ("
            "SELECT aggregate_id, name, organization_id, class, due_at, blocked_on, execution, attempt FROM timers "
            "WHERE class = ? AND organization_id = o.id AND due_at IS NOT NULL AND due_at <= ? ORDER BY due_at LIMIT ?"
            ") AS t ORDER BY o.nth, t.due_at",
            (list(organizations), timer_class, due_by, limit),
        )

    def signal_appended(self, position: int) -> None:
        self.rows("SELECT pg_notify(?, ?)", (CHANNEL, str(position)))


@lru_cache(maxsize=256)
def _native(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()


@lru_cache(maxsize=256)
def _keyed(sql: str, types: tuple[str, ...]) -> bytes:
    return sql.replace("{keys}", unnest(types, "k")).encode()


class _Datastore(PostgresDatastore):
    """The library's datastore with connections that notice a dead line, looked at before they are given out."""

    def __init__(self, dsn: str, name: str) -> None:
        info = {
            **KEEPALIVES,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "application_name": name,
            **conninfo_to_dict(dsn),
        }
        super().__init__(
            dbname=str(info.get("dbname", "")),
            host=str(info.get("host", "")),
            port=str(info.get("port", "")),
            user=str(info.get("user", "")),
            password=str(info.get("password", "")),
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            idle_in_transaction_session_timeout=IDLE_IN_TRANSACTION_SECONDS,
            pool_size=1,
            max_overflow=MAX_CONNECTIONS - 1,
            pre_ping=True,
            lock_timeout=LOCK_TIMEOUT_SECONDS,
            enable_db_functions=False,
        )
        self.conninfo = info
        self.pool.kwargs = {**info, "row_factory": dict_row}


class PostgresRecorder(PostgresApplicationRecorder):
    """The library's recorder; its hook takes the lock and writes the side tables in the events' transaction.

    The library's way of appending is replaced: it works in pipeline mode, where row counts say nothing before the end,
    and repeats an append up to ten times when the connection fails, which would turn an append that did happen into a
    conflict with itself.
    """

    datastore: _Datastore

    def __init__(self, dsn: str, *, name: str = "tendril") -> None:
        self.wakeup = Wakeup()
        self._together = Together(self._reading)
        self._listener: Listener | None = None
        self._listener_lock = Lock()
        datastore = _Datastore(dsn, name)
        try:
            with _translated():
                super().__init__(datastore)
            self.create_table()
        except BaseException:
            datastore.close()
            raise

    def create_table(self) -> None:
        """Makes the tables in one transaction, one process at a time; a schema that is there is left alone."""
        with self._transaction() as cursor:
            if all(cursor.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,) for table in _NEWEST):
                return
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_MAKING,))
            for statement in postgres_statements():
                cursor.execute(statement.encode())

    def append(self, events: Sequence[StoredEvent], batch: Batch) -> list[int]:
        positions = cast(list[int], self.insert_events(events, batch=batch))
        crash_point("store.after_commit")
        if positions:
            self.wakeup.signal(positions[-1])
        return positions

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        with self._transaction() as cursor:
            return self._insert_events(cursor, stored_events, **kwargs)

    def _insert_events(self, curs: Any, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:  # type: ignore[override]
        return write_batch(PostgresSession(curs), stored_events, kwargs["batch"])

    def reading(self) -> AbstractContextManager[Session]:
        return self._together.reading()

    def reading_together(self) -> AbstractContextManager[None]:
        return self._together.opened()

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._transaction() as cursor:
            yield PostgresSession(cursor)

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Session]:
        with self._transaction() as cursor:
            if not durable:
                cursor.execute("SET LOCAL synchronous_commit = off")
            yield PostgresSession(cursor)

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        with _translated() as progress, self.datastore.get_connection() as connection:
            with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
                yield cursor
                progress.committing = True
            progress.committing = False

    def clerk_lock(self) -> ClerkLock:
        return PostgresClerkLock(self.datastore.conninfo)

    def listen(self) -> None:
        with self._listener_lock:
            if self._listener is None:
                self._listener = Listener(self.datastore.conninfo, self.wakeup)
                self._listener.start()

    def close(self) -> None:
        self.wakeup.close()
        with self._listener_lock:
            if self._listener is not None:
                self._listener.stop()
        self.datastore.close()


class _Progress:
    committing = False


_STOP_STATES = {"58030", "XX001", "XX002"}
_READ_ONLY = "25006"


@contextmanager
def _translated() -> Iterator[_Progress]:
    """Errors of driver and pool as StoreUnavailable or SyncFailed."""
    progress = _Progress()
    try:
        yield progress
    except (psycopg.Error, LibraryError) as error:
        _raise(error, outcome_unknown=progress.committing)


def _raise(error: Exception, *, outcome_unknown: bool) -> NoReturn:
    driver = error if isinstance(error, psycopg.Error) else error.__cause__
    state = driver.sqlstate if isinstance(driver, psycopg.Error) else None
    text = " ".join(str(error).split())
    if state in _STOP_STATES:
        raise SyncFailed(f"the event store's database failed: {text}") from error
    away = isinstance(error, (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError))
    if away or state == _READ_ONLY:
        raise StoreUnavailable(f"the event store is not available: {text}", outcome_unknown=outcome_unknown) from error
    raise error
