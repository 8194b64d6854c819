"""A story told by the simulator, from the lead's arrival on, and folds of what was told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from services.enrollment.domain.evolving import State
from services.enrollment.domain.handling import evolve_any
from services.enrollment.domain.work import Change
from services.enrollment.simulation.backtest import Recorded as RecordedOutside
from services.enrollment.simulation.outside import Kept, Script
from services.enrollment.simulation.played_past import Past
from services.enrollment.simulation.simulator import Later, Simulator
from services.enrollment.simulation.world import SimulatedWorld
from services.enrollment.texts import filled
from shared.events.lead import LeadBody, LeadCreated
from shared.events.message import aggregate_of
from shared.events.organization import FoundOrganization, SetSender
from shared.events.sequence import DraftSequence
from shared.ids import derived_id
from tests.scenarios.story import Recorded, Story

SEQUENCE = derived_id("story", "sequence")
#: Days after which nothing of a story is left to come.
AFTER_A_STORY = 60


def prepared(story: Story, sequence_id: UUID = SEQUENCE) -> SimulatedWorld:
    """An organization with one sender and the running sequence. Titles for members are filled in as in the store's
    world.
    """
    world = SimulatedWorld(story.start)
    world.filled = filled
    world.send(FoundOrganization(name="Demo"))
    world.send(SetSender(sender_id="default", name="Demo", email="coach@demo.example"))
    world.send(DraftSequence(sequence_id=sequence_id, definition=story.definition, activate=True))
    world.log.clear()
    return world


def simulated(story: Story, sequence_id: UUID = SEQUENCE) -> tuple[list[Recorded], SimulatedWorld]:
    """Every event of the lead, its enrollment, its tasks and its engagement, and the world they leave."""
    world = prepared(story, sequence_id)
    script = Script(story.signals)
    simulator = Simulator(world, "demo", script)
    came = LeadCreated(
        organization_id="demo",
        funnel_id="test-funnel",
        occurred_at=story.start,
        lead=LeadBody.model_validate(story.lead),
    )
    simulator.expect(Later(story.start, came))
    simulator.run(story.start + timedelta(days=AFTER_A_STORY))
    assert not script.refusals, script.refusals
    return recording_of(script.history), world


def recording_of(history: Iterable[Kept]) -> list[Recorded]:
    return [Recorded(kept.change.id, kept.at, kept.change.event) for kept in history]


def folded(recording: Iterable[Recorded], lead_id: UUID) -> dict[UUID, State]:
    """The states that events of one lead lead to, by aggregate."""
    states: dict[UUID, State] = {}
    for aggregate_id, at, event in recording:
        states[aggregate_id] = evolve_any(
            aggregate_of(event.TOPIC),
            states.get(aggregate_id),
            event,
            id=aggregate_id,
            organization_id="demo",
            lead_id=lead_id,
            at=at,
        )
    return states


class Remembering(RecordedOutside):
    """A backtest's outside that keeps what happens."""

    def __init__(self, past: Sequence[Past]) -> None:
        super().__init__(past)
        self.history: list[Kept] = []

    def recorded(self, change: Change, world: SimulatedWorld) -> None:
        super().recorded(change, world)
        self.history.append(Kept(world.now, change))
