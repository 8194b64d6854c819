"""One story, told by the simulator, a dry run, a forecast and a backtest: one list of events.

The same story is lived on real services, and replayed, in ``tests/system/test_one_story.py``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

import pytest

from services.enrollment.domain.lead import Lead
from services.enrollment.past import TOLD, past_of
from services.enrollment.simulation.backtest import play
from services.enrollment.simulation.crowd import CrowdSimulator, CrowdWorld, Group
from services.enrollment.simulation.dry_run import Subject, dry_run
from services.enrollment.simulation.outside import Script
from services.enrollment.simulation.played_past import Past
from services.enrollment.simulation.simulator import Later
from shared.events.enrollment import Enroll, EnrollmentStarted, StepSent
from shared.events.envelope import Envelope
from tests.scenarios.imagined import AFTER_A_STORY, SEQUENCE, Remembering, folded, recording_of, simulated
from tests.scenarios.story import FILES, Story, assert_same, load, normalised, of_the_enrollment

pytestmark = pytest.mark.parametrize("name", FILES)


def entering(story: Story) -> tuple[Subject, Lead, datetime]:
    """What is tried, and the lead as it was when it entered."""
    recording, world = simulated(story)
    came = recording[0]
    lead = folded([came], came.aggregate_id)[came.aggregate_id]
    assert isinstance(lead, Lead)
    organization = world.organization("demo")
    assert organization is not None
    version = world.sequence(SEQUENCE)
    assert version is not None
    assert version.published is not None
    return Subject(organization, SEQUENCE, version.version, version.published), lead, came.at


def test_the_simulator_tells_what_the_file_says(name: str) -> None:
    story = load(name)
    recording, _ = simulated(story)
    assert [told.line for told in normalised(recording)] == story.events


def test_a_dry_run_tells_the_same(name: str) -> None:
    story = load(name)
    subject, lead, start = entering(story)
    run = dry_run(subject, lead, start, story.signals)
    assert_same(of_the_enrollment(recording_of(run.history)), of_the_enrollment(simulated(story)[0]))


class Crowd(Script):
    """A story's outside, for a crowd of whatever size."""

    def groups(self, event: StepSent, size: int, random: Random) -> Sequence[Group]:
        del event, random
        return [Group(size, ())]

    def parted(self, aggregate_id: UUID, twin: UUID, size: int) -> None:
        raise AssertionError((aggregate_id, twin, size))  # a crowd of one is not parted


def test_a_forecast_tells_the_same(name: str) -> None:
    story = load(name)
    subject, lead, start = entering(story)
    world = CrowdWorld(start)
    world.hold(subject.organization, lead)
    world.publish("demo", SEQUENCE, subject.version, subject.definition)
    crowd = Crowd(story.signals)
    simulator = CrowdSimulator(world, "demo", crowd)
    simulator.enter(lead.id, 1)
    simulator.expect(Later(start, Enroll(lead_id=lead.id, sequence_id=SEQUENCE, by="forecast")))
    simulator.run(start + timedelta(days=AFTER_A_STORY))
    assert_same(of_the_enrollment(recording_of(crowd.history)), of_the_enrollment(simulated(story)[0]))


def test_a_backtest_tells_the_same(name: str) -> None:
    story = load(name)
    subject, lead, start = entering(story)
    recording, _ = simulated(story)
    enrollment_id = next(each for each, _, event in recording if isinstance(event, EnrollmentStarted))
    past = [Past(enrollment_id, lead, subject.version, start, story.signals)]
    outside = Remembering(past)
    [course] = play(subject, past, outside=outside).values()
    sent = [event.step_id for _, _, event in recording if isinstance(event, StepSent)]
    assert [each.step_id for each in course.sends] == sent
    assert_same(of_the_enrollment(recording_of(outside.history)), of_the_enrollment(recording))


def test_what_a_backtest_reads_of_an_enrollment_is_all_it_needs(name: str) -> None:
    recording, _ = simulated(load(name))
    lead_id = recording[0].aggregate_id
    enrollment_id = next(each for each, _, event in recording if isinstance(event, EnrollmentStarted))
    versions: Counter[UUID] = Counter()
    streams: defaultdict[UUID, list[Envelope]] = defaultdict(list)
    for aggregate_id, at, event in recording:
        versions[aggregate_id] += 1
        streams[aggregate_id].append(
            Envelope(
                id=f"{aggregate_id}-{versions[aggregate_id]}",
                message=event,
                source="tests",
                time=at,
                organization_id="demo",
                subject=aggregate_id,
                lead_id=lead_id,
                aggregate_version=versions[aggregate_id],
            )
        )
    told = [each for each in streams[enrollment_id] if each.topic in TOLD]
    past = past_of(told, streams[lead_id])
    assert past is not None
    assert past.sends
    assert past == past_of(streams[enrollment_id], streams[lead_id])
    assert len(told) < len(streams[enrollment_id])


def test_the_log_folds_to_the_states_that_were_decided_on(name: str) -> None:
    story = load(name)
    recording, world = simulated(story)
    states = folded(recording, recording[0].aggregate_id)
    assert states == {each: world.states[each] for each in states}


def test_a_signal_left_out_changes_the_story(name: str) -> None:
    """The comparison can fail."""
    story = load(name)
    recording, _ = simulated(replace(story, signals=story.signals[1:]))
    assert [told.line for told in normalised(recording)] != story.events
