"""One append, statement by statement, the same on both databases. Whatever it raises undoes all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from shared.events.why import TimerClass
from shared.faults import crash_point
from shared.persistence.eventstore.effects import Effects, IdentityKey, IdentityRow, InboxKey, QuotaKey, QuotaTake
from shared.persistence.eventstore.errors import IdentityTaken, InboxDuplicate, QuotaExceeded, StaleVersion
from shared.persistence.eventstore.moments import micros
from shared.persistence.eventstore.tables import statements as write
from shared.persistence.eventstore.wakes import order_wake

if TYPE_CHECKING:
    from eventsourcing.persistence import StoredEvent

    from shared.persistence.eventstore.tables.session import Session

#: How a class is kept in a row; also the order in which classes are served.
CLASS_NUMBERS = {TimerClass.FOLLOW_UP: 0, TimerClass.FIRST_TOUCH: 1, TimerClass.WATCHDOG: 2}

_LAST_POSITION = "SELECT max(notification_id) FROM stored_events"
_VERSIONS = (
    "SELECT k.a, (SELECT max(e.originator_version) FROM stored_events AS e WHERE e.originator_id = k.a) FROM {keys}"
)
_HOLDERS = (
    "SELECT k.a, k.b, k.c, t.lead_id FROM {keys} "
    "LEFT JOIN identities AS t ON t.organization_id = k.a AND t.kind = k.b AND t.hash = k.c"
)
_USED = (
    "SELECT k.a, k.b, k.c, t.used FROM {keys} "
    "LEFT JOIN quotas AS t ON t.organization_id = k.a AND t.scope = k.b AND t.slot = k.c"
)
_SINCE = "UPDATE organization_keys SET since = ? WHERE organization_id = ? AND since IS NULL"
_BUSINESS_TIME = "UPDATE meta SET number = ? WHERE key = 'business_time' AND number < ?"
_ERASURES = "UPDATE meta SET number = number + 1 WHERE key = 'erasures'"


class SomeInboxDuplicate(Exception):
    """At least one inbox row was there already."""


class SomeQuotaExceeded(Exception):
    """At least one place could not be had."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes with the stored events: side tables, the machine's time, the latest business time among the events,
    organizations seen first.
    """

    effects: Effects
    now: datetime
    business_time: datetime | None
    new_organizations: Sequence[str] = ()


def write_batch(session: Session, events: Sequence[StoredEvent], batch: Batch) -> list[int]:
    """Positions of the events. Raises StaleVersion, IdentityTaken, SomeInboxDuplicate, SomeQuotaExceeded,
    QuotaExceeded, or the driver's error.
    """
    effects = batch.effects
    session.take_write_lock()
    last = session.rows(_LAST_POSITION)[0][0] or 0
    if effects.inbox:
        _write_inbox(session, events, batch, last)
    _check_versions(session, events, effects)
    _write_identities(session, effects)
    _write_timers(session, effects)
    _write_quotas(session, effects)
    _write_keys(session, effects)
    _write_rest(session, effects)
    crash_point("store.before_events")
    positions = list(range(last + 1, last + 1 + len(events)))
    if events:
        uid = session.uid
        session.write(
            write.EVENTS,
            [
                (position, uid(cast(UUID, e.originator_id)), e.originator_version, e.topic, e.state)
                for position, e in zip(positions, events, strict=True)
            ],
        )
        for organization_id in batch.new_organizations:
            session.run(_SINCE, (last + 1, organization_id))
    if batch.business_time is not None:
        latest = micros(batch.business_time)
        session.run(_BUSINESS_TIME, (latest, latest))
    if positions:
        session.signal_appended(positions[-1])
    crash_point("store.before_commit")
    return positions


def _write_inbox(session: Session, events: Sequence[StoredEvent], batch: Batch, last: int) -> None:
    rows = batch.effects.inbox
    if len({row[:3] for row in rows}) != len(rows):
        raise ValueError("a message is given twice in one append")
    position_of: dict[tuple[Any, int], int] = {}
    if any(row.aggregate_id is not None for row in rows):
        position_of = {
            (event.originator_id, event.originator_version): last + 1 + index for index, event in enumerate(events)
        }
    at = micros(batch.now)
    written = session.write(
        write.INBOX,
        [(r[0], r[1], r[2], r.answer, position_of.get((r.aggregate_id, r.aggregate_version or 0)), at) for r in rows],
    )
    if written != len(rows):
        raise SomeInboxDuplicate


def _check_versions(session: Session, events: Sequence[StoredEvent], effects: Effects) -> None:
    expected = dict(effects.read_versions)
    for event in events:
        expected.setdefault(cast(UUID, event.originator_id), event.originator_version - 1)
    if not expected:
        return
    uid = session.uid
    asked = {uid(aggregate_id): aggregate_id for aggregate_id in expected}
    found = session.keyed(_VERSIONS, ("uuid",), [(key,) for key in asked])
    stale = [asked[key] for key, version in found if (version or 0) != expected[asked[key]]]
    if stale:
        raise StaleVersion(stale)
    following = expected
    for event in events:
        aggregate_id = cast(UUID, event.originator_id)
        if event.originator_version != following[aggregate_id] + 1:
            raise ValueError(
                f"events of {aggregate_id} must follow version {following[aggregate_id]} one by one, "
                f"got {event.originator_version}"
            )
        following[aggregate_id] = event.originator_version


def _write_identities(session: Session, effects: Effects) -> None:
    uid = session.uid
    gone = set(effects.identities_gone)
    if gone:
        session.write(write.IDENTITIES_GONE, [(uid(lead_id),) for lead_id in gone])
        session.write(write.COMPANIES_GONE, [(uid(lead_id),) for lead_id in gone])
    wanted = {IdentityKey(*row[:3]): row.lead_id for row in effects.identities if row.lead_id not in gone}
    if not wanted:
        return
    clashing = [
        row for row in effects.identities if row.lead_id not in gone and wanted[IdentityKey(*row[:3])] != row.lead_id
    ]
    if clashing:
        raise IdentityTaken(clashing)
    written = session.write(write.IDENTITIES, [(*key, uid(lead_id)) for key, lead_id in wanted.items()])
    if written == len(wanted):
        return
    found = session.keyed(_HOLDERS, ("text", "text", "text"), list(wanted))
    holders = [IdentityRow(a, b, c, session.uuid(holder)) for a, b, c, holder in found]
    taken = [row for row in holders if row.lead_id != wanted[IdentityKey(*row[:3])]]
    if taken:
        raise IdentityTaken(taken)


def _write_timers(session: Session, effects: Effects) -> None:
    uid = session.uid
    if effects.timers:
        # Of two rows for one timer the last holds; PostgreSQL takes a key only once in a statement.
        rows = {
            (t.aggregate_id, t.name): (
                uid(t.aggregate_id),
                t.name,
                t.organization_id,
                CLASS_NUMBERS[t.timer_class],
                None if t.due_at is None else micros(t.due_at),
                t.blocked_on,
                t.execution,
                t.attempt,
            )
            for t in effects.timers
        }
        session.write(write.TIMERS, list(rows.values()))
    if effects.timers_gone:
        session.write(write.TIMERS_GONE, [(uid(aggregate_id), name) for aggregate_id, name in effects.timers_gone])
    for wake in effects.timers_woken:
        order_wake(session, wake)


def _write_quotas(session: Session, effects: Effects) -> None:
    if effects.quotas_given_back:
        counted = Counter(QuotaKey(*key) for key in effects.quotas_given_back)
        session.write(write.QUOTAS_GIVEN_BACK, [(count, *key) for key, count in counted.items()])
    if not effects.quotas:
        return
    wanted = wanted_places(effects.quotas)
    hopeless = [key for key, (places, limit) in wanted.items() if places > limit]
    if hopeless:
        raise QuotaExceeded(hopeless)
    written = session.write(write.QUOTAS, [(*key, places, limit) for key, (places, limit) in wanted.items()])
    if written != len(wanted):
        raise SomeQuotaExceeded


def _write_keys(session: Session, effects: Effects) -> None:
    uid = session.uid
    if effects.keys:
        rows = {row.lead_id: row.wrapped for row in effects.keys}
        if session.write(write.KEYS, [(uid(lead_id), wrapped) for lead_id, wrapped in rows.items()]) != len(rows):
            raise StaleVersion(list(rows))
    if effects.keys_gone:
        session.write(write.KEYS_GONE, [(uid(lead_id), None) for lead_id in set(effects.keys_gone)])
        session.run(_ERASURES)


def _write_rest(session: Session, effects: Effects) -> None:
    if effects.suppressions:
        suppressions = {row[:3]: (*row[:4], micros(row.at)) for row in effects.suppressions}
        session.write(write.SUPPRESSIONS, list(suppressions.values()))
    if effects.suppressions_gone:
        session.write(write.SUPPRESSIONS_GONE, [tuple(key) for key in effects.suppressions_gone])
    if effects.figures_gone:
        session.write(write.FIGURES_GONE, [tuple(key) for key in set(effects.figures_gone)])
    if effects.figures:
        figures: Counter[tuple[str, str, str]] = Counter()
        for row in effects.figures:
            figures[row.organization_id, row.kind, row.key] += row.add
        session.write(write.FIGURES, [(*key, added) for key, added in figures.items()])
    if effects.catalogue:
        uid = session.uid
        catalogue = {
            (r.organization_id, r.sequence_id): (r.organization_id, uid(r.sequence_id), r.status, r.version)
            for r in effects.catalogue
        }
        session.write(write.CATALOGUE, list(catalogue.values()))
    if effects.companies or effects.company_stops:
        _write_companies(session, effects)
    if effects.bulks:
        uid = session.uid
        running = {row.bulk_id: row for row in effects.bulks if row.runs}
        if running:
            session.write(write.BULKS, [(uid(row.bulk_id), row.organization_id) for row in running.values()])
        gone = {row.bulk_id for row in effects.bulks if not row.runs}
        if gone:
            session.write(write.BULKS_GONE, [(uid(bulk_id),) for bulk_id in gone])


def _write_companies(session: Session, effects: Effects) -> None:
    uid = session.uid
    if effects.companies:
        rows = {row.lead_id: (uid(row.lead_id), row.organization_id, row.hash) for row in effects.companies}
        session.write(write.COMPANIES, list(rows.values()))
    if effects.company_stops:
        stops = {
            stop[:2]: (uid(stop[0]), stop.signal, stop.organization_id, uid(stop.sequence_id), stop.do, stop.hash)
            for stop in effects.company_stops
        }
        session.write(write.COMPANY_STOPS, list(stops.values()))


def wanted_places(takes: Sequence[QuotaTake]) -> dict[QuotaKey, tuple[int, int]]:
    """Places wanted and the limit, by slot; the lowest limit counts."""
    wanted: dict[QuotaKey, tuple[int, int]] = {}
    for take in takes:
        key = QuotaKey(*take[:3])
        places, limit = wanted.get(key, (0, take.limit))
        wanted[key] = (places + 1, min(limit, take.limit))
    return wanted


def used_places(session: Session, keys: Sequence[QuotaKey]) -> dict[QuotaKey, int]:
    """Places taken in each slot; 0 for a slot nobody has touched."""
    return {QuotaKey(a, b, c): used or 0 for a, b, c, used in session.keyed(_USED, ("text", "text", "text"), keys)}


_ANSWERS = (
    "SELECT k.a, k.b, k.c, t.answer, t.position FROM {keys} "
    "LEFT JOIN inbox AS t ON t.organization_id = k.a AND t.exchange = k.b AND t.message_id = k.c"
)


def known_messages(session: Session, keys: Sequence[InboxKey]) -> dict[InboxKey, tuple[bytes, int | None]]:
    """Answer and position of those keys that have a row."""
    found = session.keyed(_ANSWERS, ("text", "text", "text"), keys)
    return {InboxKey(a, b, c): (bytes(answer), position) for a, b, c, answer, position in found if answer is not None}


def duplicate_of(session: Session, effects: Effects) -> InboxDuplicate:
    keys = [InboxKey(*row[:3]) for row in effects.inbox]
    return InboxDuplicate(list(known_messages(session, keys)) or keys)


def exceeded_of(session: Session, effects: Effects) -> QuotaExceeded:
    wanted = wanted_places(effects.quotas)
    used = used_places(session, list(wanted))
    full = [key for key, (places, limit) in wanted.items() if used[key] + places > limit]
    return QuotaExceeded(full or list(wanted))
