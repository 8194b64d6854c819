"""One story on real services, in the simulator, and played again from what was recorded: one list of events.

What is compared, and what counts as equal, is said in ``tests/scenarios/story.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import pytest
import pytest_asyncio

from services.enrollment.description import describe_enrollment
from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.past import read_past
from services.enrollment.simulation.backtest import backtest, play
from services.enrollment.states import States
from services.enrollment.trials import Trials
from shared.clock import load_clock
from shared.events.envelope import Envelope
from tests.scenarios import imagined
from tests.scenarios.imagined import Remembering, folded, simulated
from tests.scenarios.story import Normal, Story, assert_close, assert_same, load, normalised, of_the_enrollment
from tests.system.checking import nothing_is_stuck, verify_all
from tests.system.living import Life, recording_of
from tests.system.stack import ORGANIZATION, Stack, running_stack

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


class Lived(NamedTuple):
    stack: Stack
    story: Story
    life: Life
    log: list[Envelope]

    @property
    def enrollment_id(self) -> UUID:
        return next(each.originator_id for each in self.log if each.topic == "enrollment.started.v1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lived(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lived]:
    story = load("nurture")
    async with running_stack(tmp_path_factory.mktemp("story"), business_start=story.start) as stack:
        life = Life(stack, story)
        yield Lived(stack, story, life, await life.live())
        life.store.close()


async def test_what_was_lived_is_what_the_simulator_tells(lived: Lived) -> None:
    told, _ = simulated(lived.story, lived.life.sequence_id)
    assert [each.line for each in normalised(recording_of(lived.log))] == lived.story.events
    assert_same(normalised(recording_of(lived.log)), normalised(told))


async def test_the_log_replays_to_the_simulators_states(lived: Lived) -> None:
    """Every aggregate, after its last event; ids and moments as in events."""
    told, world = simulated(lived.story, lived.life.sequence_id)
    mine = folded(recording_of(lived.log), lived.log[0].originator_id)
    assert len(mine) == len({each.aggregate_id for each in told})
    for aggregate_id, state in mine.items():
        assert type(state) is type(world.states[aggregate_id])
        assert States(lived.life.store, shared=True).get(aggregate_id).state == state
    ended, imagined_end = mine[lived.enrollment_id], world.states[lived.enrollment_id]
    assert isinstance(ended, Enrollment)
    assert isinstance(imagined_end, Enrollment)
    assert (ended.status, ended.reason, ended.done) == (imagined_end.status, imagined_end.reason, imagined_end.done)


async def test_what_was_recorded_plays_again(lived: Lived) -> None:
    """A backtest of the same version: the inputs are read from the log."""
    store = lived.life.store
    past = list(read_past(store, [lived.enrollment_id], ORGANIZATION))
    trials = Trials(store, States(store, shared=True), load_clock(lived.stack.home))
    subject = trials.subject(ORGANIZATION, lived.life.sequence_id, 1, None)
    outside = Remembering(past)
    play(subject, past, outside=outside)
    assert_same(of_the_enrollment(imagined.recording_of(outside.history)), of_the_enrollment(recording_of(lived.log)))
    differences: list[object] = []
    summary = backtest(subject, {1: subject.definition}, past, keep=differences.append)
    assert (summary["differ"], summary["as_recorded"], differences) == (0, 1, [])


async def test_every_moment_of_the_past_is_the_simulators(lived: Lived) -> None:
    """Time travel: after each of its events, the enrollment reads as the simulator left it there."""
    told, _ = simulated(lived.story, lived.life.sequence_id)
    own = [each for each in told if each.aggregate_id == lived.enrollment_id]
    for version in range(1, len(own) + 1):
        shown = await lived.stack.api("GET", f"enrollments/{lived.enrollment_id}", params={"version": version})
        state = folded(own[:version], lived.log[0].originator_id)[lived.enrollment_id]
        assert isinstance(state, Enrollment)
        wanted = describe_enrollment(state, version)
        mine: list[datetime] = []
        theirs: list[datetime] = []
        plain = {name: without_words(shown[name]) for name in wanted}
        assert Normal().of(plain, mine) == Normal().of(wanted, theirs), version
        assert_close(mine, theirs, version)


def without_words(value: Any) -> Any:
    """An answer without what it adds for readers: names, and reasons in plain words."""
    match value:
        case dict():
            words = {"names", "text", "step_name", "step_number"}
            return {name: without_words(each) for name, each in value.items() if name not in words}
        case list():
            return [without_words(each) for each in value]
    return value


async def test_every_view_equals_a_replay(lived: Lived) -> None:
    await nothing_is_stuck(lived.stack)
    await verify_all(lived.stack)
