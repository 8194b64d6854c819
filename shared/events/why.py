"""The reason behind a decision, kept in the event that made it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.events.message import Instant, Value


class Why(Value):
    """A rule's name (``window``, ``quota``, ``delay``, ``condition``, ``suppression``, …) and what it looked at."""

    rule: str
    inputs: dict[str, Any] = {}


class TimerClass(StrEnum):
    """In which order due timers are taken."""

    FOLLOW_UP = "follow_up"
    FIRST_TOUCH = "first_touch"
    WATCHDOG = "watchdog"


class QuotaSlot(Value):
    """One place taken in a limit: ``scope`` such as ``sequence:<id>`` or ``organization``, ``slot`` such as
    ``day:2026-11-20`` or ``minute:2026-11-20T09:15`` (UTC)."""

    scope: str
    slot: str


class Plan(Value):
    """The next step and when. ``at`` is None while it waits without an end; ``blocked_on`` then names what for
    (``pause``, ``sequence:<id>``, ``task:<id>``, ``stop:<execution>``). ``due_at`` is the moment the delay alone
    gave, before windows and limits. ``channel`` is that of a step that will send, None for any other."""

    step_id: str
    execution: int
    at: Instant | None
    due_at: Instant | None = None
    blocked_on: str | None = None
    timer_class: TimerClass = TimerClass.FOLLOW_UP
    why: Why = Why(rule="delay")
    reserved: list[QuotaSlot] = []
    channel: str | None = None

    def is_due(self, now: datetime) -> bool:
        return self.at is not None and self.at <= now
