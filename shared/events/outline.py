"""What can be said of a definition at a glance: its type, how many steps it has, how long it takes.

Definitions come as plain JSON here, because views and lists hold them so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

SequenceType = Literal["email", "sms", "task", "mixed"]
Steps = Sequence[Mapping[str, Any]]

#: What a kind of step is for the lead: kinds that are not here (waits, conditions, scores …) reach nobody.
_TYPE_OF_KIND: Mapping[str, SequenceType] = {
    "email": "email",
    "email_manual": "email",
    "sms": "sms",
    "task": "task",
    "call": "task",
    "reminder": "task",
    "social": "task",
    "whatsapp": "mixed",
    "appointment": "mixed",
}
#: A business week of five days takes seven.
_MINUTES = {"minutes": 1.0, "hours": 60.0, "days": 1_440.0, "business_days": 1_440.0 * 7 / 5, "weeks": 10_080.0}


def steps_in(steps: Steps) -> Iterator[Mapping[str, Any]]:
    """Every step in reading order, those in the arms of conditions included."""
    for step in steps:
        yield step
        yield from steps_in(step.get("then") or ())
        yield from steps_in(step.get("else") or ())


def count_steps(steps: Steps) -> int:
    """All steps, those in the arms of conditions included."""
    return sum(1 for _ in steps_in(steps))


def sequence_type(steps: Steps) -> SequenceType:
    """The one type of all steps that reach somebody; ``mixed`` when there are several, or none."""
    types = {_TYPE_OF_KIND[step["kind"]] for step in steps_in(steps) if step.get("kind") in _TYPE_OF_KIND}
    return types.pop() if len(types) == 1 else "mixed"


def estimated_minutes(steps: Steps) -> int:
    """Minutes on the longest way through the delays. What cannot be known beforehand counts nothing: date fields of
    the lead, hours of the day, windows, and the time people take."""
    return round(_reached(steps, 0.0))


def delay_minutes(delay: Mapping[str, Any]) -> float:
    """A delay's own length; business days are stretched to calendar days."""
    return float(delay.get("amount") or 0) * _MINUTES.get(delay.get("unit") or "minutes", 0.0)


def _reached(steps: Steps, begun: float) -> float:
    """Minutes since enrolment when all of these are done, if they begin at ``begun``."""
    now = begun
    for step in steps:
        if step.get("active") is False:
            continue
        delay = step.get("delay") or {}
        counted_from = delay.get("from") or "previous"
        if counted_from == "previous":
            now += delay_minutes(delay)
        elif counted_from == "enrollment":
            now = max(now, delay_minutes(delay))
        now = max(_reached(step.get("then") or (), now), _reached(step.get("else") or (), now))
    return now
