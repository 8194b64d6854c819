"""A backtest of 20,000 past enrollments, from their log to the summary, as the reader runs it. Target: 60 s.

Past leads are made up by the simulator and written to a log on SQLite first, which is not measured; then both processes
of a backtest start, read, play what was and a changed definition, and compare.

python bench/backtest.py   (TENDRIL_BENCH_ENROLLMENTS=2000 for a small one)
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from services.enrollment.domain.work import Change
from services.enrollment.simulation.outside import Kept, Played, Script
from services.enrollment.simulation.simulator import Later, Simulator
from services.enrollment.simulation.world import SimulatedWorld
from services.enrollment.trial_runner import Children
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import EnrollmentStarted, StepSent
from shared.events.envelope import Envelope
from shared.events.lead import LeadBody, LeadCreated
from shared.events.organization import FoundOrganization, SetSender
from shared.events.query import QueryStartBacktest
from shared.events.sequence import DraftSequence
from shared.ids import derived_id
from shared.persistence.eventstore import EventStore, open_store
from shared.settings import Settings, load_settings
from tests.eventstore.builders import decided

ENROLLMENTS = int(os.environ.get("TENDRIL_BENCH_ENROLLMENTS", "20000"))
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
#: One enters after the other.
APART = timedelta(minutes=1)
LONGEST = timedelta(days=60)
SEQUENCE = derived_id("bench", "backtest")
PAGE = 2_000
#: Of two leads in five.
SIGNALS = [Played("opened", timedelta(hours=2), "welcome"), Played("clicked", timedelta(hours=3), "case")]


def mail(step_id: str, days: int) -> dict[str, Any]:
    delay = {"amount": days, "unit": "days"}
    return {"step_id": step_id, "kind": "email", "delay": delay, "config": {"subject": "Hi", "text": "Hi"}}


def definition(*, wait: int) -> SequenceDefinition:
    opened = {"when": {"engagement": {"signal": "opened", "step": "welcome"}}}
    branch = {"step_id": "opened", "kind": "condition", "delay": {"amount": 2, "unit": "days"}, "config": opened}
    return SequenceDefinition.model_validate(
        {
            "name": "Bench",
            "trigger": {"on": ["created"], "start": "auto", "funnels": ["bench"]},
            "steps": [
                mail("welcome", 0),
                {**branch, "then": [mail("thanks", 0)], "else": [mail("nudge", 0)]},
                mail("case", wait),
                {"step_id": "done", "kind": "tag", "config": {"add": ["nurtured"]}},
            ],
        }
    )


class Arriving(Simulator):
    """Gives every message an id of its own, as a broker does."""

    count = 0

    def _envelope(self, later: Later) -> Envelope:
        self.count += 1
        return replace(super()._envelope(later), id=str(self.count))


class SomeRead(Script):
    """Not everybody opens what they get."""

    def answers(self, change: Change, world: SimulatedWorld) -> Iterable[Later]:
        if isinstance(change.event, StepSent) and change.id.int % 5 > 1:
            return ()
        return super().answers(change, world)


def recorded() -> tuple[list[Change], list[Kept]]:
    """What was set up, and what happened to every lead."""
    world = SimulatedWorld(START)
    world.send(FoundOrganization(name="Demo"))
    world.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"))
    world.send(DraftSequence(sequence_id=SEQUENCE, definition=definition(wait=3), activate=True))
    made = list(world.log)
    script = SomeRead(SIGNALS)
    simulator = Arriving(world, "demo", script)
    for number in range(ENROLLMENTS):
        at = START + number * APART
        lead = LeadBody(email=f"lead{number}@example.com", first_name=f"L{number}")
        simulator.expect(Later(at, LeadCreated(organization_id="demo", funnel_id="bench", occurred_at=at, lead=lead)))
    simulator.run(START + ENROLLMENTS * APART + LONGEST)
    return made, script.history


def written(store: EventStore) -> list[UUID]:
    """Writes the log; the enrollments in it."""
    made, history = recorded()
    versions: Counter[UUID] = Counter()
    page: list[Envelope] = []
    enrollments: list[UUID] = []
    for at, change in [*(Kept(START, each) for each in made), *history]:
        versions[change.id] += 1
        page.append(decided(change, versions[change.id], at))
        if isinstance(change.event, EnrollmentStarted):
            enrollments.append(change.id)
        if len(page) == PAGE:
            store.append(page)
            page = []
    store.append(page)
    return enrollments


def played(settings: Settings, enrollments: list[UUID]) -> tuple[dict[str, Any], int]:
    """The summary, and how many would have differed."""
    question = QueryStartBacktest(
        organization_id="demo", job_id="bench", sequence_id=SEQUENCE, definition=definition(wait=4)
    )
    children = Children(settings, question, [str(each) for each in enrollments], START)
    rows = 0
    try:
        children.start()
        while True:
            match children.said.recv():
                case ("rows", list(found)):
                    rows += len(found)
                case ("result", dict(result)):
                    return result, rows
                case ("problem", problem):
                    raise RuntimeError(problem)
    finally:
        children.end()


def run() -> dict[str, Any]:
    """Seconds of the wall."""
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings(
            {},
            home=Path(home),
            event_store=f"sqlite:///{home}/tendril.db",
            master_key=base64.b64encode(b"k" * 32).decode(),
        )
        store = open_store(settings)
        enrollments = written(store)
        begun = perf_counter()
        result, rows = played(settings, enrollments)
        seconds = perf_counter() - begun
        store.close()
    assert result["enrollments"] == result["as_recorded"] == ENROLLMENTS, result
    assert result["differ"] == rows == result["by_step"]["case"]["moved"], result
    return {"backtest": {"enrollments": ENROLLMENTS, "seconds": round(seconds, 1)}}


if __name__ == "__main__":
    print(run())
