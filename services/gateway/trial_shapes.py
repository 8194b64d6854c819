"""What the API shows of trials: response models."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from services.gateway.shapes import Attempt, EnrollmentStatus, NamedNext, NamedReason, NamedWait, Shape


class TrialStep(Shape):
    """A step that a dry run came to; its number counts the tried definition's steps from 1 in reading order. ``at`` is
    UTC, ``local_at`` the same moment where the lead is."""

    step_id: str
    step_name: str | None = None
    step_number: int | None = None
    kind: str
    at: datetime
    local_at: str
    outcome: Literal["sends", "waits_for_person", "takes_effect", "skips", "branches"]
    arm: Literal["then", "else"] | None
    why: NamedReason
    content: dict[str, Any] | None


class DryRun(Shape):
    """``ended_by``: ``completed``, the reason of an exit or a pause, ``refused`` when the lead cannot enter; null when
    it goes on for years."""

    steps: list[TrialStep]
    ends_at: datetime | None
    ended_by: str | None
    warnings: list[str]


class ExecutionThen(Shape):
    """One run of one step, as far as it had come. ``step_name`` and ``step_number`` as the enrollment's version then
    has them."""

    execution: int
    step_id: str
    step_name: str | None = None
    step_number: int | None = None
    channel: str | None = None
    attempt: int
    fate: str
    tries: list[Attempt] = Field(default=[])
    sent_at: datetime | None = None
    signals: dict[str, datetime] = Field(default={})


class EnrollmentThen(Shape):
    """An enrollment as it was, from its own log. ``events``: how many of its own had been recorded by then;
    ``would_do``: what it would have done from then on, had nothing more been heard of the lead.
    """

    id: str
    lead_id: str
    lead_name: str | None
    sequence_id: str
    sequence_name: str | None
    version: int
    status: EnrollmentStatus
    reason: str | None
    current_step: str | None
    current_step_name: str | None
    current_step_number: int | None
    waiting_for: NamedWait | None
    next: NamedNext | None
    counts: dict[str, int]
    started_at: datetime
    events: int
    executions: list[ExecutionThen]
    would_do: DryRun


class Preview(Shape):
    """``kind`` is the step's; null with ``content`` when the message cannot be made; ``missing`` then names values
    without a fallback."""

    kind: str | None
    content: dict[str, Any] | None
    problem: str | None
    missing: list[str]


class SentTest(Shape):
    """``to`` in its one spelling."""

    to: str
    message_id: str | None


class JobBegun(Shape):
    job_id: str


class Job(Shape):
    """``done`` of ``total`` leads. ``problem`` says why a failed one failed; an interrupted one can be asked again."""

    id: str
    kind: Literal["forecast", "backtest"]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    asked: dict[str, Any]
    done: int
    total: int
    made_at: datetime
    ended_at: datetime | None
    result: dict[str, Any] | None
    problem: Any


class JobRows(Shape):
    items: list[dict[str, Any]]
    next_cursor: str | None


class RecordedReason(NamedReason):
    """``kind`` is what happened (``refused``, ``waits``, ``skipped``, ``branched``, ``sent``, ``paused``,
    ``ended``, …). ``until``: the moment to which something waits, null when it has no end. ``version``: the one that
    the enrollment was in then."""

    at: datetime
    kind: str
    until: datetime | None
    step_id: str | None
    step_name: str | None = None
    step_number: int | None = None
    execution: int | None
    sequence_id: str | None
    sequence_name: str | None = None
    version: int | None = None
    enrollment_id: str | None
    actor: str | None
    actor_name: str | None = None


class WhyAnswer(NamedReason):
    """Where one enrollment stands, or what became of the step asked about. ``at``: since when, null when nothing was
    recorded. ``version``: the one it is in. A step's number counts that version's steps from 1 in reading order; its
    name is its own, else its subject or title."""

    standing: Literal[
        "not_enrolled",
        "pending",
        "waiting",
        "on_its_way",
        "paused",
        "sent",
        "done",
        "failed",
        "stopped",
        "in_doubt",
        "not_sent",
        "skipped",
        "not_taken",
        "moved_past",
        "not_in_version",
        "not_reached",
        "ended_before",
        "completed",
        "exited",
    ]
    at: datetime | None
    until: datetime | None
    current_step: str | None
    current_step_name: str | None = None
    current_step_number: int | None = None
    sequence_id: str | None
    sequence_name: str | None = None
    version: int | None = None
    enrollment_id: str | None


class Explained(Shape):
    """``answers``: one for each enrollment, newest first, or one that says why there is none. ``items``: what was
    recorded, oldest first, the newest 1,000."""

    lead_id: str
    sequence_id: str | None
    sequence_name: str | None = None
    step_id: str | None
    step_name: str | None = None
    step_number: int | None = None
    answers: list[WhyAnswer]
    items: list[RecordedReason]
