"""Reading the tables that change together with the log."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from shared.events.why import TimerClass
from shared.persistence.eventstore.batch import known_messages, used_places
from shared.persistence.eventstore.effects import (
    CatalogueRow,
    CompanyStop,
    IdentityKey,
    InboxKey,
    QuotaKey,
    StoredAnswer,
    SuppressionKey,
    TimerRow,
    WakeOrder,
)
from shared.persistence.eventstore.recorder import Recorder
from shared.persistence.eventstore.timers import DueTimers, NextDue, due_counts, next_due, timers_of
from shared.persistence.eventstore.wakes import end_of_page, wake_orders, wake_page

_IDENTITIES = (
    "SELECT k.a, k.b, k.c, t.lead_id FROM {keys} "
    "LEFT JOIN identities AS t ON t.organization_id = k.a AND t.kind = k.b AND t.hash = k.c"
)
_SUPPRESSED = (
    "SELECT k.b, k.c, t.reason FROM {keys} "
    "LEFT JOIN suppressions AS t ON t.organization_id = k.a AND t.channel = k.b AND t.hash = k.c"
)
_CATALOGUE = (
    "SELECT organization_id, sequence_id, status, version FROM catalogue WHERE organization_id = ? ORDER BY sequence_id"
)
_QUOTA_RANGE = (
    "SELECT slot, used FROM quotas WHERE organization_id = ? AND scope = ? AND slot >= ? ORDER BY slot LIMIT ?"
)
_LEADS_OF_COMPANY = (
    "SELECT lead_id FROM companies WHERE organization_id = ? AND hash = ? AND lead_id > ? ORDER BY lead_id LIMIT ?"
)
_COMPANY_STOPS = (
    "SELECT enrollment_id, signal, organization_id, sequence_id, action, hash, reached FROM company_stops "
    "ORDER BY enrollment_id, signal LIMIT ?"
)
_BEFORE_ALL = UUID(int=0)


class SideTables:
    """What the side tables say, as of the last append. Any thread may ask; due timers are taken by one."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._due = DueTimers()

    def inbox(self, keys: Collection[InboxKey | tuple[str, str, str]]) -> dict[InboxKey, StoredAnswer]:
        """Answers given to those messages that were handled before."""
        if not keys:
            return {}
        with self._recorder.reading() as session:
            found = known_messages(session, [InboxKey(*key) for key in keys])
        return {key: StoredAnswer(answer, position) for key, (answer, position) in found.items()}

    def identities(self, keys: Collection[IdentityKey | tuple[str, str, str]]) -> dict[IdentityKey, UUID]:
        """The lead that holds each identity; absent where nobody does."""
        if not keys:
            return {}
        with self._recorder.reading() as session:
            rows = session.keyed(_IDENTITIES, ("text", "text", "text"), [tuple(key) for key in keys])
            return {IdentityKey(a, b, c): session.uuid(lead_id) for a, b, c, lead_id in rows if lead_id is not None}

    def timers_due(self, now: datetime, limit: int, *, machine_now: datetime | None = None) -> list[TimerRow]:
        """Up to ``limit`` due timers by the rule of ``timers.py``. ``now`` is business time; watchdogs go by
        ``machine_now`` (default: ``now``).
        """
        with self._recorder.reading() as session:
            return self._due.page(session, now, machine_now or now, limit)

    def timers_next_due(self) -> NextDue:
        """When the next timer comes due (or came, when it is overdue)."""
        with self._recorder.reading() as session:
            return next_due(session)

    def timers_count(self, organization_id: str | None = None) -> dict[str, int]:
        """Timers by what they do: ``waiting`` for a moment, ``blocked`` on something."""
        with self._recorder.reading() as session:
            where, params = ("", ()) if organization_id is None else (" WHERE organization_id = ?", (organization_id,))
            rows = session.rows(f"SELECT count(due_at), count(*) FROM timers{where}", params)  # noqa: S608
        waiting, everything = rows[0]
        return {"waiting": waiting, "blocked": everything - waiting}

    def timers_due_count(
        self, now: datetime, *, machine_now: datetime | None = None
    ) -> dict[tuple[str, TimerClass], int]:
        """How many timers are due, by organization and class; those without due timers are left out."""
        with self._recorder.reading() as session:
            return due_counts(session, now, machine_now or now)

    def timers_of(self, aggregate_ids: Sequence[UUID]) -> dict[UUID, list[TimerRow]]:
        """The timers of aggregates, by name; [] for one without."""
        found: dict[UUID, list[TimerRow]] = {aggregate_id: [] for aggregate_id in aggregate_ids}
        if found:
            with self._recorder.reading() as session:
                for row in timers_of(session, list(found)):
                    found[row.aggregate_id].append(row)
        return found

    def quota_used(self, organization_id: str, slots: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Places taken in each (scope, slot); 0 where none is."""
        if not slots:
            return {}
        with self._recorder.reading() as session:
            used = used_places(session, [QuotaKey(organization_id, scope, slot) for scope, slot in slots])
        return {(key.scope, key.slot): count for key, count in used.items()}

    def quota_range(self, organization_id: str, scope: str, first: str, limit: int) -> list[tuple[str, int]]:
        """Up to ``limit`` slots of a scope that have a row, from the name ``first`` on, in order, with places taken."""
        with self._recorder.reading() as session:
            return cast(list[tuple[str, int]], session.rows(_QUOTA_RANGE, (organization_id, scope, first, limit)))

    def suppressed(self, organization_id: str, addresses: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """The reason for each (channel, hash) that is suppressed; absent where it is not."""
        if not addresses:
            return {}
        with self._recorder.reading() as session:
            keys = [SuppressionKey(organization_id, channel, hashed) for channel, hashed in addresses]
            rows = session.keyed(_SUPPRESSED, ("text", "text", "text"), keys)
        return {(channel, hashed): reason for channel, hashed, reason in rows if reason is not None}

    def figures(self, organization_id: str, kind: str) -> dict[str, int]:
        """Every figure of a kind by key."""
        with self._recorder.reading() as session:
            return dict(
                cast(
                    list[tuple[str, int]],
                    session.rows(
                        "SELECT key, value FROM figures WHERE organization_id = ? AND kind = ?", (organization_id, kind)
                    ),
                )
            )

    def catalogue(self, organization_id: str) -> list[CatalogueRow]:
        """Every sequence of the organization, by id."""
        with self._recorder.reading() as session:
            sql = _CATALOGUE
            return [
                CatalogueRow(o, session.uuid(s), status, version)
                for o, s, status, version in session.rows(sql, (organization_id,))
            ]

    def leads_of_company(self, organization_id: str, hashed: str, after: UUID | None, limit: int) -> list[UUID]:
        """Up to ``limit`` leads of a company by id, those beyond ``after``."""
        with self._recorder.reading() as session:
            first = session.uid(after if after is not None else _BEFORE_ALL)
            rows = session.rows(_LEADS_OF_COMPANY, (organization_id, hashed, first, limit))
            return [session.uuid(lead_id) for (lead_id,) in rows]

    def company_stops(self, limit: int) -> list[CompanyStop]:
        """Up to ``limit`` stops of companies that are still to be carried out."""
        with self._recorder.reading() as session:
            return [
                CompanyStop(
                    session.uuid(enrollment_id),
                    signal,
                    organization_id,
                    session.uuid(sequence_id),
                    action,
                    hashed,
                    session.uuid(reached) if reached is not None else None,
                )
                for enrollment_id, signal, organization_id, sequence_id, action, hashed, reached in session.rows(
                    _COMPANY_STOPS, (limit,)
                )
            ]

    def company_stop_reached(self, stop: CompanyStop, reached: UUID | None) -> None:
        """The stop's orders were given up to a lead; None: to all, and it is done."""
        with self._recorder.writing() as session:
            key = (session.uid(stop.enrollment_id), stop.signal)
            if reached is None:
                session.run("DELETE FROM company_stops WHERE enrollment_id = ? AND signal = ?", key)
            else:
                session.run(
                    "UPDATE company_stops SET reached = ? WHERE enrollment_id = ? AND signal = ?",
                    (session.uid(reached), *key),
                )

    def timer_wakes(self, limit: int) -> list[WakeOrder]:
        """Up to ``limit`` wakes of many timers that are not done, oldest first."""
        with self._recorder.reading() as session:
            return wake_orders(session, limit)

    def wake_timers(self, order: WakeOrder) -> None:
        """The next page of an order: at most ``wakes.PAGE`` timers, in one transaction with the note of it."""
        with self._recorder.reading() as session:
            until = end_of_page(session, order.after)
        with self._recorder.writing() as session:
            wake_page(session, order, until)

    def running_bulks(self) -> list[tuple[str, UUID]]:
        """Organization and id of each bulk that is being carried out."""
        with self._recorder.reading() as session:
            rows = session.rows("SELECT organization_id, bulk_id FROM bulks ORDER BY bulk_id")
            return [(organization_id, session.uuid(bulk_id)) for organization_id, bulk_id in rows]

    def organizations(self) -> list[str]:
        """Every organization that has events."""
        with self._recorder.reading() as session:
            return [
                row[0]
                for row in session.rows(
                    "SELECT organization_id FROM organization_keys WHERE since IS NOT NULL ORDER BY organization_id"
                )
            ]
