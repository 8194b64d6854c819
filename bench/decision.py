"""How long it takes to decide one due step with five conditions, and to fold what was decided: pure, in memory.

The floor is what no decision can do without: its event made and checked, the id of its dispatch derived, the state
copied by ``evolve``. Run: python bench/decision.py
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from services.enrollment.domain import enrollment_history
from services.enrollment.domain.conditions import evaluate
from services.enrollment.domain.due import take_due
from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.handling import handle
from services.enrollment.domain.memory_world import MemoryWorld
from services.enrollment.domain.planning import scene_of
from services.enrollment.domain.work import Work
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import StepDue, WakeTimer
from shared.events.envelope import Envelope
from shared.events.lead import LeadBody, LeadCreated
from shared.events.organization import FoundOrganization, SetSender
from shared.events.sequence import DraftSequence
from shared.ids import dispatch_id

SEQUENCE = UUID(int=7)
LEADS = 200
ROUNDS = 25
CONDITIONS = {
    "all": [
        {"field": "lead.score", "op": "gte", "value": 40},
        {"field": "status", "op": "in", "value": ["New", "Warm"]},
        {"has_tag": "webinar"},
        {"consent": "email"},
        {"not": {"engagement": {"signal": "replied", "within": {"amount": 30, "unit": "days"}}}},
    ]
}


def _world() -> MemoryWorld:
    world = MemoryWorld(datetime(2026, 11, 20, 10, 0, tzinfo=UTC))
    world.send(FoundOrganization(name="Demo"))
    world.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"))
    mail = {"kind": "email", "config": {"subject": "Hi", "text": "Hi"}}
    steps = [{**mail, "step_id": "a", "conditions": CONDITIONS}, {**mail, "step_id": "b"}]
    definition = SequenceDefinition.model_validate({"name": "Bench", "steps": steps})
    world.send(DraftSequence(sequence_id=SEQUENCE, definition=definition, activate=True))
    for number in range(LEADS):
        lead = LeadBody(
            email=f"lead{number}@example.com", score=50, status="New", tags=["webinar"], consent={"email": True}
        )
        world.send(LeadCreated(organization_id="demo", lead=lead), message_id=f"m{number}")
    return world


def _microseconds(work: Callable[[Any], object], subjects: Sequence[Any]) -> float:
    """Processor time for one subject, in the best round: what others do on the machine slows a round down and never
    speeds one up.
    """
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for subject in subjects:
            work(subject)
        rounds.append((time.process_time() - start) / len(subjects))
    return min(rounds) * 1e6


def run() -> dict[str, Any]:
    """Microseconds for a decision, its parts and the floor; ``ratio.decision_to_floor``."""
    world = _world()
    states: list[Enrollment] = []
    wakes: list[Envelope] = []
    for timer in world.timers.values():
        state = world.enrollment(timer.aggregate_id)
        assert state is not None
        states.append(state)
        ring = WakeTimer(
            enrollment_id=state.id, execution=timer.execution, attempt=timer.attempt, timer_class=timer.timer_class
        )
        wakes.append(Envelope(id="x", message=ring, source="bench", time=world.now, organization_id="demo"))
    decided = handle(wakes[0], world).changes[0].event
    assert isinstance(decided, StepDue), "the step must go out, else nothing worth measuring is measured"
    fields = {name: getattr(decided, name) for name in StepDue.model_fields}
    scene = scene_of(Work(world, "demo"), states[0])
    entry = scene.version.nodes["a"].entry
    assert entry is not None

    def floor(state: Enrollment) -> None:
        event = StepDue(**{**fields, "dispatch_id": dispatch_id("demo", state.id, 1, "a")})
        enrollment_history.evolve(state, event, world.now)

    gc.collect()
    gc.disable()
    try:
        decision = _microseconds(lambda state: take_due(Work(world, "demo"), state), states)
        whole = _microseconds(lambda wake: handle(wake, world), wakes)
        lowest = _microseconds(floor, states)
        conditions = _microseconds(lambda state: evaluate(entry, scene, state), states)
    finally:
        gc.enable()
    return {
        "decision": {"take_due_us": decision, "handle_us": whole, "conditions_us": conditions},
        "floor": {"decision_us": lowest},
        "ratio": {"decision_to_floor": decision / lowest},
    }


if __name__ == "__main__":
    found = [run() for _ in range(3)]
    for part, name in (("decision", "take_due_us"), ("decision", "handle_us"), ("decision", "conditions_us")):
        print(f"{name:24} {statistics.median(each[part][name] for each in found):7.1f} µs")
    print(f"{'floor':24} {statistics.median(each['floor']['decision_us'] for each in found):7.1f} µs")
    print(f"{'ratio':24} {statistics.median(each['ratio']['decision_to_floor'] for each in found):7.2f}")
