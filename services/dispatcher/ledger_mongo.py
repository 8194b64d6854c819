"""The ledger over MongoDB, database ``<prefix>_ledger``: ``dispatches`` (rows by dispatch id), ``stop_keys``, ``meta``.

A step that goes well costs three changes of its row (claimed, handing over, sent) and one read of its stop keys, each
shared with the steps beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError, PyMongoError

from services.dispatcher.errors import HandOverRefused
from services.dispatcher.ledger import HOLDER_GONE, RESTORED, Answered, ClaimResult, Dropped, Held
from services.dispatcher.ledger_store import Change, RowStore, away, ending_update, new_document, row_from_document
from services.dispatcher.outcomes import (
    DeferredEnding,
    Ending,
    InDoubtEnding,
    RejectedEnding,
    SentEnding,
    StoppedEnding,
    ending_from_document,
    states_before,
)
from services.dispatcher.states import LEASE_SECONDS, Claim, Row, State, Step, Verdict, judge
from services.dispatcher.stops import StopKey, applied, first_that_holds, key_from_document, key_to_document
from shared.events.dispatch import StopOrder
from shared.persistence.mongo import Database

#: Rows that one stop moves in one round trip.
STOP_PAGE = 500


class MongoLedger:
    """``owner`` names the process in claims, for people who read rows. ``lease_seconds`` is machine time."""

    def __init__(self, database: Database, *, owner: str, lease_seconds: float = LEASE_SECONDS) -> None:
        self._dispatches = database.collection("dispatches")
        self._stop_keys = database.collection("stop_keys")
        self._store = RowStore(database)
        self._owner = owner
        self._lease = timedelta(seconds=lease_seconds)
        self._restored_at: datetime | None = None

    async def start(self) -> None:
        """Makes the indexes. Raises LedgerAway."""
        try:
            await self._store.make_indexes()
        except PyMongoError as error:
            raise away(error) from error

    async def claim(self, step: Step, now: datetime, lapse: datetime | None = None) -> ClaimResult:
        """See Ledger."""
        token = uuid4().hex
        if await self._store.make(self._new_row(step, State.CLAIMED, None, now, self._lease_of(token, now))):
            if self._unseen_is_doubtful(step):
                return Answered(await self._standing(step.dispatch_id))
            return Claim(step.dispatch_id, step.attempt, token, step.position, since=step.since)
        while True:
            row = await self._standing(step.dispatch_id)
            match judge(row, step.attempt, lapse or now):
                case Verdict.CLAIM:
                    claim = await self._take_over(row, step, token, now)
                    if claim is not None:
                        return claim
                case Verdict.DOUBT:
                    doubted = await self._doubt(row, now)
                    if doubted is not None:
                        return Answered(doubted)
                case Verdict.HOLD:
                    return Held(row)
                case Verdict.ANSWER:
                    return Answered(row)
                case Verdict.DROP:
                    return Dropped()

    async def stop_for(self, keys: tuple[str, ...], position: int, since: datetime | None = None) -> StopKey | None:
        """See Ledger."""
        return first_that_holds(await self._store.keys(keys), position, since)

    async def hand_over(self, claim: Claim, message: dict[str, Any], now: datetime) -> None:
        """See Ledger."""
        update = {
            "$set": {
                "state": State.HANDING_OVER,
                "times.handing_over": now,
                "message": message,
                "claim.until": now + self._lease,
            },
            "$unset": {"open": ""},
        }
        if not await self._store.change(Change(claim.dispatch_id, _own(claim, State.CLAIMED), update)):
            raise HandOverRefused(claim.dispatch_id)

    async def conclude(self, claim: Claim, ending: Ending, now: datetime) -> Ending | None:
        """See Ledger."""
        change = Change(claim.dispatch_id, _own(claim, *states_before(ending)), ending_update(ending, now))
        if await self._store.change(change):
            return ending
        row = await self._store.row(claim.dispatch_id)
        late = row is not None and row.state is State.IN_DOUBT and row.token == claim.token
        if late and isinstance(ending, DeferredEnding):
            return await self.conclude(claim, RejectedEnding(ending.reason), now)
        return None if row is None else ending_from_document(row.ending)

    async def take_back(self, claim: Claim, now: datetime) -> None:
        """See Ledger."""
        update = {"$set": {"state": State.CLAIMED, "claim.until": None, "times.taken_back": now, "open": True}}
        await self._store.change(Change(claim.dispatch_id, _own(claim, State.CLAIMED, State.HANDING_OVER), update))

    async def renew(self, claims: Sequence[Claim], now: datetime) -> None:
        """See Ledger."""
        if not claims:
            return
        update = {"$set": {"claim.until": now + self._lease}}
        operations = [
            UpdateOne({"_id": claim.dispatch_id, **_own(claim, State.CLAIMED, State.HANDING_OVER)}, update)
            for claim in claims
        ]
        try:
            await self._dispatches.bulk_write(operations, ordered=False)
        except PyMongoError as error:
            raise away(error) from error

    async def lapsed(self, now: datetime, limit: int) -> list[Row]:
        """See Ledger."""
        try:
            found = await self._dispatches.find(
                {"state": State.HANDING_OVER, "claim.until": {"$lte": now}}, sort=[("claim.until", 1)], limit=limit
            ).to_list()
        except PyMongoError as error:
            raise away(error) from error
        return [row for document in found if (row := await self._doubt(row_from_document(document), now)) is not None]

    async def apply_stop(self, name: str, order: StopOrder) -> StopKey:
        """See Ledger."""
        try:
            while True:
                found = await self._stop_keys.find_one({"_id": name})
                known = None if found is None else key_from_document(found)
                key = applied(order, name, known)
                if key == known:
                    return key
                document = key_to_document(key)
                if found is None:
                    try:
                        await self._stop_keys.insert_one(document)
                    except DuplicateKeyError:
                        continue  # another process made it meanwhile
                    return key
                if (await self._stop_keys.replace_one(found, document)).matched_count:
                    return key
        except PyMongoError as error:
            raise away(error) from error

    async def stop_rows(self, name: str, key: StopKey, now: datetime) -> list[Row]:
        """See Ledger."""
        # A bound on the position, even an idle one, lets MongoDB use the index of open rows.
        bound = {"$gte": 0} if key.provisional_at is not None else {"$lt": key.before}
        wanted: dict[str, Any] = {"keys": name, "open": True, "position": bound}
        stopped: list[Row] = []
        while True:
            try:
                found = await self._dispatches.find(wanted, {"message": 0}, limit=STOP_PAGE).to_list()
            except PyMongoError as error:
                raise away(error) from error
            if not found:
                return stopped
            for document in found:
                row = row_from_document(document)
                expect = {"state": row.state, "attempt": row.attempt, "claim.token": row.token}
                change = Change(row.dispatch_id, expect, ending_update(StoppedEnding(key.reason), now))
                if await self._store.change(change):
                    stopped.append(await self._standing(row.dispatch_id))

    async def stop_unseen(self, step: Step, reason: str, now: datetime) -> Row:
        """See Ledger."""
        await self._store.make(self._new_row(step, State.STOPPED, StoppedEnding(reason), now))
        return await self._standing(step.dispatch_id)

    async def settle(
        self, dispatch_id: UUID, outcome: Literal["sent", "not_sent"], by: str, now: datetime
    ) -> Row | None:
        """See Ledger."""
        ending = SentEnding(now, answer=by) if outcome == "sent" else RejectedEnding(by)
        await self._store.change(Change(dispatch_id, {"state": State.IN_DOUBT}, ending_update(ending, now)))
        return await self._store.row(dispatch_id)

    async def row(self, dispatch_id: UUID) -> Row | None:
        """See Ledger."""
        return await self._store.row(dispatch_id)

    async def forget(self, lead_id: UUID) -> int:
        """See Ledger."""
        cleared = {"$set": {"message": None, "provider_answer": None, "report.answer": None}}
        try:
            await self._dispatches.update_many({"lead_id": lead_id, "report.kind": "sent"}, cleared)
            rest = {"$set": {"message": None, "provider_answer": None}}
            return (await self._dispatches.update_many({"lead_id": lead_id}, rest)).matched_count
        except PyMongoError as error:
            raise away(error) from error

    async def mark_restored(self, at: datetime) -> None:
        """See Ledger."""
        self._restored_at = at if self._restored_at is None else max(at, self._restored_at)

    def _unseen_is_doubtful(self, step: Step) -> bool:
        return self._restored_at is not None and step.decided_at <= self._restored_at

    def _new_row(
        self, step: Step, state: State, ending: Ending | None, now: datetime, claim: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """A row that was not there; after a restore from a backup it may have been, and is in doubt."""
        if self._unseen_is_doubtful(step):
            return new_document(step, State.IN_DOUBT, InDoubtEnding(RESTORED), now, None)
        return new_document(step, state, ending, now, claim)

    async def _take_over(self, row: Row, step: Step, token: str, now: datetime) -> Claim | None:
        """None when the row has moved meanwhile."""
        position = min(row.position, step.position) if row.attempt == step.attempt else step.position
        update = {
            "$set": {
                "state": State.CLAIMED,
                "attempt": step.attempt,
                "claim": self._lease_of(token, now),
                "keys": list(step.keys),
                "position": position,
                "times.claimed": now,
                "report": None,
                "open": True,
            }
        }
        if not await self._store.change(Change(row.dispatch_id, _unmoved(row), update)):
            return None
        return Claim(row.dispatch_id, step.attempt, token, position, row.message)

    async def _doubt(self, row: Row, now: datetime) -> Row | None:
        """None when the row has moved meanwhile."""
        if await self._store.change(
            Change(row.dispatch_id, _unmoved(row), ending_update(InDoubtEnding(HOLDER_GONE), now))
        ):
            return await self._standing(row.dispatch_id)
        return None

    async def _standing(self, dispatch_id: UUID) -> Row:
        row = await self._store.row(dispatch_id)
        if row is None:
            raise RuntimeError(f"row {dispatch_id} vanished: rows of the ledger are never deleted")
        return row

    def _lease_of(self, token: str, now: datetime) -> dict[str, Any]:
        return {"token": token, "owner": self._owner, "until": now + self._lease}


def _own(claim: Claim, *states: State) -> dict[str, Any]:
    return {"state": {"$in": list(states)}, "attempt": claim.attempt, "claim.token": claim.token}


def _unmoved(row: Row) -> dict[str, Any]:
    return {"state": row.state, "attempt": row.attempt, "claim.token": row.token, "claim.until": row.until}
