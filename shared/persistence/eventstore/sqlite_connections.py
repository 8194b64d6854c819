"""Connections to the SQLite file: one that writes, some that read, and the lock that keeps other processes out."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from eventsourcing.persistence import ConnectionPoolClosedError, OperationalError
from eventsourcing.persistence import PersistenceError as LibraryError
from eventsourcing.sqlite import SQLiteConnection, SQLiteConnectionPool, SQLiteCursor, SQLiteDatastore

from shared.persistence.eventstore.errors import StoreInUse, StoreUnavailable, SyncFailed

LOCK_TIMEOUT_SECONDS = 5
WRITER_WAIT_SECONDS = 30.0
#: Pages of write-ahead log between checkpoints (16 MB): fewer, larger checkpoints cost an append less than many small
#: ones.
CHECKPOINT_PAGES = 4_000
#: The write connection's cache; readers keep the default of 2 MB. The system's own cache does the rest: nothing is
#: mapped into memory, so that a larger store does not make the process look larger.
WRITER_CACHE_KIB = 8_000


def _spread(aggregate_id: str, spread_ms: int) -> int:
    return int(aggregate_id[-8:], 16) * spread_ms // 2**32 * 1000


class Pool(SQLiteConnectionPool):
    def _create_connection(self) -> SQLiteConnection:
        connection = super()._create_connection()
        raw = connection._sqlite_conn
        for pragma in (
            "synchronous = FULL",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
            "mmap_size = 0",
            "temp_store = MEMORY",
        ):
            raw.execute(f"PRAGMA {pragma}")
        raw.create_function("spread", 2, _spread, deterministic=True)
        return connection


class Datastore(SQLiteDatastore):
    """The library's datastore with the write lock taken at BEGIN, and none left open by a commit that failed."""

    def __init__(self, path: Path) -> None:
        self._write_lock = Lock()
        self._writer: SQLiteConnection | None = None
        self._closed = False
        super().__init__(str(path), lock_timeout=LOCK_TIMEOUT_SECONDS)
        self.pool = Pool(
            db_name=str(path), lock_timeout=LOCK_TIMEOUT_SECONDS, pool_size=4, max_overflow=24, pool_timeout=30.0
        )

    @contextmanager
    def get_connection(self, *, commit: bool) -> Iterator[SQLiteConnection]:
        """Writes use one connection, whose cache stays warm: a write makes the caches of all others stale."""
        if not commit:
            with super().get_connection(commit=False) as reader:
                yield reader
            return
        if not self._write_lock.acquire(timeout=WRITER_WAIT_SECONDS):
            raise OperationalError("another write takes too long")
        try:
            if self._closed:
                raise ConnectionPoolClosedError
            if self._writer is None or self._writer.closed:
                self._writer = self.pool._create_connection()
                self._writer._sqlite_conn.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
            yield self._writer
        finally:
            self._write_lock.release()

    def close(self) -> None:
        """Waits for a write under way."""
        with self._write_lock:
            self._closed = True
            if self._writer is not None:
                self._writer.close()
        super().close()

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


def lock_file(path: Path) -> int:
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
def translated() -> Iterator[None]:
    """Errors of the driver as StoreUnavailable or SyncFailed."""
    try:
        yield
    except ConnectionPoolClosedError as error:
        raise StoreUnavailable("the event store is closed") from error
    except (sqlite3.Error, LibraryError) as error:
        driver = error if isinstance(error, sqlite3.Error) else error.__cause__
        code = getattr(driver, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _STOP_CODES:
            raise SyncFailed(f"the event store's file failed: {error}") from error
        if isinstance(driver, sqlite3.OperationalError) or isinstance(error, LibraryError):
            raise StoreUnavailable(f"the event store is not available: {error}") from error
        if isinstance(driver, sqlite3.ProgrammingError) and "closed" in str(driver):
            raise StoreUnavailable("the event store is closed") from error
        raise
