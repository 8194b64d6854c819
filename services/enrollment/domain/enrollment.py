"""Enrollment: one lead in one version of one sequence. The state; ``enrollment_history`` folds it from its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple, TypedDict
from uuid import UUID

from shared.events.enrollment import StopReason
from shared.events.why import Plan, QuotaSlot


class Status(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    EXITED = "exited"


class Fate(StrEnum):
    """What became of an execution that sends a message."""

    IN_FLIGHT = "in_flight"
    DEFERRED = "deferred"
    SENT = "sent"
    IN_DOUBT = "in_doubt"
    NOT_SENT = "not_sent"  #: in doubt, then settled so
    FAILED = "failed"
    STOPPED = "stopped"


UNANSWERED = "unanswered"
#: Failures after which resuming goes on with the next step: the message may have gone out all the same.
NEVER_REPEATED = frozenset({UNANSWERED})


class Try(NamedTuple):
    """An attempt that ended without a send. ``fault`` is None for a mere wait, ``transient`` for one that counts
    against the retries, ``permanent`` for the last.
    """

    attempt: int
    at: datetime
    reason: str
    fault: Literal["transient", "permanent"] | None


class Credit(TypedDict):
    sender: str | None
    variant: str | None
    content: str | None


#: The rule of a plan that waits because the sequence is paused.
SEQUENCE_NOT_ACTIVE = "sequence_not_active"
#: Nothing was heard.
SILENCE: Mapping[str, datetime] = {}


class Execution(NamedTuple):
    """One run of a message step. ``attempt`` is the newest decided; ``signals`` holds the first moment of each kind
    that counts; ``intent`` is that of the first reply. ``draft_id`` is the approved draft whose content goes out;
    ``starts_at`` when the appointment begins that it invites to. ``sender``, ``variant``
    and ``content`` are those of its StepDue.
    """

    number: int
    step_id: str
    channel: str
    dispatch_id: UUID
    attempt: int
    fate: Fate
    sent_at: datetime | None = None
    signals: Mapping[str, datetime] = SILENCE
    intent: str | None = None
    draft_id: UUID | None = None
    starts_at: datetime | None = None
    tries: tuple[Try, ...] = ()
    sender: str | None = None
    variant: str | None = None
    content: str | None = None

    @property
    def credit(self) -> Credit:
        """Whose figures its outcome and its signals belong to."""
        return {"sender": self.sender, "variant": self.variant, "content": self.content}


class Migration(NamedTuple):
    """A move to another version that waits for the answer to ``step_id``, which is in flight."""

    version: int
    step_id: str
    moves: tuple[tuple[str, str], ...]
    repeats: bool


class Approved(NamedTuple):
    """The draft that a person approved for a step."""

    step_id: str
    draft_id: UUID


class InFlight(NamedTuple):
    """An attempt whose answer is outstanding. ``stopping`` is the reason of the stop that was asked for.

    ``deferred`` tells that the attempt itself has ended without a send and only the answer to the stop is awaited.
    ``rounds`` counts the
    watchdog's rings, ``unanswered`` those while the channel's queue was consumed; ``next_ring`` is machine time, None
    before the first.
    """

    execution: int
    attempt: int
    step_id: str
    channel: str
    dispatch_id: UUID
    due_at: datetime
    valid_until: datetime
    quotas: tuple[QuotaSlot, ...] = ()
    rounds: int = 0
    unanswered: int = 0
    next_ring: datetime | None = None
    stopping: StopReason | None = None
    deferred: bool = False


@dataclass(frozen=True)
class Enrollment:
    """``plan`` is the step that comes next; while one is in flight there is none.

    ``after`` and ``arm`` name the step concluded last, ``again`` that this step is to be run once more: from these
    the next plan is made when there is none. ``approved`` is the draft that the planned step sends; ``repeats`` counts
    how often a person's step was put off to be tried again. ``previous_at`` is what a delay from the previous step
    counts from. ``last_execution`` is the highest number given. ``bulk_id`` names the bulk that opened it.
    ``start_at`` is when a pending one begins; None: by hand.
    ``resumed_at``: when it last went on after a pause.
    ``was_held``: it was paused, or a step of it blocked, at least once. ``halted``: a stop rule has paused it, and
    nobody has resumed it since, whatever else it was paused for.
    ``done`` holds the steps that took effect, or may have; once ``migrated`` to another version, none of them is done
    again.
    """

    id: UUID
    organization_id: str
    lead_id: UUID
    sequence_id: UUID
    version: int
    status: Status
    started_at: datetime
    previous_at: datetime
    reason: str | None = None
    paused_until: datetime | None = None
    plan: Plan | None = None
    in_flight: InFlight | None = None
    last_execution: int = 0
    faults: int = 0
    after: str | None = None
    arm: str | None = None
    again: bool = False
    approved: Approved | None = None
    repeats: int = 0
    executions: Mapping[int, Execution] = field(default_factory=dict)
    thread: tuple[str, ...] = ()
    sent: int = 0
    company_asked: frozenset[str] = frozenset()  #: signals for which the company's other leads were stopped
    bulk_id: UUID | None = None
    start_at: datetime | None = None
    done: frozenset[str] = frozenset()
    migrated: bool = False
    migration: Migration | None = None
    resumed_at: datetime | None = None
    was_held: bool = False
    halted: bool = False

    @property
    def is_open(self) -> bool:
        return self.status not in {Status.COMPLETED, Status.EXITED}

    def passes_over(self, step_id: str) -> bool:
        """Was this step done in another version?"""
        return self.migrated and step_id in self.done

    @property
    def next_attempt(self) -> int:
        """The number of the next attempt of the planned execution."""
        if self.plan is None:
            return 1
        execution = self.executions.get(self.plan.execution)
        return execution.attempt + 1 if execution is not None else 1

    @property
    def task_id(self) -> UUID | None:
        """The task the planned step waits for."""
        blocked_on = self.plan.blocked_on if self.plan is not None else None
        return UUID(blocked_on[5:]) if blocked_on is not None and blocked_on.startswith("task:") else None

    @property
    def outlasts(self) -> bool:
        """Is the task it waits for overdue, and kept because the sequence is paused?"""
        plan = self.plan
        if plan is None or plan.at is not None or plan.why.rule != SEQUENCE_NOT_ACTIVE:
            return False
        return self.task_id is not None


def reaches(channel: str) -> bool:
    """Does the channel carry messages to the lead, and no calls of other systems?"""
    return channel != "webhook"


def stands_at(state: Enrollment, number: int) -> bool:
    """Does the enrollment still stand at this execution: in flight, waiting for its next attempt, or about to be
    repeated?
    """
    if state.in_flight is not None:
        return state.in_flight.execution == number
    plan, execution = state.plan, state.executions.get(number)
    if plan is None:
        return number == state.last_execution
    repeated = (
        state.again and execution is not None and execution.fate == Fate.STOPPED and plan.step_id == execution.step_id
    )
    return plan.execution == number or repeated
