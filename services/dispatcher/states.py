"""A dispatch's row in the ledger: its states, what it holds, and what a StepDue that meets it may do. Pure.

::

    absent, deferred -> claimed -> deferred | rejected | stopped | handing_over
    handing_over -> sent | rejected | deferred | in_doubt
    in_doubt -> sent | rejected
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum, auto
from typing import Any
from uuid import UUID

#: A claim is a lease of this many machine seconds,
LEASE_SECONDS = 30.0
#: renewed this often while its holder lives. Three chances before it runs out.
RENEW_SECONDS = 10.0
#: A step is held at most this long; what must wait longer is deferred.
HOLD_SECONDS = 30.0


class State(StrEnum):
    """Where a dispatch stands."""

    CLAIMED = "claimed"
    DEFERRED = "deferred"
    STOPPED = "stopped"
    HANDING_OVER = "handing_over"
    SENT = "sent"
    REJECTED = "rejected"
    IN_DOUBT = "in_doubt"


#: A stop is in time for these.
OPEN = (State.CLAIMED, State.DEFERRED)


@dataclass(frozen=True, slots=True)
class Step:
    """What the ledger must know of a StepDue. ``keys`` are the stop keys that hold for it; ``position`` is the
    StepDue's in the log.

    ``decided_at`` is the business time at which it was decided. Of a reminder only bounds are known: ``position`` is
    too high, ``decided_at`` the earliest it can have been, and ``since`` the same; ``since`` is None for a StepDue
    itself.
    """

    dispatch_id: UUID
    organization_id: str
    lead_id: UUID | None
    enrollment_id: UUID
    sequence_id: UUID | None
    execution: int
    step_id: str
    channel: str
    attempt: int
    position: int
    decided_at: datetime
    keys: tuple[str, ...]
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A dispatch as the ledger has it. ``ending`` is None until an attempt has ended, and again while a later one is
    claimed.

    ``until`` is machine time; None without a living claim. ``message`` is the message as first handed over, None
    before that and after the lead was forgotten.
    """

    dispatch_id: UUID
    organization_id: str
    lead_id: UUID | None
    enrollment_id: UUID
    execution: int
    attempt: int
    state: State
    position: int
    token: str
    until: datetime | None
    ending: dict[str, Any] | None
    message: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a dispatch. ``position`` is the one that stop keys are held against: a repeat never raises
    it, ``since`` comes with it (see StopKey.holds). ``message`` is what an earlier attempt was about to send, None
    when there was none.
    """

    dispatch_id: UUID
    attempt: int
    token: str
    position: int
    message: dict[str, Any] | None = None
    since: datetime | None = None


class Verdict(Enum):
    """What a StepDue that meets a row may do."""

    CLAIM = auto()  #: take it
    HOLD = auto()  #: wait until the living claim ends
    DOUBT = auto()  #: its holder is gone and may have handed over
    ANSWER = auto()  #: repeat the row's answer
    DROP = auto()  #: nothing: a later attempt is at work


def judge(row: Row, attempt: int, now: datetime) -> Verdict:
    """What a StepDue of ``attempt`` may do with ``row`` at the machine time ``now``."""
    match row.state:
        case State.DEFERRED:
            return Verdict.CLAIM if attempt > row.attempt else Verdict.ANSWER
        case State.CLAIMED | State.HANDING_OVER:
            if row.until is not None and row.until > now:
                return Verdict.HOLD
            if row.state is State.HANDING_OVER:
                return Verdict.DOUBT
            return Verdict.CLAIM if attempt >= row.attempt else Verdict.DROP
        case State.STOPPED | State.SENT | State.REJECTED | State.IN_DOUBT:
            return Verdict.ANSWER
