"""Send-time optimisation: what it learns, where it moves a message, and where it must not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.enrollment.domain.best_hour import LATEST, Habits, better_moment, kind_of, may_move
from services.enrollment.domain.windows import Hours, next_open
from shared.events.definition import Delay, Weekday, Window
from shared.events.enrollment import StepDue
from shared.events.lead import EraseLead
from tests.domain.scenario import Scenario, T, days, email, in_flight
from tests.domain.wall_clock import Says, first_opening

BERLIN = ZoneInfo("Europe/Berlin")
#: Everybody answers at 15:00.
AFTERNOON = {"15": 40}


def waiting(
    counted: Mapping[str, int], *, of_lead: Mapping[str, int] | None = None, delay: Any = None, **settings: Any
) -> Scenario:
    """The second message is planned by what is counted; the first was sent on a Friday at 10:00 in Berlin."""
    steps = (email("first"), email("second", delay=delay or days(3)))
    asked = {"send_time": "optimised", **settings}
    scenario = in_flight(steps, settings=asked, lead={"email": "ada@example.com", "timezone": "Europe/Berlin"})
    scenario.world.counted["demo", kind_of(None)] = dict(counted)
    scenario.world.counted["demo", kind_of(scenario.lead_id)] = dict(of_lead or {})
    return scenario.sent()


def planned(scenario: Scenario) -> datetime:
    assert scenario.state.plan is not None
    assert scenario.state.plan.at is not None
    return scenario.state.plan.at.astimezone(BERLIN)


def test_a_message_moves_to_the_hour_in_which_leads_answer() -> None:
    scenario = waiting(AFTERNOON)
    found = planned(scenario)
    assert (found.date().isoformat(), found.hour) == ("2026-11-23", 15)
    assert scenario.state.plan is not None
    why = scenario.state.plan.why
    assert why.rule == "best_hour"
    assert (why.inputs["hour"], why.inputs["zone"], why.inputs["known_of_organization"]) == (15, "Europe/Berlin", 40)
    assert why.inputs["share"] > why.inputs["share_before"]
    assert scenario.state.plan.due_at == T + timedelta(days=3)
    scenario.wake().event(StepDue)


def test_a_leads_own_habit_outweighs_the_others() -> None:
    assert planned(waiting(AFTERNOON, of_lead={"20": 12})).hour == 20
    assert planned(waiting({}, of_lead={"07": 3})).hour == 7


def test_the_window_holds() -> None:
    window = [{"start": "09:00", "end": "14:00"}]
    assert planned(waiting({"15": 40, "12": 5}, windows=window)).hour == 12
    assert planned(waiting({"20": 400}, windows=window)).hour == 10  # no hour within is better than another


def test_an_hour_on_the_next_day_is_within_a_day_of_the_due_moment() -> None:
    found = planned(waiting({"08": 90}))
    assert (found.date().isoformat(), found.hour) == ("2026-11-24", 8)
    assert planned(waiting({"10": 90})).hour == 10


@pytest.mark.parametrize("counted", [{}, {"15": 29}])
def test_little_knowledge_moves_nothing(counted: dict[str, int]) -> None:
    scenario = waiting(counted, of_lead={"15": 2})
    assert planned(scenario) == T + timedelta(days=3)
    assert scenario.state.plan is not None
    assert scenario.state.plan.why.rule == "delay"


def test_a_fixed_sequence_moves_nothing() -> None:
    assert planned(waiting(AFTERNOON, send_time="fixed")) == T + timedelta(days=3)


def test_a_step_without_a_wait_or_with_its_own_time_keeps_it() -> None:
    assert not may_move(Delay())
    assert not may_move(Delay(amount=2, unit="days", at="09:00"))
    assert may_move(Delay(amount=2, unit="days"))
    assert may_move(Delay.model_validate({"from": "field", "field": "renewal"}))
    assert planned(waiting(AFTERNOON, delay={"amount": 3, "unit": "days", "at": "09:00"})).hour == 9
    scenario = Scenario(settings={"send_time": "optimised"}, enrolled=False)
    scenario.world.counted["demo", kind_of(None)] = dict(AFTERNOON)
    assert planned(scenario.create(email="ada@example.com")) == T


def test_a_message_that_moves_reserves_its_places_there() -> None:
    scenario = waiting(AFTERNOON, limits={"per_day": 5})
    assert planned(scenario).hour == 15
    assert scenario.state.plan is not None
    assert scenario.state.plan.reserved


def test_hours_are_learned_on_the_leads_clock_from_persons_only() -> None:
    scenario = waiting({}).later(hours=5)  # 15:00 in Berlin
    scenario.when(scenario.signal("opened", machine=0.9, machine_reason="proxy"))
    assert scenario.world.figures("demo", kind_of(None)) == {}
    scenario.when(scenario.signal("opened"))
    scenario.when(scenario.signal("opened"))
    scenario.when(scenario.signal("clicked"))
    scenario.when(scenario.signal("delivered"))
    assert scenario.world.figures("demo", kind_of(None)) == {"15": 3}
    assert scenario.world.figures("demo", kind_of(scenario.lead_id)) == {"15": 3}


def test_a_leads_hours_are_forgotten_with_it() -> None:
    scenario = waiting({}).later(hours=5)
    scenario.when(scenario.signal("opened")).when(EraseLead(lead_id=scenario.lead_id))
    assert scenario.world.figures("demo", kind_of(scenario.lead_id)) == {}
    assert scenario.world.figures("demo", kind_of(None)) == {"15": 1}


def test_the_same_history_gives_the_same_moment() -> None:
    assert planned(waiting(AFTERNOON)) == planned(waiting(AFTERNOON))


weekdays: list[Weekday] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
hours = st.dictionaries(st.integers(0, 23).map(lambda hour: f"{hour:02d}"), st.integers(0, 100), max_size=24)
windows = st.builds(
    Window,
    days=st.lists(st.sampled_from(weekdays), min_size=3, unique=True),
    start=st.sampled_from(["00:00", "08:00", "09:30", "22:00"]),
    end=st.sampled_from(["00:00", "06:00", "12:15", "17:00"]),
)


@given(
    hours,
    hours,
    windows,
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    st.integers(0, 400 * 24 * 60),
    st.floats(0, 1, exclude_max=True),
)
def test_a_better_moment_is_open_in_time_and_better(
    of_lead: dict[str, int], of_all: dict[str, int], window: Window, name: str, minute: int, draw: float
) -> None:
    zone, habits = ZoneInfo(name), Habits(of_lead, of_all)
    due = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    rules = [(Hours([window]), zone)]
    opening = next_open(due, rules)
    assume(opening is not None)
    assert opening is not None
    found = better_moment(opening.start, due, habits, rules, zone, draw)
    if found is None:
        return
    assert opening.start < found.at < due + LATEST
    assert habits.share(found.at.astimezone(zone).hour) > habits.share(opening.start.astimezone(zone).hour)
    minute_of = found.at.replace(second=0, microsecond=0)
    assert first_opening([Says(name, (window,))], minute_of, 1)[0] == minute_of, "outside the window"


@given(hours, hours)
def test_shares_add_up_and_follow_the_counts(of_lead: dict[str, int], of_all: dict[str, int]) -> None:
    habits = Habits(of_lead, of_all)
    shares = [habits.share(hour) for hour in range(24)]
    assert abs(sum(shares) - 1) < 1e-9
    assert min(shares) > 0
