"""The event store: the log, and the tables that change with it, behind one class for both databases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import orjson

from shared.events import Envelope
from shared.persistence.eventstore.batch import (
    Batch,
    SomeInboxDuplicate,
    SomeQuotaExceeded,
    duplicate_of,
    exceeded_of,
)
from shared.persistence.eventstore.effects import (
    Effects,
    KeyRow,
    RelayState,
)
from shared.persistence.eventstore.keys import KeyRing, LeadCipher, MasterKey
from shared.persistence.eventstore.mapper import EnvelopeMapper, LogRow, UnreadableEvent, leads_to_encrypt
from shared.persistence.eventstore.meta import Meta, open_meta, read_meta
from shared.persistence.eventstore.moments import micros
from shared.persistence.eventstore.recorder import ClerkLock, Recorder
from shared.persistence.eventstore.side_tables import SideTables
from shared.persistence.eventstore.tables.session import Session

#: Inbox rows younger than this are never pruned: a broker or a funnel may repeat a message for that long.
MIN_INBOX_DAYS = 30
#: Rows deleted in one transaction of pruning, so that no append waits long for it.
PRUNE_ROWS = 5_000

_LOG = "SELECT notification_id, originator_id, originator_version, topic, state FROM stored_events"
_LOG_OF_ONE = (
    f"{_LOG} WHERE originator_id = ? AND originator_version > ? AND originator_version <= ? "
    "ORDER BY originator_version LIMIT ?"
)
_LOG_OF_MANY = (
    "SELECT e.notification_id, e.originator_id, e.originator_version, e.topic, e.state FROM {keys} "
    "LEFT JOIN stored_events AS e ON e.originator_id = k.a ORDER BY e.originator_id, e.originator_version"
)
_VERSIONS = (
    "SELECT k.a, (SELECT max(e.originator_version) FROM stored_events AS e WHERE e.originator_id = k.a) FROM {keys}"
)
_PRUNE_INBOX = (
    "DELETE FROM inbox WHERE (organization_id, exchange, message_id) IN "
    "(SELECT organization_id, exchange, message_id FROM inbox WHERE at < ? LIMIT ?)"
)
_PRUNE_QUOTAS = (
    "DELETE FROM quotas WHERE (organization_id, scope, slot) IN "
    "(SELECT organization_id, scope, slot FROM quotas WHERE slot >= ? AND slot < ? LIMIT ?)"
)
#: What a brake has counted, by hour, is of no use once the longest time it looks back on has passed.
_PRUNE_FIGURES = (
    "DELETE FROM figures WHERE (organization_id, kind, key) IN (SELECT organization_id, kind, key FROM figures "
    "WHERE kind >= 'brake:' AND kind < 'brake;' AND key < ? LIMIT ?)"
)
MAX_BRAKE_HOURS = timedelta(hours=200)
#: Above every version and position.
_ANY = 2**62


class EventStore(SideTables):
    """The log and its side tables. Synchronous; appends come from one writer thread, everything else from any thread.

    Whatever is read may raise StoreUnavailable; an I/O error raises SyncFailed, after which the process must stop.
    """

    def __init__(
        self, recorder: Recorder, master_key: bytes, partitions: int, wall: Callable[[], datetime] | None = None
    ) -> None:
        """Raises WrongMasterKey, PartitionsDiffer or SchemaUnknown. ``wall`` tells machine time."""
        super().__init__(recorder)
        self._wall = wall or (lambda: datetime.now(UTC))
        master = MasterKey(master_key)
        open_meta(recorder, master, partitions)
        self._master = master
        self.partitions = partitions
        self.keys = KeyRing(master, recorder)
        self._mapper = EnvelopeMapper(self.keys, partitions)
        self._known_organizations: set[str] = set(self.organizations())
        recorder.wakeup.signal(self.last_position())

    # --- writing ------------------------------------------------------------------------------------------------

    def append(self, envelopes: Sequence[Envelope], effects: Effects | None = None) -> list[int]:
        """Writes events and effects in one transaction, all or nothing; the events' positions, in the given order.

        Events of one aggregate must follow each other and the stored ones. Keys that leads lack for their personal
        fields are made on the way; an erased lead's personal fields are stored as null. Raises InboxDuplicate,
        StaleVersion, IdentityTaken, QuotaExceeded, StoreUnavailable (whose ``outcome_unknown`` says that it may have
        been written), SyncFailed; ValueError for a broken batch. Nothing is retried here.
        """
        effects = effects or Effects()
        if not envelopes and effects.is_empty():
            return []
        ciphers, fresh, made = self._ciphers_to_write(envelopes, effects)
        if made:
            effects = replace(effects, keys=[*effects.keys, *made])
        stored = [self._mapper.encode(envelope, ciphers) for envelope in envelopes]
        organizations = {cast(str, e.organization_id) for e in envelopes} - self._known_organizations
        for organization_id in organizations:
            self.keys.organization_key(organization_id)
        latest = max((e.time for e in envelopes), default=None)
        batch = Batch(effects, self._wall(), latest, sorted(organizations))
        try:
            positions = self._recorder.append(stored, batch)
        except SomeInboxDuplicate:
            with self._recorder.reading() as session:
                raise duplicate_of(session, effects) from None
        except SomeQuotaExceeded:
            with self._recorder.reading() as session:
                raise exceeded_of(session, effects) from None
        self.keys.remember(fresh)
        self.keys.forget(effects.keys_gone)
        self._known_organizations |= organizations
        return positions

    def _ciphers_to_write(
        self, envelopes: Sequence[Envelope], effects: Effects
    ) -> tuple[dict[UUID, LeadCipher | None], dict[UUID, LeadCipher | None], list[KeyRow]]:
        """Ciphers by lead; those of them that are not yet stored; rows for the keys made here."""
        fresh: dict[UUID, LeadCipher | None] = {
            row.lead_id: self.keys.opened(row.lead_id, row.wrapped) for row in effects.keys
        }
        needed = leads_to_encrypt(envelopes) - fresh.keys()
        ciphers = self.keys.ciphers(needed) if needed else {}
        made: list[KeyRow] = []
        for lead_id in needed - ciphers.keys():
            key, row = self.keys.new_key(lead_id)
            fresh[lead_id] = LeadCipher(key)
            made.append(row)
        return {**ciphers, **fresh}, fresh, made

    def reading_together(self) -> AbstractContextManager[None]:
        """Until its end, all reads of this thread share one transaction: for a batch of decisions. Appends go beside
        it."""
        return self._recorder.reading_together()

    # --- the log ------------------------------------------------------------------------------------------------

    def load(
        self, aggregate_id: UUID, after_version: int = 0, up_to_version: int | None = None, limit: int | None = None
    ) -> list[Envelope]:
        """Events of an aggregate in order, personal fields in clear (null once the lead's key is gone); [] when there
        is none.

        Raises UnreadableLog.
        """
        with self._recorder.reading() as session:
            sql = _LOG_OF_ONE
            rows = session.rows(sql, (session.uid(aggregate_id), after_version, _or_any(up_to_version), _or_any(limit)))
            found = _log_rows(session, rows)
        return cast(list[Envelope], self._mapper.envelopes(found, strict=True))

    def load_many(self, ids: Sequence[UUID], *, topics: Collection[str] = ()) -> dict[UUID, list[Envelope]]:
        """Every event of each aggregate, in order, of some ``topics`` only, where given; [] for one that does not
        exist. Raises UnreadableLog.
        """
        loaded: dict[UUID, list[Envelope]] = {aggregate_id: [] for aggregate_id in ids}
        if not loaded:
            return loaded
        with self._recorder.reading() as session:
            rows = session.keyed(_LOG_OF_MANY, ("uuid",), [(session.uid(aggregate_id),) for aggregate_id in loaded])
            wanted = [row for row in rows if row[0] is not None and (not topics or row[3] in topics)]
            found = _log_rows(session, wanted)
        for envelope in cast(list[Envelope], self._mapper.envelopes(found, strict=True)):
            loaded[envelope.originator_id].append(envelope)
        return loaded

    def versions_of(self, ids: Sequence[UUID]) -> dict[UUID, int]:
        """The newest version of each aggregate; 0 for one that does not exist."""
        if not ids:
            return {}
        with self._recorder.reading() as session:
            rows = session.keyed(
                _VERSIONS, ("uuid",), [(session.uid(aggregate_id),) for aggregate_id in dict.fromkeys(ids)]
            )
            return {session.uuid(aggregate_id): version or 0 for aggregate_id, version in rows}

    def page(self, after: int, limit: int, up_to: int | None = None) -> list[Envelope | UnreadableEvent]:
        """Events at positions above ``after`` and at most ``up_to``, in order; one that cannot be read stands as an
        UnreadableEvent.
        """
        return self._mapper.envelopes(self._log_page(after, limit, up_to))

    def page_events(
        self, after: int, limit: int, up_to: int | None = None, *, topics: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """The same as CloudEvents (dicts for orjson), without building models; of some ``topics`` only, where given.
        One that cannot be read has the key ``unreadable`` with the reason.
        """
        return self._mapper.cloud_events(self._log_page(after, limit, up_to, topics))

    def _log_page(self, after: int, limit: int, up_to: int | None, topics: Sequence[str] = ()) -> list[LogRow]:
        among = f" AND topic IN ({', '.join('?' * len(topics))})" if topics else ""
        sql = f"{_LOG} WHERE notification_id > ? AND notification_id <= ?{among} ORDER BY notification_id LIMIT ?"
        with self._recorder.reading() as session:
            return _log_rows(session, session.rows(sql, (after, _or_any(up_to), *topics, limit)))

    def last_position(self) -> int:
        """Position of the newest event; 0 for an empty log."""
        with self._recorder.reading() as session:
            return session.rows("SELECT max(notification_id) FROM stored_events")[0][0] or 0

    def wait_for_events(self, after: int, timeout_seconds: float) -> bool:
        """Blocks until the log goes beyond ``after``; False when the time is over (or the store was closed)."""
        self._recorder.listen()
        return self._recorder.wakeup.wait_beyond(after, timeout_seconds)

    # --- the clerk ----------------------------------------------------------------------------------------------

    def clerk_lock(self) -> ClerkLock:
        """A handle on the right to be the clerk, not yet acquired."""
        return self._recorder.clerk_lock()

    def relay_position(self) -> RelayState:
        with self._recorder.reading() as session:
            rows = session.rows("SELECT position, per_partition FROM relay WHERE id = 1")
        if not rows:
            return RelayState(0, {})
        position, per_partition = rows[0]
        return RelayState(position, {int(partition): last for partition, last in orjson.loads(per_partition).items()})

    def save_relay(self, state: RelayState) -> bool:
        """Keeps how far the relay is. A position below the stored one is refused (False): a newer clerk is at work.

        A crash of the machine may undo it; the relay then repeats what it published, with the same ids.
        """
        per_partition = orjson.dumps(state.per_partition, option=orjson.OPT_NON_STR_KEYS).decode()
        sql = (
            "INSERT INTO relay (id, position, per_partition) VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "position = excluded.position, per_partition = excluded.per_partition "
            "WHERE relay.position <= excluded.position"
        )
        with self._recorder.writing(durable=False) as session:
            return session.run(sql, (state.position, per_partition)) == 1

    def prune(self, *, inbox_days: int = MIN_INBOX_DAYS) -> int:
        """Deletes inbox rows older than ``inbox_days`` (at least 30, by machine time) and quota slots of more than two
        days ago, what brakes have counted that long ago that none looks back on it; the number of rows deleted.

        Works in short transactions. A quota slot is judged by the day its name carries.
        """
        before = micros(self._wall() - timedelta(days=max(inbox_days, MIN_INBOX_DAYS)))
        gone = self._prune(_PRUNE_INBOX, (before,))
        business = self.meta().business_time
        if business is not None:
            day = (business - timedelta(days=2)).date().isoformat()
            for rows in ("", "follow:", "first:"):
                for unit in ("day:", "minute:"):
                    gone += self._prune(_PRUNE_QUOTAS, (rows + unit, rows + unit + day))
            hour = int((business - MAX_BRAKE_HOURS).timestamp()) // 3_600
            gone += self._prune(_PRUNE_FIGURES, (f"{hour}",))
        return gone

    def _prune(self, sql: str, params: tuple[Any, ...]) -> int:
        gone = 0
        while True:
            with self._recorder.writing() as session:
                deleted = session.run(sql, (*params, PRUNE_ROWS))
            gone += deleted
            if deleted < PRUNE_ROWS:
                return gone

    # --- keys and meta ------------------------------------------------------------------------------------------

    def hash_identity(self, organization_id: str, kind: str, normalised: str) -> str:
        """What an identity is kept as: hex HMAC-SHA256 under the organization's key."""
        return self.keys.keyed_hash(organization_id, "identity", kind, normalised)

    def hash_address(self, organization_id: str, channel: str, normalised: str) -> str:
        """What a suppressed address (or ``@domain``) is kept as."""
        return self.keys.keyed_hash(organization_id, "address", channel, normalised)

    def meta(self) -> Meta:
        """What holds for the whole store."""
        with self._recorder.reading() as session:
            return read_meta(session)

    def check_master_key(self) -> None:
        """Raises WrongMasterKey when the key given at opening does not open the store."""
        open_meta(self._recorder, self._master, self.partitions)

    def close(self) -> None:
        """Ends every wait and every connection. The store cannot be used afterwards."""
        self._recorder.close()


def _or_any(bound: int | None) -> int:
    return _ANY if bound is None else bound


def _log_rows(session: Session, rows: Sequence[tuple[Any, ...]]) -> list[LogRow]:
    return [
        LogRow(position, session.uuid_text(aggregate), version, topic, bytes(state))
        for position, aggregate, version, topic, state in rows
    ]
