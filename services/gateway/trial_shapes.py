"""What the API shows of trials: response models."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from services.gateway.shapes import Reason, Shape


class TrialReason(Reason):
    """``text`` says the rule in plain words."""

    text: str = ""


class TrialStep(Shape):
    """A step that a dry run came to. ``at`` is UTC, ``local_at`` the same moment where the lead is."""

    step_id: str
    kind: str
    at: datetime
    local_at: str
    outcome: Literal["sends", "waits_for_person", "takes_effect", "skips", "branches"]
    arm: Literal["then", "else"] | None
    why: TrialReason
    content: dict[str, Any] | None


class DryRun(Shape):
    """``ended_by``: ``completed``, the reason of an exit or a pause, ``refused`` when the lead cannot enter; null when
    it goes on for years."""

    steps: list[TrialStep]
    ends_at: datetime | None
    ended_by: str | None
    warnings: list[str]


class Preview(Shape):
    """``content`` is null when the message cannot be made; ``missing`` then names values without a fallback."""

    content: dict[str, Any] | None
    problem: str | None
    missing: list[str]


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
