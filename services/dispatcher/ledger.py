"""The ledger's port: what has become of every dispatch. Rows move only by compare-and-set on (state, attempt, claim
token).

Two implementations pass one contract suite: ``ledger_mongo`` and, for tests, ``ledger_memory``. All raise LedgerAway
when the store does not answer; whether the change took place is then unknown, and repeating it is safe.

Times passed as ``now`` are machine time of the calling process. Clocks of two machines may differ by seconds: a lease
that runs out too early costs a repeated rendering or a passing *in doubt*, never a second send, because the token
decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from services.dispatcher.outcomes import Ending
from services.dispatcher.states import Claim, Row, Step
from services.dispatcher.stops import StopKey
from shared.events.dispatch import StopOrder

#: Why a row that a restored ledger never saw is in doubt.
RESTORED = "the ledger was restored and does not know whether this step was sent"
#: Why a row is in doubt whose holder is gone.
HOLDER_GONE = "the dispatcher that handed it over is gone"


@dataclass(frozen=True, slots=True)
class Held:
    """Another holder is at work; ``row.until`` says how long at least."""

    row: Row


@dataclass(frozen=True, slots=True)
class Answered:
    """The row has an answer; nothing is to be done but to repeat it."""

    row: Row


@dataclass(frozen=True, slots=True)
class Dropped:
    """A later attempt is at work; this one has no answer any more."""


ClaimResult = Claim | Held | Answered | Dropped


class Ledger(Protocol):
    """See the module."""

    async def claim(self, step: Step, now: datetime, lapse: datetime | None = None) -> ClaimResult:
        """Takes a dispatch for an attempt: absent, deferred with a lower attempt, or claimed by a holder whose lease
        has run out.

        A row left ``handing_over`` by a holder that is gone becomes in doubt here. A row that this ledger never saw,
        of a step decided before the ledger was restored, is made in doubt. Leases that ended by ``lapse`` have run
        out; None: by ``now``.
        """

    async def stop_for(self, keys: tuple[str, ...], position: int, since: datetime | None = None) -> StopKey | None:
        """The first of these stop keys that holds a step at this position back. Read after the claim, never before."""

    async def hand_over(self, claim: Claim, message: dict[str, Any], now: datetime) -> None:
        """``claimed -> handing_over``, storing the message as it will be sent. Raises HandOverRefused.

        After LedgerAway the caller does not send, and says so with ``take_back``.
        """

    async def conclude(self, claim: Claim, ending: Ending, now: datetime) -> Ending | None:
        """Ends the claim. The ending as it then stands: this one, or what another made of the row first; None while
        that is open.

        A refusal that comes after the row was put in doubt ends it as rejected: an answer decides, but nothing starts
        again.
        """

    async def take_back(self, claim: Claim, now: datetime) -> None:
        """The holder says that nothing was sent under this claim and lets go: the row may be claimed at once. Nothing
        if it is not its own.
        """

    async def renew(self, claims: Sequence[Claim], now: datetime) -> None:
        """Lengthens leases. What was taken over meanwhile stays so."""

    async def lapsed(self, now: datetime, limit: int) -> list[Row]:
        """Rows left ``handing_over`` whose lease ended by ``now``, put in doubt by this call and by no other."""

    async def apply_stop(self, name: str, order: StopOrder) -> StopKey:
        """Writes the key. Once this returns, no later claim misses it."""

    async def stop_rows(self, name: str, key: StopKey, now: datetime) -> list[Row]:
        """Moves every claimed or deferred row with this key below its position to stopped; those moved by this call."""

    async def stop_unseen(self, step: Step, reason: str, now: datetime) -> Row:
        """Makes a row ``stopped`` for a dispatch that was never claimed, so that its StepDue finds it; the row as it
        stands when there is one.
        """

    async def settle(
        self, dispatch_id: UUID, outcome: Literal["sent", "not_sent"], by: str, now: datetime
    ) -> Row | None:
        """``in_doubt -> sent | rejected`` as the write side recorded it; the row as it then stands, None when there
        is none.

        ``now`` is business time here.
        """

    async def row(self, dispatch_id: UUID) -> Row | None:
        """The row, None when there is none."""

    async def forget(self, lead_id: UUID) -> int:
        """Clears messages and provider answers of a lead; how many rows it has. States and times stay."""

    async def mark_restored(self, at: datetime) -> None:
        """From now on, unknown steps decided up to ``at`` (business time) are in doubt. See ``epoch``."""
