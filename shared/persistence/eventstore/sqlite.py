"""The store on SQLite: one process, one writer, many readers."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import orjson
from eventsourcing.persistence import Notification, StoredEvent
from eventsourcing.persistence import PersistenceError as LibraryError
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)

from shared.faults import crash_point
from shared.persistence.eventstore.batch import Batch, write_batch
from shared.persistence.eventstore.errors import StoreInUse, StoreUnavailable, SyncFailed
from shared.persistence.eventstore.recorder import ClerkLock
from shared.persistence.eventstore.tables.schema import sqlite_statements
from shared.persistence.eventstore.tables.session import Rows, Session, Write
from shared.persistence.eventstore.wakeup import Wakeup

LOCK_TIMEOUT_SECONDS = 5
#: Pages of write-ahead log between checkpoints (16 MB): fewer, larger checkpoints cost an append less than many small ones.
CHECKPOINT_PAGES = 4_000
CACHE_KIB = 32_000
MMAP_BYTES = 256 * 1024 * 1024


class SqliteSession(Session):
    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def uid(self, value: UUID) -> str:
        return value.hex

    def uuid(self, value: Any) -> UUID:
        return UUID(value)

    def uuid_text(self, value: Any) -> str:
        return f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}"

    def take_write_lock(self) -> None:
        """The transaction began with BEGIN IMMEDIATE: it has the lock already."""

    def rows(self, sql: str, params: Sequence[Any] = ()) -> Rows:
        return self._cursor.execute(sql, params).fetchall()

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        return self._cursor.execute(sql, params).rowcount

    def write(self, statement: Write, rows: Sequence[tuple[Any, ...]]) -> int:
        return self._cursor.executemany(statement.sqlite, rows).rowcount

    def keyed(self, sql: str, types: tuple[str, ...], keys: Sequence[tuple[Any, ...]]) -> Rows:
        columns = ", ".join(
            f"json_extract(value, '$[{index}]') AS {name}" for index, name in enumerate("abcdefghij"[: len(types)])
        )
        source = f"(SELECT {columns} FROM json_each(?)) AS k"  # noqa: S608  no value goes in here
        return self._cursor.execute(
            sql.replace("{keys}", source), (orjson.dumps([tuple(key) for key in keys]).decode(),)
        ).fetchall()

    def wake_timers(self, blocked_on: str, organization_id: str, at: int, spread_ms: int) -> int:
        return self.run(
            "UPDATE timers SET due_at = ? + spread(aggregate_id, ?), blocked_on = NULL WHERE organization_id = ? AND blocked_on = ?",
            (at, spread_ms, organization_id, blocked_on),
        )

    def first_timers(self, timer_class: int, organizations: Sequence[str], due_by: int, limit: int) -> Rows:
        sql = (
            "SELECT aggregate_id, name, organization_id, class, due_at, blocked_on, execution, attempt FROM timers "
            "WHERE class = ? AND organization_id = ? AND due_at IS NOT NULL AND due_at <= ? ORDER BY due_at LIMIT ?"
        )
        return [
            row
            for organization_id in organizations
            for row in self._cursor.execute(sql, (timer_class, organization_id, due_by, limit)).fetchall()
        ]

    def signal_appended(self, position: int) -> None:
        """There is no other process to tell; this one is told after the commit."""


def _spread(aggregate_id: str, spread_ms: int) -> int:
    return int(aggregate_id[-8:], 16) * spread_ms // 2**32 * 1000


class _Pool(SQLiteConnectionPool):
    def _create_connection(self) -> SQLiteConnection:
        connection = super()._create_connection()
        raw = connection._sqlite_conn
        for pragma in (
            "synchronous = FULL",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
            f"cache_size = -{CACHE_KIB}",
            f"mmap_size = {MMAP_BYTES}",
            "temp_store = MEMORY",
        ):
            raw.execute(f"PRAGMA {pragma}")
        raw.create_function("spread", 2, _spread, deterministic=True)
        return connection


class _Datastore(SQLiteDatastore):
    """The library's datastore with a write lock taken at BEGIN, and no transaction left open by a commit that failed."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), lock_timeout=LOCK_TIMEOUT_SECONDS)
        self.pool = _Pool(
            db_name=str(path), lock_timeout=LOCK_TIMEOUT_SECONDS, pool_size=8, max_overflow=24, pool_timeout=30.0
        )

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        with self.raw_transaction(commit=commit) as cursor:
            cursor.row_factory = sqlite3.Row  # the library's own statements read columns by name
            yield SQLiteCursor(cursor)

    @contextmanager
    def raw_transaction(self, *, commit: bool, durable: bool = True) -> Iterator[sqlite3.Cursor]:
        with self.get_connection(commit=commit) as connection:
            raw = connection._sqlite_conn
            if not durable:
                raw.execute("PRAGMA synchronous = NORMAL")
            try:
                raw.execute("BEGIN IMMEDIATE" if commit else "BEGIN")
                cursor = raw.cursor()
                cursor.row_factory = None
                yield cursor
                raw.execute("COMMIT" if commit else "ROLLBACK")
            except BaseException:
                if raw.in_transaction:
                    try:
                        raw.execute("ROLLBACK")
                    except sqlite3.Error:
                        connection.close()
                raise
            finally:
                if not durable:
                    with suppress(sqlite3.Error):
                        raw.execute("PRAGMA synchronous = FULL")


