# ruff: noqa: ARG002 - the port has times that a double without leases in a store does not need
"""The ledger's double: the same rules over dictionaries, one process. For tests; it passes the contract suite of the
real one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

from services.dispatcher.errors import HandOverRefused
from services.dispatcher.ledger import HOLDER_GONE, RESTORED, Answered, ClaimResult, Dropped, Held
from services.dispatcher.outcomes import (
    DeferredEnding,
    Ending,
    InDoubtEnding,
    RejectedEnding,
    SentEnding,
    StoppedEnding,
    ending_from_document,
    ending_to_document,
    state_after,
    states_before,
)
from services.dispatcher.states import LEASE_SECONDS, OPEN, Claim, Row, State, Step, Verdict, judge
from services.dispatcher.stops import StopKey, applied, first_that_holds
from shared.events.dispatch import StopOrder


class MemoryLedger:
    """``lease_seconds`` of machine time, as passed in ``now``."""

    def __init__(self, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._lease = timedelta(seconds=lease_seconds)
        self.rows: dict[UUID, Row] = {}
        self._keys_of: dict[UUID, tuple[str, ...]] = {}
        self.stop_keys: dict[str, StopKey] = {}
        self._restored_at: datetime | None = None

    async def claim(self, step: Step, now: datetime, lapse: datetime | None = None) -> ClaimResult:
        known = self.rows.get(step.dispatch_id)
        if known is None:
            if self._restored_at is not None and step.decided_at <= self._restored_at:
                return Answered(self._insert(step, State.IN_DOUBT, InDoubtEnding(RESTORED)))
            return replace(self._take(step, self._insert(step, State.CLAIMED, None), now), since=step.since)
        match judge(known, step.attempt, lapse or now):
            case Verdict.CLAIM:
                return self._take(step, known, now)
            case Verdict.HOLD:
                return Held(known)
            case Verdict.DOUBT:
                return Answered(self._end(known, InDoubtEnding(HOLDER_GONE)))
            case Verdict.ANSWER:
                return Answered(known)
            case Verdict.DROP:
                return Dropped()

    async def stop_for(self, keys: tuple[str, ...], position: int, since: datetime | None = None) -> StopKey | None:
        return first_that_holds((self.stop_keys.get(name) for name in keys), position, since)

    async def hand_over(self, claim: Claim, message: dict[str, Any], now: datetime) -> None:
        row = self._own(claim)
        if row is None or row.state is not State.CLAIMED:
            raise HandOverRefused(claim.dispatch_id)
        self.rows[claim.dispatch_id] = replace(row, state=State.HANDING_OVER, message=message, until=now + self._lease)

    async def conclude(self, claim: Claim, ending: Ending, now: datetime) -> Ending | None:
        row = self._own(claim)
        if row is not None and row.state is State.IN_DOUBT and isinstance(ending, DeferredEnding):
            ending = RejectedEnding(ending.reason)
        if row is not None and row.state in states_before(ending):
            self._end(row, ending)
            return ending
        standing = self.rows.get(claim.dispatch_id)
        return None if standing is None else ending_from_document(standing.ending)

    async def take_back(self, claim: Claim, now: datetime) -> None:
        row = self._own(claim)
        if row is not None and row.state in (State.CLAIMED, State.HANDING_OVER):
            self.rows[row.dispatch_id] = replace(row, state=State.CLAIMED, until=None)

    async def renew(self, claims: Sequence[Claim], now: datetime) -> None:
        for claim in claims:
            row = self._own(claim)
            if row is not None and row.state in (State.CLAIMED, State.HANDING_OVER):
                self.rows[row.dispatch_id] = replace(row, until=now + self._lease)

    async def lapsed(self, now: datetime, limit: int) -> list[Row]:
        found = [
            row for row in self.rows.values() if row.state is State.HANDING_OVER and row.until and row.until <= now
        ]
        return [self._end(row, InDoubtEnding(HOLDER_GONE)) for row in found[:limit]]

    async def apply_stop(self, name: str, order: StopOrder) -> StopKey:
        self.stop_keys[name] = applied(order, name, self.stop_keys.get(name))
        return self.stop_keys[name]

    async def stop_rows(self, name: str, key: StopKey, now: datetime) -> list[Row]:
        found = [
            row
            for row in self.rows.values()
            if row.state in OPEN and name in self._keys_of[row.dispatch_id] and key.holds(row.position)
        ]
        return [self._end(row, StoppedEnding(key.reason)) for row in found]

    async def stop_unseen(self, step: Step, reason: str, now: datetime) -> Row:
        known = self.rows.get(step.dispatch_id)
        if known is not None:
            return known
        if self._restored_at is not None and step.decided_at <= self._restored_at:
            return self._insert(step, State.IN_DOUBT, InDoubtEnding(RESTORED))
        return self._insert(step, State.STOPPED, StoppedEnding(reason))

    async def settle(
        self, dispatch_id: UUID, outcome: Literal["sent", "not_sent"], by: str, now: datetime
    ) -> Row | None:
        row = self.rows.get(dispatch_id)
        if row is not None and row.state is State.IN_DOUBT:
            return self._end(row, SentEnding(now, answer=by) if outcome == "sent" else RejectedEnding(by))
        return row

    async def row(self, dispatch_id: UUID) -> Row | None:
        return self.rows.get(dispatch_id)

    async def forget(self, lead_id: UUID) -> int:
        found = [row for row in self.rows.values() if row.lead_id == lead_id]
        for row in found:
            ending = row.ending and {**row.ending, **({"answer": None} if "answer" in row.ending else {})}
            self.rows[row.dispatch_id] = replace(row, message=None, ending=ending)
        return len(found)

    async def mark_restored(self, at: datetime) -> None:
        self._restored_at = at if self._restored_at is None else max(at, self._restored_at)

    def _own(self, claim: Claim) -> Row | None:
        row = self.rows.get(claim.dispatch_id)
        return row if row is not None and row.token == claim.token and row.attempt == claim.attempt else None

    def _take(self, step: Step, row: Row, now: datetime) -> Claim:
        again = row.attempt == step.attempt
        token = uuid4().hex
        position = min(row.position, step.position) if again else step.position
        self.rows[row.dispatch_id] = replace(
            row,
            state=State.CLAIMED,
            attempt=step.attempt,
            token=token,
            until=now + self._lease,
            ending=None,
            position=position,
        )
        self._keys_of[row.dispatch_id] = step.keys
        return Claim(row.dispatch_id, step.attempt, token, position, row.message)

    def _insert(self, step: Step, state: State, ending: Ending | None) -> Row:
        row = Row(
            dispatch_id=step.dispatch_id,
            organization_id=step.organization_id,
            lead_id=step.lead_id,
            enrollment_id=step.enrollment_id,
            execution=step.execution,
            attempt=step.attempt,
            state=state,
            position=step.position,
            token="",
            until=None,
            ending=ending_to_document(ending) if ending else None,
            message=None,
        )
        self.rows[step.dispatch_id] = row
        self._keys_of[step.dispatch_id] = step.keys
        return row

    def _end(self, row: Row, ending: Ending) -> Row:
        ended = replace(row, state=state_after(ending), ending=ending_to_document(ending))
        self.rows[row.dispatch_id] = ended
        return ended
