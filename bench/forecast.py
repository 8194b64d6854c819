"""A forecast of 100,000 leads through seven steps in sending hours, without a limit, with a daily one and with one per
minute. Target: 60 s on one core.

python bench/forecast.py
"""

from __future__ import annotations

import gc
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from services.enrollment.domain.memory_world import MemoryWorld
from services.enrollment.simulation.dry_run import Subject
from services.enrollment.simulation.forecast import Rates, forecast
from shared.events.definition import SequenceDefinition
from shared.events.organization import FoundOrganization, SetSender

LEADS = int(os.environ.get("TENDRIL_BENCH_LEADS", "100000"))
START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
DAYS = [{"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:00"}]


def mail(step_id: str, days: int) -> dict[str, Any]:
    delay = {"amount": days, "unit": "days"}
    return {"step_id": step_id, "kind": "email", "delay": delay, "config": {"subject": "Hi", "text": "Hi"}}


def subject(**limits: int) -> Subject:
    opened = {"engagement": {"signal": "opened", "step": "welcome"}}
    steps = [
        mail("welcome", 0),
        {
            "step_id": "opened",
            "kind": "condition",
            "delay": {"amount": 2, "unit": "days"},
            "config": {"when": opened},
            "then": [mail("thanks", 0)],
            "else": [mail("nudge", 0)],
        },
        mail("case", 3),
        mail("last", 4),
        {"step_id": "done", "kind": "tag", "config": {"add": ["nurtured"]}},
    ]
    definition = SequenceDefinition.model_validate(
        {"name": "Bench", "settings": {"windows": DAYS, "limits": limits}, "steps": steps}
    )
    world = MemoryWorld(START)
    world.send(FoundOrganization(name="Demo"))
    world.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"))
    organization = world.organization("demo")
    assert organization is not None
    return Subject(organization, UUID(int=7), 1, definition)


def run() -> dict[str, Any]:
    """CPU seconds, without a limit, with 5,000 messages a day, and with 100 a minute."""
    seconds = {}
    gc.disable()  # as in the process of a job
    try:
        for name, limits in (
            ("seconds", {}),
            ("seconds_with_day_limit", {"per_day": 5_000}),
            ("seconds_with_minute_limit", {"per_minute": 100}),
        ):
            begun = time.process_time()
            result = forecast(subject(**limits), LEADS, START, Rates(), 1)
            seconds[name] = round(time.process_time() - begun, 2)
            assert result["entered"] == LEADS
    finally:
        gc.enable()
    return {"forecast": {"leads": LEADS, **seconds}}


if __name__ == "__main__":
    print(run())
