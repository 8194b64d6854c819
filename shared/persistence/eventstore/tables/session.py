"""One transaction on one of the two databases, with one dialect for both.

Statements use ``?`` for parameters. ``{keys}`` in a read stands for the given keys as a table ``k`` with columns ``a``,
``b``, ``c``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Write:
    """A statement carried out for many rows at once. ``types`` are PostgreSQL's, one for each value of a row.

    ``sqlite`` takes a row's values as ``?``; ``postgres`` finds all rows in ``{rows}``, a table ``r`` with columns
    ``a``, ``b``, ``c``, ….
    """

    types: tuple[str, ...]
    sqlite: str
    postgres: str

    @cached_property
    def postgres_sql(self) -> str:
        return self.postgres.replace("{rows}", unnest(self.types, "r"))


def insert(table: str, columns: dict[str, str], on_conflict: str = "") -> Write:
    """An insert of whole rows; ``on_conflict`` is understood alike by both databases."""
    names = ", ".join(columns)
    marks = ", ".join("?" * len(columns))
    tail = f" {on_conflict}" if on_conflict else ""
    return Write(
        types=tuple(columns.values()),
        sqlite=f"INSERT INTO {table} ({names}) VALUES ({marks}){tail}",  # noqa: S608  names from this package
        postgres=f"INSERT INTO {table} ({names}) SELECT * FROM {{rows}}{tail}",  # noqa: S608
    )


def unnest(types: Sequence[str], name: str) -> str:
    arrays = ", ".join(f"%s::{kind}[]" for kind in types)
    return f"unnest({arrays}) AS {name}({', '.join('abcdefghij'[: len(types)])})"


class Within(NamedTuple):
    """Aggregates, as ``Session.uid`` gives them: those beyond ``after`` up to ``until``; None for no bound."""

    after: Any = None
    until: Any = None

    @property
    def condition(self) -> str:
        """What follows another condition on timers."""
        return " AND aggregate_id > ?" * (self.after is not None) + " AND aggregate_id <= ?" * (self.until is not None)

    @property
    def params(self) -> tuple[Any, ...]:
        return tuple(each for each in self if each is not None)


EVERYWHERE = Within()


class Session(ABC):
    """Statements inside one transaction."""

    @abstractmethod
    def uid(self, value: UUID) -> Any:
        """A UUID as this database's drivers want it in a parameter."""

    @abstractmethod
    def uuid(self, value: Any) -> UUID:
        """A UUID from what the database gave."""

    @abstractmethod
    def uuid_text(self, value: Any) -> str:
        """A UUID as text with dashes, from what the database gave."""

    @abstractmethod
    def take_write_lock(self) -> None:
        """Holds every other append off until this transaction ends. Raises the driver's error when it cannot be had in
        time.
        """

    @abstractmethod
    def rows(self, sql: str, params: Sequence[Any] = ()) -> Rows:
        """The rows a statement answers."""

    @abstractmethod
    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Carries a statement out; the number of rows it touched."""

    @abstractmethod
    def write(self, statement: Write, rows: Sequence[tuple[Any, ...]]) -> int:
        """Carries a statement out for all rows; the number of rows it touched in all."""

    @abstractmethod
    def keyed(self, sql: str, types: tuple[str, ...], keys: Sequence[tuple[Any, ...]]) -> Rows:
        """Rows of a read in which ``{keys}`` stands for these keys (UUIDs given through ``uid``)."""

    @abstractmethod
    def wake_timers(
        self, blocked_on: str, organization_id: str, at: int, spread_ms: int, within: Within = EVERYWHERE
    ) -> int:
        """Makes the timers blocked on this due from ``at`` (microseconds) on, spread by their aggregate's id."""

    @abstractmethod
    def advance_timers(self, organization_id: str, at: int, spread_ms: int, within: Within = EVERYWHERE) -> int:
        """Makes the organization's timers that wait beyond ``at`` due from then on, spread likewise; none becomes later
        than it was. Watchdogs stay."""

    @abstractmethod
    def first_timers(self, timer_class: int, organizations: Sequence[str], due_by: int, limit: int) -> Rows:
        """Up to ``limit`` due timers of a class from each of the organizations, earliest first within one."""

    @abstractmethod
    def signal_appended(self, position: int) -> None:
        """Tells waiting processes, once committed, that there are events up to ``position``."""
