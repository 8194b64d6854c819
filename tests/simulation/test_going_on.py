"""What an enrollment would have done next, from any state that it was in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.enrollment.domain.sequence import Sequence
from services.enrollment.domain.task import Task
from services.enrollment.simulation.dry_run import Subject
from services.enrollment.simulation.going_on import Then, go_on
from services.enrollment.simulation.telling import DryRun
from shared.events.enrollment import CancelEnrollment, StepSent, StepTaken
from shared.events.sequence import DeactivateSequence
from tests.domain.scenario import SEQUENCE, Scenario, T, days, email, in_flight, pause

OFFICE = {"windows": [{"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:00"}]}
BRANCH = {
    "step_id": "warm",
    "kind": "condition",
    "delay": days(2),
    "config": {"when": {"has_tag": "met"}},
    "then": [email("hot", delay={"amount": 5, "unit": "hours"})],
    "else": [email("cold")],
}
STEPS = (
    email("first"),
    {"step_id": "tag", "kind": "tag", "delay": days(1), "config": {"add": ["met"]}},
    BRANCH,
    {"step_id": "rest", "kind": "wait", "delay": days(4), "config": {}},
    email("last", delay={"amount": 90, "unit": "minutes"}),
)


def ahead(scenario: Scenario) -> DryRun:
    world, state = scenario.world, scenario.state
    lead, sequence = world.lead(scenario.lead_id), world.states[SEQUENCE]
    organization, version = world.organization("demo"), world.version(SEQUENCE, state.version)
    assert lead is not None
    assert organization is not None
    assert version is not None
    assert isinstance(sequence, Sequence)
    task = world.task(state.task_id) if state.task_id is not None else None
    then = Then(state, lead, sequence, [task] if isinstance(task, Task) else [])
    return go_on(Subject(organization, SEQUENCE, state.version, version.definition), then, world.now)


def told(run: DryRun) -> list[tuple[str, str, str]]:
    return [(each["step_id"], each["outcome"], each["at"]) for each in run.steps]


def test_from_every_moment_of_a_run_it_foretells_the_rest_of_it() -> None:
    """A live enrollment, asked before and after each of its events, against what then happened."""
    scenario = Scenario(STEPS, settings=OFFICE)
    happened: list[tuple[str, str, str]] = []
    foretold: list[tuple[int, list[tuple[str, str, str]]]] = []
    for _ in range(30):
        foretold.append((len(happened), told(ahead(scenario))))
        if not scenario.state.is_open:
            break
        scenario.sent() if scenario.state.in_flight is not None else scenario.wake()
        now = scenario.world.now.isoformat()
        for event in scenario.events:
            match event:
                case StepSent():
                    happened.append((event.step_id, "sends", now))
                case StepTaken():
                    happened.append((event.step_id, "branches" if event.arm is not None else "takes_effect", now))
    assert [each[0] for each in happened] == ["first", "tag", "warm", "hot", "rest", "last"]
    assert len(foretold) > 6
    for seen, rest in foretold:
        assert rest == happened[seen:]


def test_it_changes_nothing() -> None:
    scenario = Scenario(STEPS)
    before = (scenario.state, scenario.timer, len(scenario.log), dict(scenario.world.quotas))
    assert ahead(scenario).ended_by == "completed"
    assert (scenario.state, scenario.timer, len(scenario.log), dict(scenario.world.quotas)) == before


def test_each_step_says_why_it_comes_then() -> None:
    scenario = Scenario((email("first"),), settings={"windows": [{"days": ["mon"], "start": "09:00", "end": "10:00"}]})
    [step] = ahead(scenario).steps
    assert (step["step_id"], step["why"]["rule"]) == ("first", "window")
    assert datetime.fromisoformat(step["at"]).weekday() == 0


def test_what_is_in_flight_goes_out_and_what_is_being_stopped_does_not() -> None:
    scenario = in_flight()
    assert told(ahead(scenario))[0] == ("first", "sends", T.isoformat())
    scenario.when(CancelEnrollment(enrollment_id=scenario.enrollment_id))
    run = ahead(scenario)
    assert (run.steps, run.ended_by) == ([], "cancelled")


def test_a_task_that_is_open_is_done_when_it_is_due() -> None:
    call: dict[str, Any] = {"step_id": "call", "kind": "call", "config": {"title": "Call", "due_in_hours": 4}}
    scenario = Scenario((call, email("after"))).later(hours=1)
    run = ahead(scenario)
    assert told(run) == [("after", "sends", (T + timedelta(hours=4)).isoformat())]
    assert any("People's steps" in each for each in run.warnings)


@pytest.mark.parametrize("held", ["paused", "sequence"])
def test_what_is_held_without_an_end_does_nothing(held: str) -> None:
    scenario = Scenario()
    if held == "paused":
        pause(scenario)
    else:
        scenario.when(DeactivateSequence(sequence_id=SEQUENCE))
    run = ahead(scenario)
    assert run.steps == []
    assert any("waits without an end" in each for each in run.warnings)


def test_a_pause_with_an_end_is_waited_out() -> None:
    scenario = Scenario()
    pause(scenario, until=T + timedelta(days=2))
    assert told(ahead(scenario))[0] == ("first", "sends", (T + timedelta(days=2)).isoformat())