class SqliteRecorder(SQLiteApplicationRecorder):
    """The library's recorder; its hook writes the side tables in the events' transaction."""

    datastore: _Datastore

    def __init__(self, path: Path) -> None:
        self.wakeup = Wakeup()
        self._path = path
        self._lock_file = _lock(path)
        try:
            super().__init__(_Datastore(path))
            with _translated():
                self.create_table()
        except BaseException:
            os.close(self._lock_file)
            raise

    def construct_create_table_statements(self) -> list[str]:
        return sqlite_statements()

    def append(self, events: Sequence[StoredEvent], batch: Batch) -> list[int]:
        with _translated():
            positions = cast(list[int], self.insert_events(events, batch=batch))
        crash_point("store.after_commit")
        if positions:
            self.wakeup.signal(positions[-1])
        return positions

    def _insert_events(self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        return write_batch(SqliteSession(c.sqlite_cursor), stored_events, kwargs["batch"])

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with _translated(), self.datastore.raw_transaction(commit=False) as cursor:
            yield SqliteSession(cursor)

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Session]:
        with _translated(), self.datastore.raw_transaction(commit=True, durable=durable) as cursor:
            yield SqliteSession(cursor)

    def clerk_lock(self) -> ClerkLock:
        return AlwaysClerk()

    def listen(self) -> None:
        """Every append comes from this process and signals by itself."""

    def close(self) -> None:
        self.wakeup.close()
        self.datastore.close()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """The library's way of reading the log; the store itself reads through ``reading``."""
        first = 0 if start is None else start if inclusive_of_start else start + 1
        with self.reading() as session:
            rows = session.rows(
                "SELECT notification_id, originator_id, originator_version, topic, state FROM stored_events "
                "WHERE notification_id >= ? AND (? IS NULL OR notification_id <= ?) AND (? = 0 OR topic IN (SELECT value FROM json_each(?))) "
                "ORDER BY notification_id LIMIT ?",
                (first, stop, stop, len(topics), orjson.dumps(list(topics)).decode(), limit),
            )
        return [
            Notification(UUID(aggregate), version, topic, state, position)
            for position, aggregate, version, topic, state in rows
        ]


class AlwaysClerk:
    """The one process on SQLite is always the clerk."""

    def __enter__(self) -> AlwaysClerk:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> bool:
        return True

    def held(self) -> bool:
        return True

    def release(self) -> None:
        """Nothing to give back: the file lock goes with the process."""


def _lock(path: Path) -> int:
    """Holds ``<path>.lock`` until the descriptor is closed. Raises StoreInUse."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailable(f"the event store {path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        raise StoreInUse(str(path), f"process {holder}" if holder else "") from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


_STOP_CODES = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the driver as StoreUnavailable or SyncFailed."""
    try:
        yield
    except (sqlite3.Error, LibraryError) as error:
        driver = error if isinstance(error, sqlite3.Error) else error.__cause__
        code = getattr(driver, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _STOP_CODES:
            raise SyncFailed(f"the event store's file failed: {error}") from error
        if isinstance(driver, sqlite3.OperationalError) or isinstance(error, LibraryError):
            raise StoreUnavailable(f"the event store is not available: {error}") from error
        raise
