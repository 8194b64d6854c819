"""After a hold nobody gets a burst: steps counted from the enrollment keep the distance the sequence gives them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.template_library import built_in
from shared.events.enrollment import StepDue
from shared.events.organization import SetSender
from shared.events.sequence import ActivateSequence, DeactivateSequence
from tests.domain.scenario import SEQUENCE, Scenario, days, email, pause, resume

DAY = timedelta(days=1)
#: Many times what any sequence here takes.
MOST_TURNS = 1_000


def on_day(number: int, **more: Any) -> dict[str, Any]:
    return email(f"day-{number}", delay={**days(number), "from": "enrollment", **more})


FIVE = [on_day(0), on_day(3), on_day(7), on_day(10), on_day(14)]


def by_hand(scenario: Scenario, length: timedelta) -> None:
    pause(scenario)
    scenario.world.advance(length)
    resume(scenario)


def deactivated(scenario: Scenario, length: timedelta) -> None:
    """What falls due meanwhile is blocked."""
    scenario.when(DeactivateSequence(sequence_id=SEQUENCE))
    ends = scenario.world.now + length
    _let_run(scenario, until=ends)
    scenario.world.advance(ends - scenario.world.now)
    scenario.when(ActivateSequence(sequence_id=SEQUENCE))


def without_a_sender(scenario: Scenario, length: timedelta) -> None:
    sender = SetSender(sender_id="default", name="Demo", email="demo@example.com", active=False)
    scenario.when(sender)
    ends = scenario.world.now + length
    _let_run(scenario, until=ends)
    scenario.world.advance(ends - scenario.world.now)
    scenario.when(sender.model_copy(update={"active": True}))


def _let_run(scenario: Scenario, *, until: datetime | None = None) -> list[tuple[str, datetime]]:
    """Every message that goes out until then, or until nothing is left, with its moment. What is blocked is woken when
    there is no limit.
    """
    gone: list[tuple[str, datetime]] = []
    for _ in range(MOST_TURNS):
        if scenario.state.in_flight is not None:
            gone.append((scenario.state.in_flight.step_id, scenario.world.now))
            scenario.sent()
            continue
        timer = scenario.timer
        if timer is None or (until is not None and (timer.due_at is None or timer.due_at > until)):
            return gone
        if timer.due_at is None:
            scenario.decision = scenario.world.wake(timer)
        else:
            scenario.wake()
    pytest.fail(f"it does not come to an end: {scenario.timer}")


def offsets(gone: Sequence[tuple[str, datetime]], start: datetime) -> list[float]:
    return [round((moment - start) / DAY, 2) for _, moment in gone]


@pytest.mark.parametrize("held", [by_hand, deactivated, without_a_sender])
def test_after_a_hold_of_twenty_days_each_message_keeps_its_distance_to_the_one_before(held: Any) -> None:
    scenario = Scenario(FIVE)
    start = scenario.world.now
    scenario.wake().sent()
    held(scenario, 20 * DAY)
    assert offsets(_let_run(scenario), start) == [20, 24, 27, 31]


@pytest.mark.parametrize("held", [by_hand, deactivated])
def test_a_hold_that_ends_just_before_the_next_message_is_due_brings_no_burst_either(held: Any) -> None:
    scenario = Scenario(FIVE)
    start = scenario.world.now
    scenario.wake().sent()
    held(scenario, timedelta(days=6, hours=23))
    assert offsets(_let_run(scenario), start) == [6.96, 10.96, 13.96, 17.96]


def test_the_built_in_template_of_five_mails_sends_no_burst_after_a_hold() -> None:
    steps = [step.model_dump(mode="json", exclude_unset=True) for step in built_in()["five-emails"].steps]
    scenario = Scenario(steps)
    scenario.wake().sent()
    by_hand(scenario, 20 * DAY)
    moments = [moment for _, moment in _let_run(scenario)]
    assert [(after - before) / DAY for before, after in pairwise(moments)] == [4, 3, 4]


def test_without_a_hold_every_message_comes_on_its_day_whatever_windows_do_to_the_one_before() -> None:
    """T is a Friday: day 3 is a Monday; windows that open on Fridays and Tuesdays move it, and day 7 stays."""
    windows = [{"days": ["fri", "tue"], "start": "09:00", "end": "18:00"}]
    scenario = Scenario(FIVE[:3], settings={"windows": windows, "timezone": "UTC"})
    start = scenario.world.now
    assert offsets(_let_run(scenario), start) == [0, 4, 7]


def test_messages_that_a_window_brings_together_keep_their_distance() -> None:
    """Days 1 and 2 are a weekend: on Monday the first goes out, the second a day later."""
    scenario = Scenario([on_day(0), on_day(1), on_day(2), on_day(3)], settings={"skip_weekends": True})
    start = scenario.world.now
    gone = offsets(_let_run(scenario), start)
    assert [after - before for before, after in pairwise(gone)][1:] == [1, 1]


def test_the_reason_of_such_a_wait_names_the_step_before_and_the_moment_that_was_due() -> None:
    scenario = Scenario(FIVE)
    start = scenario.world.now
    scenario.wake().sent()
    by_hand(scenario, 20 * DAY)
    scenario.wake().sent()
    plan = scenario.state.plan
    assert plan is not None
    assert (plan.why.rule, plan.due_at) == ("spacing", start + 24 * DAY)
    assert plan.why.inputs == {"after": "day-3", "due": (start + 7 * DAY).isoformat()}


def test_a_wait_and_a_branch_counted_from_the_enrollment_keep_their_distance_too() -> None:
    branch = {
        "step_id": "branch",
        "kind": "condition",
        "delay": {**days(5), "from": "enrollment"},
        "config": {"when": {"has_tag": "vip"}},
        "then": [on_day(6)],
        "else": [email("other")],
    }
    wait = {"step_id": "wait", "kind": "wait", "delay": {**days(9), "from": "enrollment"}, "config": {}}
    scenario = Scenario([on_day(0), on_day(3), branch, wait, email("last", delay=days(1))])
    start = scenario.world.now
    scenario.wake().sent()
    by_hand(scenario, 20 * DAY)
    assert offsets(_let_run(scenario), start) == [20, 22, 27]


def test_business_days_and_times_of_day_hold_for_the_distance_as_well() -> None:
    weekdays = {"amount": 2, "unit": "business_days", "from": "enrollment"}
    steps = [on_day(0), email("b", delay=weekdays), email("c", delay={**weekdays, "amount": 4, "at": "08:00"})]
    scenario = Scenario(steps)
    scenario.wake().sent()
    by_hand(scenario, 20 * DAY)  # to Thursday 10 December, 9:00
    _let_run(scenario, until=scenario.world.now)
    plan = scenario.state.plan
    assert plan is not None
    assert plan.at == datetime(2026, 12, 15, 8, tzinfo=UTC)  # two business days later is Monday 9:00; next 8:00


def test_a_date_of_the_lead_that_is_long_past_makes_no_distance() -> None:
    """Its step came when it was its turn, not on that date."""
    expired = {"amount": 0, "unit": "days", "from": "field", "field": "trial_end"}
    scenario = Scenario(
        [on_day(0), email("expired", delay=expired), on_day(2)],
        lead={"email": "ada@example.com", "custom_fields": {"trial_end": "1999-08-12T09:00:00+00:00"}},
    )
    start = scenario.world.now
    scenario.wake().sent()
    by_hand(scenario, 20 * DAY)
    assert offsets(_let_run(scenario), start) == [20, 22]


def test_dates_of_the_lead_stay_dates() -> None:
    """A reminder before an appointment is of no use behind it."""
    before = {"amount": -1, "unit": "days", "from": "field", "field": "call"}
    scenario = Scenario(
        [on_day(0), on_day(3), email("reminder", delay=before)],
        lead={"email": "ada@example.com", "custom_fields": {"call": "2026-12-12T09:00:00+00:00"}},
    )
    start = scenario.world.now
    scenario.wake().sent()
    by_hand(scenario, 20 * DAY)
    assert offsets(_let_run(scenario), start) == [20, 21]


@given(
    gaps=st.lists(st.integers(0, 9), min_size=2, max_size=5),
    held_at=st.integers(0, 200),
    held_for=st.integers(1, 1_000),
    how=st.sampled_from([by_hand, deactivated]),
)
def test_whenever_and_however_long_the_hold_no_two_messages_after_it_are_closer_than_written(
    gaps: list[int], held_at: int, held_for: int, how: Any
) -> None:
    whole = [sum(gaps[: number + 1]) for number in range(len(gaps))]
    steps = [email(f"s{n}", delay={**days(day), "from": "enrollment"}) for n, day in enumerate([0, *whole])]
    scenario = Scenario(steps)
    gone = _let_run(scenario, until=scenario.world.now + timedelta(hours=held_at))
    if not scenario.state.is_open:
        return
    scenario.later(hours=max(0.0, held_at - (scenario.world.now - gone[0][1]).total_seconds() / 3600))
    how(scenario, timedelta(hours=held_for))
    gone += _let_run(scenario)
    assert [step for step, _ in gone] == [step["step_id"] for step in steps]
    for (_, one), (_, other), gap in zip(gone, gone[1:], gaps, strict=False):
        assert other - one >= gap * DAY
    due = [event for event in (change.event for change in scenario.log) if isinstance(event, StepDue)]
    assert len(due) == len(steps)
