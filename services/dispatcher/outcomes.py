"""How things end: what a channel answers, what an attempt came to, and the fact that reports it. Matched in one
place, here.

A channel answers with one of four. An attempt ends in one of six, kept in its ledger row, so that every redelivery
gets the same answer; the row's state follows from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from services.dispatcher.states import State
from shared.events.enrollment import (
    Outcome,
    RecordDeferred,
    RecordInDoubt,
    RecordRejected,
    RecordSent,
    RecordStopped,
    RecordUndressed,
)
from shared.events.message import name_of

# --- what a channel answers -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message. ``answer`` is its own word, without personal data."""

    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Deferred:
    """Nothing went out, and a later try may succeed. ``fault`` False: a mere wait, which counts against no retry limit.

    ``retry_after_seconds`` is the provider's wish in machine seconds, None without one.
    """

    reason: str
    fault: bool = True
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing went out, for good. ``bounce``: the address itself is bad."""

    reason: str
    bounce: bool = False


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Handed over, and the answer is lost. ``late`` still waits for it, where the line stands; None when it is
    broken.
    """

    reason: str
    late: asyncio.Task[Accepted | Deferred | Rejected | None] | None = None


Answer = Accepted | Deferred | Rejected | InDoubt

# --- how an attempt ends --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SentEnding:
    """``at`` is business time, UTC."""

    at: datetime
    message_id: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class DeferredEnding:
    """``retry_at`` is business time, UTC; None leaves it to the write side."""

    reason: str
    fault: bool
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RejectedEnding:
    reason: str
    bounce: bool = False


@dataclass(frozen=True, slots=True)
class StoppedEnding:
    reason: str


@dataclass(frozen=True, slots=True)
class InDoubtEnding:
    reason: str


@dataclass(frozen=True, slots=True)
class UndressedEnding:
    reason: str
    missing: tuple[str, ...] = ()


Ending = SentEnding | DeferredEnding | RejectedEnding | StoppedEnding | InDoubtEnding | UndressedEnding

_KINDS: dict[str, type[Ending]] = {
    "sent": SentEnding,
    "deferred": DeferredEnding,
    "rejected": RejectedEnding,
    "stopped": StoppedEnding,
    "in_doubt": InDoubtEnding,
    "undressed": UndressedEnding,
}
_NAMES = {cls: kind for kind, cls in _KINDS.items()}
_FIELDS = {cls: tuple(field.name for field in fields(cls)) for cls in _NAMES}


def ending_to_document(ending: Ending) -> dict[str, Any]:
    """As it is kept in a row."""
    kind = type(ending)
    return {"kind": _NAMES[kind], **{name: getattr(ending, name) for name in _FIELDS[kind]}}


def ending_from_document(document: Mapping[str, Any] | None) -> Ending | None:
    """Back from a row; None for None. Raises KeyError for an unknown kind."""
    if document is None:
        return None
    values = {name: value for name, value in document.items() if name != "kind"}
    if "missing" in values:
        values["missing"] = tuple(values["missing"])
    return _KINDS[document["kind"]](**values)


def state_after(ending: Ending) -> State:
    """The row's state. An undressed step is deferred: nothing went out, and a later attempt may be dressed."""
    match ending:
        case SentEnding():
            return State.SENT
        case DeferredEnding() | UndressedEnding():
            return State.DEFERRED
        case RejectedEnding():
            return State.REJECTED
        case StoppedEnding():
            return State.STOPPED
        case InDoubtEnding():
            return State.IN_DOUBT


def states_before(ending: Ending) -> tuple[State, ...]:
    """The states its holder may end so from. ``in_doubt`` is left only by an answer."""
    match ending:
        case SentEnding():
            return (State.HANDING_OVER, State.IN_DOUBT)
        case RejectedEnding():
            return (State.CLAIMED, State.HANDING_OVER, State.IN_DOUBT)
        case DeferredEnding():
            return (State.CLAIMED, State.HANDING_OVER)
        case InDoubtEnding():
            return (State.HANDING_OVER,)
        case StoppedEnding() | UndressedEnding():
            return (State.CLAIMED,)


def fact_of(ending: Ending, *, enrollment_id: UUID, execution: int, attempt: int, dispatch_id: UUID) -> Outcome:
    """The fact that tells the write side."""
    match ending:
        case SentEnding(at, message_id, answer):
            return RecordSent(
                enrollment_id=enrollment_id, execution=execution, attempt=attempt, dispatch_id=dispatch_id,
                sent_at=at, message_id=message_id, answer=answer,
            )  # fmt: skip
        case DeferredEnding(reason, fault, retry_at):
            return RecordDeferred(
                enrollment_id=enrollment_id, execution=execution, attempt=attempt, dispatch_id=dispatch_id,
                reason=reason, fault=fault, retry_at=retry_at,
            )  # fmt: skip
        case RejectedEnding(reason, bounce):
            return RecordRejected(
                enrollment_id=enrollment_id, execution=execution, attempt=attempt, dispatch_id=dispatch_id,
                reason=reason, bounce=bounce,
            )  # fmt: skip
        case StoppedEnding(reason):
            return RecordStopped(
                enrollment_id=enrollment_id,
                execution=execution,
                attempt=attempt,
                dispatch_id=dispatch_id,
                reason=reason,
            )
        case InDoubtEnding(reason):
            return RecordInDoubt(
                enrollment_id=enrollment_id,
                execution=execution,
                attempt=attempt,
                dispatch_id=dispatch_id,
                reason=reason,
            )
        case UndressedEnding(reason, missing):
            return RecordUndressed(
                enrollment_id=enrollment_id, execution=execution, attempt=attempt, dispatch_id=dispatch_id,
                reason=reason, missing=list(missing),
            )  # fmt: skip


def outcome_id(fact: Outcome) -> str:
    """The envelope's id: the same for every repeat of the same answer to the same attempt."""
    return f"{fact.dispatch_id}:{fact.attempt}:{name_of(fact.TOPIC)}"
