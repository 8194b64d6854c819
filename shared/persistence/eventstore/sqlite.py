"""The store on SQLite: one process, one writer, many readers."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Self, cast
from uuid import UUID

import orjson
from eventsourcing.persistence import Notification, StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteCursor

from shared.faults import crash_point
from shared.persistence.eventstore.batch import Batch, write_batch
from shared.persistence.eventstore.recorder import ClerkLock
from shared.persistence.eventstore.sqlite_connections import Datastore, lock_file, translated
from shared.persistence.eventstore.tables.schema import sqlite_statements
from shared.persistence.eventstore.tables.session import EVERYWHERE, Rows, Session, Within, Write
from shared.persistence.eventstore.together import Together
from shared.persistence.eventstore.wakeup import Wakeup

# A plus before a column keeps SQLite from finding it by an index.
_WAKE = (
    "UPDATE timers SET due_at = ? + spread(aggregate_id, ?), blocked_on = NULL "
    "WHERE {0}organization_id = ? AND {0}blocked_on = ?"
)
_ADVANCE = (
    "UPDATE timers SET due_at = min(due_at, ? + spread(aggregate_id, ?)) "
    "WHERE {0}class IN (0, 1) AND {0}organization_id = ? AND {0}due_at > ? AND blocked_on IS NULL"
)


def _within(update: str, within: Within) -> str:
    """A page is found by its aggregates: an index would go through every timer of the organization."""
    return update.format("" if within == EVERYWHERE else "+") + within.condition


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


class SqliteRecorder(SQLiteApplicationRecorder):
    """The library's recorder; its hook writes the side tables in the events' transaction."""

    datastore: Datastore

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """``read_only`` reads beside the process that holds the store; it must exist."""
        self.wakeup = Wakeup()
        self._together = Together(self._reading)
        self._path = path
        self._lock_file = -1 if read_only else lock_file(path)
        try:
            super().__init__(Datastore(path))
            if read_only:
                return
            with translated():
                self.create_table()
        except BaseException:
            if self._lock_file >= 0:
                os.close(self._lock_file)
            raise

    def construct_create_table_statements(self) -> list[str]:
        return sqlite_statements()

    def append(self, events: Sequence[StoredEvent], batch: Batch) -> list[int]:
        with translated():
            positions = cast(list[int], self.insert_events(events, batch=batch))
        crash_point("store.after_commit")
        if positions:
            self.wakeup.signal(positions[-1])
        return positions

    def _insert_events(self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        return write_batch(SqliteSession(c.sqlite_cursor), stored_events, kwargs["batch"])

    def reading(self) -> AbstractContextManager[Session]:
        return self._together.reading()

    def reading_together(self) -> AbstractContextManager[None]:
        return self._together.opened()

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with translated(), self.datastore.raw_transaction(commit=False) as cursor:
            yield SqliteSession(cursor)

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Session]:
        with translated(), self.datastore.raw_transaction(commit=True, durable=durable) as cursor:
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
                "WHERE notification_id >= ? AND (? IS NULL OR notification_id <= ?) "
                "AND (? = 0 OR topic IN (SELECT value FROM json_each(?))) "
                "ORDER BY notification_id LIMIT ?",
                (first, stop, stop, len(topics), orjson.dumps(list(topics)).decode(), limit),
            )
        return [
            Notification(UUID(aggregate), version, topic, state, position)
            for position, aggregate, version, topic, state in rows
        ]


class AlwaysClerk:
    """The one process on SQLite is always the clerk."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> bool:
        return True

    def held(self) -> bool:
        return True

    def release(self) -> None:
        """Nothing to give back: the file lock goes with the process."""
