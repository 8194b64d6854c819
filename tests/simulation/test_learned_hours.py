"""What is learned about the hours of leads: simulations plan by it as live traffic does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import pytest

from services.enrollment.domain.best_hour import kind_of
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.sequence import Sequence
from services.enrollment.simulation.backtest import backtest, play
from services.enrollment.simulation.crowd import CrowdSimulator, CrowdWorld
from services.enrollment.simulation.dry_run import Subject, dry_run
from services.enrollment.simulation.elsewhere import Elsewhere
from services.enrollment.simulation.forecast import Figures, Rates, forecast
from services.enrollment.simulation.going_on import Then, go_on
from services.enrollment.simulation.outside import Played
from services.enrollment.simulation.played_past import Past, Send
from services.enrollment.simulation.simulator import Later
from services.enrollment.simulation.world import Surroundings
from shared.events.enrollment import Enroll
from tests.domain.scenario import SEQUENCE, Scenario, days, email, in_flight
from tests.simulation.making import START, subject

#: Sixty answers at 18:00.
EVENING = {"18": 60}
STEPS = (email("first"), email("second", delay=days(3)))
OPTIMISED = {"send_time": "optimised"}
NOBODY = Rates(0, 0, 0)


def knowing(of_all: Mapping[str, int], of_leads: Mapping[UUID, Mapping[str, int]] | None = None) -> Surroundings:
    """A store with these figures."""
    kinds = {kind_of(None): of_all, **{kind_of(lead_id): known for lead_id, known in (of_leads or {}).items()}}
    return Surroundings(figures=lambda _organization_id, kind: kinds.get(kind, {}))


def live(of_all: Mapping[str, int], of_lead: Mapping[str, int]) -> Scenario:
    """A live enrollment whose second message is planned by what is counted."""
    scenario = in_flight(STEPS, settings=OPTIMISED, lead={"email": "ada@example.com", "timezone": "Europe/Berlin"})
    scenario.world.counted["demo", kind_of(None)] = dict(of_all)
    scenario.world.counted["demo", kind_of(scenario.lead_id)] = dict(of_lead)
    return scenario.sent()


def tried(scenario: Scenario) -> tuple[Subject, Lead]:
    world = scenario.world
    organization, lead = world.organization("demo"), world.lead(scenario.lead_id)
    version = world.version(SEQUENCE, 1)
    assert organization is not None
    assert lead is not None
    assert version is not None
    return Subject(organization, SEQUENCE, 1, version.definition), lead


@pytest.mark.parametrize(
    ("of_all", "of_lead", "hour"),
    [(EVENING, {}, 17), ({}, {"07": 9}, 6), (EVENING, {"07": 40}, 6)],
    ids=["of all leads", "of the lead", "of both"],
)
def test_a_dry_run_and_a_look_ahead_plan_a_message_as_live(
    of_all: dict[str, int], of_lead: dict[str, int], hour: int
) -> None:
    scenario = live(of_all, of_lead)
    plan = scenario.state.plan
    assert plan is not None
    assert plan.at is not None
    assert (plan.why.rule, plan.at.hour) == ("best_hour", hour)  # in UTC, an hour behind Berlin
    subject_, lead = tried(scenario)
    around = knowing(of_all, {lead.id: of_lead})
    run = dry_run(subject_, lead, scenario.state.started_at, around=around)
    assert (run.steps[1]["at"], run.steps[1]["why"]["rule"]) == (plan.at.isoformat(), "best_hour")
    sequence = scenario.world.states[SEQUENCE]
    assert isinstance(sequence, Sequence)
    first = in_flight(STEPS, settings=OPTIMISED, lead={"email": "ada@example.com", "timezone": "Europe/Berlin"})
    ahead = go_on(subject_, Then(first.state, lead, sequence), first.world.now, around)
    assert ahead.steps[1]["at"] == plan.at.isoformat()


def test_a_forecast_sends_at_the_learned_hours() -> None:
    result = forecast(subject(STEPS, settings=OPTIMISED), 50, START, NOBODY, around=knowing(EVENING))
    assert result["waits"] == {"best_hour": 50}
    assert result["last_end"] is not None
    assert result["last_end"][11:13] == "18"


@pytest.mark.parametrize("together", [True, False])
def test_each_lead_of_a_forecast_has_hours_of_its_own(together: bool) -> None:
    leads = [Lead(UUID(int=number), "demo", email=f"lead{number}@example.com") for number in range(1, 31)]
    of_leads = {lead.id: {"06": 20} if lead.id.int % 3 else {"15": 20} for lead in leads}
    cohort = {lead.id: lead for lead in leads}
    tried = subject(STEPS, settings=OPTIMISED)
    result = forecast(tried, cohort, START, NOBODY, around=knowing({}, of_leads), together=together)
    assert result["waits"] == {"best_hour": 30}
    days_of = {each["day"]: each["sent"]["email"] for each in result["days"] if each["sent"]}
    assert days_of == {"2026-11-20": 30, "2026-11-23": 10, "2026-11-24": 20}  # at 15:00, and at 6:00 on the next day


def test_a_crowd_learns_of_all_as_many_answers_as_it_is_and_of_each_lead_one() -> None:
    tried = subject([email("first")], settings=OPTIMISED)
    world = CrowdWorld(START)
    world.hold(tried.organization)
    world.publish("demo", SEQUENCE, 1, tried.definition)
    simulator = CrowdSimulator(world, "demo", Figures(Rates(1, 0, 0), None, START), seed=1)
    lead = Lead(UUID(int=1), "demo", email="ada@example.com")
    world.hold(lead)
    simulator.enter(lead.id, 40)
    simulator.expect(Later(START, Enroll(lead_id=lead.id, sequence_id=SEQUENCE, by="forecast")))
    simulator.run(START + timedelta(days=1))
    assert world.figures("demo", kind_of(None)) == {"11": 40}
    assert world.figures("demo", kind_of(lead.id)) == {"11": 1}
    twin, _ = simulator.split(lead.id, 10)
    assert world.figures("demo", kind_of(twin)) == {"11": 1}


def test_what_a_simulation_learns_comes_on_top() -> None:
    world = CrowdWorld(START, around=knowing({"18": 29}))
    world.counted["demo", kind_of(None)] = {"18": 1}
    assert world.figures("demo", kind_of(None)) == world.figures("demo", kind_of(None)) == {"18": 30}


def test_a_backtest_knows_the_hours_of_others_and_learns_its_own_again() -> None:
    tried = subject(STEPS, settings=OPTIMISED)
    lead = Lead(UUID(int=1), "demo", email="ada@example.com", timezone="Europe/Berlin")
    clicked = [Played("clicked", timedelta(hours=1), "first"), Played("clicked", timedelta(hours=2), "first", "b")]
    past = [Past(UUID(int=9), lead, 1, START, clicked, sends=[Send("first", START)])]
    around = knowing({**EVENING, "11": 2, "12": 1}, {lead.id: {"11": 2}})  # at 11:00 in Berlin it clicked first
    elsewhere = Elsewhere(around.figures, tried.organization, past)
    assert elsewhere.figures("demo", kind_of(None)) == {**EVENING, "12": 1}
    assert elsewhere.figures("demo", kind_of(lead.id)) == {}
    assert elsewhere.figures("demo", "variants:x") == {}
    [course] = play(tried, past, around=elsewhere.surroundings).values()
    assert course.sends[1].at.hour == 17  # in UTC
    [alone] = play(tried, past).values()
    assert alone.sends[1].at == START + timedelta(days=3)
    summary = backtest(tried, {1: tried.definition}, past, keep=lambda _: None, around=elsewhere.surroundings)
    assert (summary["differ"], summary["ends"]["would"]) == (0, {"completed": 1})
