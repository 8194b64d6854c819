"""How long a decision takes: waking a due step, and recording that it was sent. Run: python bench/decide.py"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from services.enrollment.domain.handling import handle
from services.enrollment.domain.memory_world import MemoryWorld
from services.enrollment.domain.rows import rows_of
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import RecordSent, WakeTimer
from shared.events.envelope import Envelope
from shared.events.lead import LeadBody, LeadCreated
from shared.events.message import Message
from shared.events.organization import FoundOrganization, SetSender
from shared.events.sequence import DraftSequence

SEQUENCE = UUID(int=7)
LEADS = 2_000


def definition(*, windows: bool) -> SequenceDefinition:
    step = {"kind": "email", "config": {"subject": "Hi", "text": "Hi"}}
    hours = [{"days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:00", "end": "18:00"}] if windows else []
    return SequenceDefinition.model_validate(
        {
            "name": "Bench",
            "settings": {"windows": hours, "skip_weekends": windows, "holidays": "DE" if windows else None},
            "steps": [{**step, "step_id": name} for name in ("a", "b", "c")],
        }
    )


def measure(*, windows: bool) -> dict[str, float]:
    """Microseconds per decision (median), by kind."""
    world = MemoryWorld(datetime(2026, 11, 20, 10, 0, tzinfo=UTC))
    world.send(FoundOrganization(name="Demo"))
    world.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"))
    world.send(DraftSequence(sequence_id=SEQUENCE, definition=definition(windows=windows), activate=True))
    taken: dict[str, list[float]] = {}

    def timed(name: str, message: Message) -> None:
        envelope = Envelope(
            id="x" + str(len(world.log)), message=message, source="bench", time=world.now, organization_id="demo"
        )
        start = time.perf_counter()
        decision = handle(envelope, world)
        middle = time.perf_counter()
        rows_of(decision, world)
        taken.setdefault(name, []).append((middle - start) * 1e6)
        taken.setdefault("rows of " + name, []).append((time.perf_counter() - middle) * 1e6)
        world.apply(decision)

    for number in range(LEADS):
        body = LeadBody(email=f"lead{number}@example.com", timezone="Europe/Berlin")
        timed("lead.created", LeadCreated(organization_id="demo", lead=body))
    for timer in list(world.timers.values()):
        timed(
            "wake",
            WakeTimer(
                enrollment_id=timer.aggregate_id,
                execution=timer.execution,
                attempt=timer.attempt,
                timer_class=timer.timer_class,
            ),
        )
        state = world.enrollment(timer.aggregate_id)
        assert state is not None
        flight = state.in_flight
        assert flight is not None
        timed(
            "sent",
            RecordSent(
                enrollment_id=state.id,
                execution=flight.execution,
                attempt=flight.attempt,
                dispatch_id=flight.dispatch_id,
                sent_at=world.now,
                message_id="<m@example.com>",
            ),
        )
    return {name: statistics.median(values) for name, values in taken.items()}


def run() -> dict[str, Any]:
    """Microseconds per decision, without and with windows to mind."""
    return {"decide": {"any_hour_us": measure(windows=False), "windows_us": measure(windows=True)}}


if __name__ == "__main__":
    for title, windows in (("any hour", False), ("windows, weekends, holidays", True)):
        print(title)
        for name, microseconds in measure(windows=windows).items():
            print(f"  {name:24} {microseconds:7.1f} µs")
