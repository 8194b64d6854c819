"""What waits is planned again when its lead or the organization's rules change, and only then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from services.enrollment.domain.row_types import Timer
from shared.events.definition import DayOff, QuietHours, Window
from shared.events.enrollment import (
    Enroll,
    EnrollmentReplanned,
    RecordDeferred,
    RecordStopped,
    StepDue,
    StepPostponed,
    StepSkipped,
    StepStopRequested,
)
from shared.events.lead import EditLead, LeadBody, LeadUpdated, LeadWentAway, ScoreLead, TagLead
from shared.events.message import Message
from shared.events.organization import SetCalendar, SetOrganization, SetSender, SuppressAddress, UnsuppressAddress
from shared.events.sequence import ActivateSequence, DeactivateSequence, DraftSequence, ReleaseSequence
from shared.events.why import Plan, TimerClass, Why
from tests.domain.scenario import SEQUENCE, Scenario, T, days, definition, email, in_flight, pause, resume

MINDFUL = {"windows": [{"start": "09:00", "end": "17:00"}]}
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def local(zone: str, *parts: int) -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo(zone)).astimezone(UTC)  # type: ignore[misc, arg-type]  # parts of a date


def waiting(delay: dict[str, Any] | None = None, *, settings: dict[str, Any] | None = None, **lead: Any) -> Scenario:
    """The first message is sent on a Friday at 9:00 in UTC; the second waits."""
    known = {"email": "ada@example.com", "timezone": BERLIN, **lead}
    steps = (email("first"), email("second", delay=delay or days(3)))
    return in_flight(steps, lead=known, settings=MINDFUL if settings is None else settings).sent()


def edit(scenario: Scenario, **fields: Any) -> Scenario:
    scenario.later(minutes=1)
    return scenario.when(EditLead(lead_id=scenario.lead_id, lead=LeadBody.model_validate(fields)))


def plan(scenario: Scenario) -> Plan:
    found = scenario.state.plan
    assert found is not None
    return found


def timer(scenario: Scenario) -> Timer:
    found = scenario.timer
    assert found is not None
    return found


# --- the lead -----------------------------------------------------------------------------------------------------


def test_a_lead_that_moves_is_mailed_in_the_hours_of_its_new_zone() -> None:
    scenario = waiting()
    assert plan(scenario).at == local(BERLIN, 2026, 11, 23, 10, 0)
    edit(scenario, timezone=NEW_YORK)
    found = scenario.event(EnrollmentReplanned)
    assert found.why.inputs == {"fields": ["timezone"]}
    # Three days are counted on the wall clock, which shows 4:00 in New York at that moment.
    assert found.plan.at == plan(scenario).at == local(NEW_YORK, 2026, 11, 23, 9, 0)
    assert timer(scenario).due_at == local(NEW_YORK, 2026, 11, 23, 9, 0)


def test_a_delay_to_a_time_of_day_follows_the_lead() -> None:
    scenario = waiting({"amount": 1, "unit": "days", "at": "08:30"}, settings={})
    assert plan(scenario).at == local(BERLIN, 2026, 11, 22, 8, 30)
    edit(scenario, timezone=NEW_YORK)
    assert plan(scenario).at == local(NEW_YORK, 2026, 11, 21, 8, 30)


def test_a_date_field_that_moves_takes_its_step_along() -> None:
    before = {"amount": -2, "unit": "days", "from": "field", "field": "renewal", "at": "09:00"}
    scenario = waiting(before, custom_fields={"renewal": "2026-12-10"})
    assert plan(scenario).at == local(BERLIN, 2026, 12, 8, 9, 0)
    edit(scenario, custom_fields={"renewal": "2027-01-10"})
    assert plan(scenario).at == local(BERLIN, 2027, 1, 8, 9, 0)
    edit(scenario, custom_fields={"renewal": "2026-11-01"})  # its moment has passed
    assert plan(scenario).at == scenario.world.now
    assert timer(scenario).due_at == scenario.world.now


NO_DATES = ["9999-12-31", "0001-01-01", "soon", 7, None, ["2026-12-01"], "2026-13-01"]


@pytest.mark.parametrize("value", NO_DATES)
def test_a_field_that_is_no_date_counts_as_the_previous_step(value: Any) -> None:
    scenario = waiting(
        {"amount": 2, "unit": "weeks", "from": "field", "field": "renewal"}, custom_fields={"renewal": value}
    )
    assert plan(scenario).at == local(BERLIN, 2026, 12, 4, 10, 0)


@pytest.mark.parametrize("value", NO_DATES)
def test_a_step_before_a_date_that_there_is_not_is_passed_over(value: Any) -> None:
    before = {"amount": -100, "unit": "weeks", "from": "field", "field": "renewal"}
    scenario = waiting(before, custom_fields={"renewal": value}, settings={})
    assert scenario.event(StepSkipped).why == Why(rule="no_date", inputs={"field": "renewal"})


@pytest.mark.parametrize(
    "change",
    [{"first_name": "Grace"}, {"custom_fields": {"budget": 1}}, {"timezone": BERLIN}, {"tags": ["x"]}, {"score": 90}],
)
def test_what_no_plan_is_made_from_plans_nothing_again(change: dict[str, Any]) -> None:
    scenario = waiting()
    before = scenario.state
    edit(scenario, **change)
    assert "EnrollmentReplanned" not in scenario.names
    assert scenario.state == before
    scenario.when(ScoreLead(lead_id=scenario.lead_id, add=5)).then("LeadScored")
    scenario.when(TagLead(lead_id=scenario.lead_id, add=["y"])).then("LeadTagged")


def test_a_zone_with_the_same_clock_plans_nothing_again() -> None:
    edit(waiting(), timezone="Europe/Paris").then("LeadDetailsMerged")


def test_a_moment_that_a_fault_gave_stays() -> None:
    scenario = in_flight(settings={"retry_delay_minutes": 120}, lead={"email": "ada@example.com", "timezone": BERLIN})
    scenario.when(scenario.outcome(RecordDeferred))
    assert plan(scenario).why.rule == "retry"
    edit(scenario, timezone=NEW_YORK).then("LeadDetailsMerged")
    assert plan(scenario).at == T + timedelta(hours=2)


def test_a_paused_enrollment_goes_on_at_the_new_moment() -> None:
    scenario = waiting({"amount": 1, "unit": "days", "at": "08:30"}, settings={})
    pause(scenario)
    edit(scenario, timezone=NEW_YORK)
    assert scenario.event(EnrollmentReplanned).plan.blocked_on == "pause"
    assert (timer(scenario).due_at, timer(scenario).blocked_on) == (None, "pause")
    resume(scenario)
    assert plan(scenario).at == local(NEW_YORK, 2026, 11, 21, 8, 30)


def test_a_step_in_flight_is_left_alone() -> None:
    scenario = in_flight(lead={"email": "ada@example.com", "timezone": BERLIN})
    edit(scenario, timezone=NEW_YORK).then("LeadDetailsMerged")
    assert scenario.state.in_flight is not None


def test_a_step_that_a_bounce_leaves_without_an_address_says_so() -> None:
    scenario = waiting(settings={"limits": {"per_day": 5}, "stop_on": []})
    scenario.when(scenario.signal("bounced", bounce_kind="hard"))
    why = scenario.event(EnrollmentReplanned).plan.why
    assert (why.rule, why.inputs) == ("suppression", {"channel": "email", "reason": "bounce"})


def test_a_suppressed_lead_gives_its_place_in_a_limit_back() -> None:
    scenario = waiting(settings={"limits": {"per_day": 5}, "stop_on": []})
    assert plan(scenario).reserved
    scenario.when(SuppressAddress(address="ada@example.com"))
    found = scenario.event(EnrollmentReplanned)
    assert (found.plan.reserved, found.plan.why.rule) == ([], "suppression")
    assert found.plan.why.inputs == {"channel": "email", "reason": "by_hand"}
    assert found.why.inputs == {"fields": ["suppressed"]}
    scenario.wake().then("StepSkipped", "EnrollmentCompleted", "LeadLeftSequence")


def test_a_consent_withdrawn_and_given_again() -> None:
    scenario = waiting(settings={**MINDFUL, "limits": {"per_day": 5}})
    planned = plan(scenario)
    scenario.later(minutes=1)
    edit(scenario, consent={"email": False})
    assert (plan(scenario).reserved, plan(scenario).why.rule) == ([], "consent")
    scenario.later(minutes=1)
    edit(scenario, consent={"email": True})
    assert (plan(scenario).at, plan(scenario).reserved) == (planned.at, planned.reserved)


@pytest.mark.parametrize("by", ["a person", "a funnel", "a funnel, for the first time"])
def test_a_consent_withdrawn_stops_what_is_on_its_way(by: str) -> None:
    consent = {} if by == "a funnel, for the first time" else {"consent": {"email": True}}
    scenario = in_flight(lead={"email": "ada@example.com", **consent}).later(minutes=1)
    body = LeadBody(email="ada@example.com", consent={"email": False})
    word = LeadUpdated(organization_id="demo", lead=body)
    order = EditLead(lead_id=scenario.lead_id, lead=LeadBody(consent={"email": False}))
    scenario.when(order if by == "a person" else word, message_id="u").then("LeadDetailsMerged", "StepStopRequested")
    assert scenario.event(StepStopRequested).reason == "consent"
    scenario.when(scenario.outcome(RecordStopped, reason="consent")).then("StepStopped")
    scenario.wake()
    assert scenario.event(StepSkipped).why.rule == "consent"


def test_a_message_sent_in_spite_of_a_withdrawn_consent_counts_as_sent_and_the_next_is_passed_over() -> None:
    scenario = edit(in_flight(lead={"email": "ada@example.com"}), consent={"email": False})
    scenario.sent().then("StepSent")
    assert scenario.wake().event(StepSkipped).why.rule == "consent"


@pytest.mark.parametrize("consent", [{"sms": False}, {"email": True}, {"open_tracking": False}])
def test_another_word_about_consent_stops_nothing(consent: dict[str, bool]) -> None:
    scenario = in_flight(lead={"email": "ada@example.com"})
    edit(scenario, consent=consent).then("LeadDetailsMerged")


def test_a_consent_refused_again_asks_for_no_second_stop() -> None:
    scenario = edit(in_flight(lead={"email": "ada@example.com"}), consent={"email": False})
    word = LeadUpdated(
        organization_id="demo",
        occurred_at=scenario.world.now,
        lead=LeadBody(email="ada@example.com", consent={"email": False}, status="New"),
    )
    scenario.later(minutes=1).when(word, message_id="again").then("LeadDetailsMerged")


def test_a_domain_on_the_list_is_found_when_the_step_is_due() -> None:
    scenario = waiting()
    scenario.when(SuppressAddress(address="@example.com")).then("AddressSuppressed")
    scenario.wake().then("StepSkipped", "EnrollmentCompleted", "LeadLeftSequence")


def test_lifting_a_suppression_lets_the_step_go_out() -> None:
    scenario = waiting().when(SuppressAddress(address="ada@example.com"))
    scenario.when(UnsuppressAddress(address="ada@example.com"))
    scenario.wake().event(StepDue)


# --- held by its sequence or sender ---------------------------------------------------------------------------------

BEFORE_RENEWAL = {"amount": -3, "unit": "days", "from": "field", "field": "renewal"}
OFF: dict[str, list[Message]] = {
    "sequence": [DeactivateSequence(sequence_id=SEQUENCE), ActivateSequence(sequence_id=SEQUENCE)],
    "sender": [
        SetSender(sender_id="default", name="Demo", email="demo@example.com", active=active) for active in (False, True)
    ],
}


def held(how: str) -> Scenario:
    """The message before the renewal of 10 December has come due and is held."""
    scenario = Scenario([email("a", delay=BEFORE_RENEWAL)], lead={"email": "ada@x.com", "renewal": "2026-12-10"})
    if how == "brake":
        brake(scenario, Why(rule="bounce_rate"))
    else:
        scenario.when(OFF[how][0])
    scenario.wake().then("StepPostponed")
    assert (plan(scenario).blocked_on or "").startswith(how)
    return scenario


def brake(scenario: Scenario, why: Why | None) -> None:
    sequence = scenario.world.sequence(SEQUENCE)
    assert sequence is not None
    scenario.world.hold(replace(sequence, braked=why))


def let_go(scenario: Scenario, how: str) -> Scenario:
    return scenario.when(ReleaseSequence(sequence_id=SEQUENCE) if how == "brake" else OFF[how][1])


@pytest.mark.parametrize("how", ["sequence", "sender", "brake"])
def test_a_date_moved_while_the_step_is_held_counts_once_it_is_let_go(how: str) -> None:
    scenario = held(how)
    blocked_on = plan(scenario).blocked_on
    edit(scenario, custom_fields={"renewal": "2027-06-10"}).then("LeadDetailsMerged", "EnrollmentReplanned")
    assert (plan(scenario).at, plan(scenario).blocked_on) == (None, blocked_on)
    assert timer(scenario).blocked_on == blocked_on
    let_go(scenario, how)
    assert timer(scenario).due_at == scenario.world.now
    scenario.decision = scenario.world.wake(timer(scenario))
    scenario.then("EnrollmentReplanned")
    assert timer(scenario).due_at == datetime(2027, 6, 7, tzinfo=UTC)
    scenario.wake().then("StepDue")
    assert scenario.world.now == datetime(2027, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize("how", ["sequence", "sender", "brake"])
def test_a_date_moved_before_the_waking_reached_the_step_lets_it_wait_for_that_date(how: str) -> None:
    scenario = let_go(held(how), how)
    edit(scenario, custom_fields={"renewal": "2027-06-10"}).then("LeadDetailsMerged", "EnrollmentReplanned")
    assert plan(scenario).blocked_on is None
    assert timer(scenario).due_at == datetime(2027, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize("renewal", ["2026-12-10", "2026-12-01"])
def test_a_held_step_whose_date_has_passed_goes_out_when_it_is_let_go(renewal: str) -> None:
    scenario = held("sequence")
    edit(scenario, custom_fields={"renewal": renewal, "plan": "gold"})
    let_go(scenario, "sequence")
    scenario.decision = scenario.world.wake(timer(scenario))
    scenario.then("StepDue")


def test_a_held_step_keeps_the_moment_that_a_fault_gave() -> None:
    scenario = in_flight([email("a")], lead={"email": "ada@example.com", "timezone": BERLIN})
    scenario.when(scenario.outcome(RecordDeferred)).when(OFF["sequence"][0])
    scenario.wake().then("StepPostponed")
    edit(scenario, timezone=NEW_YORK).then("LeadDetailsMerged")


def test_rules_that_open_again_before_the_delay_is_over_let_nothing_out_early() -> None:
    never = {"windows": [{"days": ["mon"], "start": "09:00", "end": "10:00"}]}
    scenario = waiting(settings=never)
    assert plan(scenario).at is not None
    scenario.when(SetOrganization(windows=[Window(days=["tue"], start="09:00", end="10:00")]))
    ring_all(scenario)
    assert plan(scenario).blocked_on == "hours"
    scenario.when(SetOrganization(windows=[]))
    ring_all(scenario)
    assert plan(scenario).blocked_on is None
    at = plan(scenario).at
    assert at is not None
    assert at >= T + timedelta(days=3)


# --- the organization ---------------------------------------------------------------------------------------------


def ring_all(scenario: Scenario) -> Scenario:
    """Lets every timer that has come due ring, as the scheduler does."""
    for due in scenario.world.due():
        scenario.decision = scenario.world.wake(due)
    return scenario


def test_a_day_off_set_later_moves_what_waits() -> None:
    scenario = waiting()
    scenario.when(SetCalendar(calendar="organization", days_off=[DayOff(first=date(2026, 11, 23))]))
    ring_all(scenario)
    assert scenario.event(EnrollmentReplanned).why.rule == "rules_changed"
    assert plan(scenario).at == timer(scenario).due_at == local(BERLIN, 2026, 11, 24, 9, 0)
    scenario.when(SetCalendar(calendar="organization"))
    ring_all(scenario)
    assert plan(scenario).at == timer(scenario).due_at == local(BERLIN, 2026, 11, 23, 10, 0)


def test_waking_for_rules_that_change_nothing_leaves_the_timer_where_it_was() -> None:
    scenario = waiting()
    before = timer(scenario)
    scenario.when(SetOrganization(windows=[Window(start="08:00", end="20:00")]))
    assert timer(scenario).due_at == scenario.world.now
    ring_all(scenario).nothing()
    assert timer(scenario) == before


def test_watchdogs_are_not_woken_by_a_change_of_rules() -> None:
    scenario = in_flight()
    before = timer(scenario)
    assert before.timer_class == TimerClass.WATCHDOG
    scenario.when(SetOrganization(windows=[Window(start="08:00", end="20:00")]))
    assert timer(scenario) == before


def test_a_members_calendar_wakes_nobody() -> None:
    scenario = waiting()
    scenario.when(SetOrganization(name="Other"))
    assert timer(scenario).due_at == plan(scenario).at


def test_rules_that_never_open_together_hold_the_step_until_one_changes() -> None:
    scenario = waiting(settings={"windows": [{"start": "09:00", "end": "12:00"}]})
    scenario.when(SetOrganization(windows=[Window(start="13:00", end="17:00")]))
    ring_all(scenario)
    assert (plan(scenario).at, plan(scenario).blocked_on, plan(scenario).why.rule) == (None, "hours", "never_open")
    assert timer(scenario).blocked_on == "hours"
    scenario.later(days=30)
    assert scenario.world.due() == []
    scenario.when(SetOrganization(windows=[Window(start="11:00", end="17:00")]))
    ring_all(scenario)
    assert plan(scenario).at == local(BERLIN, 2026, 12, 20, 11, 0)  # thirty days on, at 10:00 in Berlin


def test_a_due_step_whose_rules_no_longer_open_waits_and_is_not_sent() -> None:
    scenario = waiting(settings={"windows": [{"start": "09:00", "end": "12:00"}]})
    scenario.world.organization("demo")
    scenario.when(SetOrganization(windows=[Window(start="13:00", end="17:00")]))
    scenario.world.now = local(BERLIN, 2026, 11, 23, 10, 0)
    ring_all(scenario)
    assert scenario.event(StepPostponed).plan.blocked_on == "hours"


def test_quiet_hours_may_be_set_and_switched_off() -> None:
    scenario = waiting()
    scenario.when(SetOrganization(quiet_hours=QuietHours(start="20:00", end="09:00")))
    organization = scenario.world.organization("demo")
    assert organization is not None
    rule = organization.loud_hours_for("sms")
    assert rule is not None
    opening = rule.opening(local("UTC", 2026, 11, 20, 20, 0), ZoneInfo("UTC"))
    assert opening == (local("UTC", 2026, 11, 21, 9, 0), local("UTC", 2026, 11, 21, 20, 0))
    assert organization.loud_hours_for("email") is None
    scenario.when(SetOrganization(quiet_hours=QuietHours(start="00:00", end="00:00")))
    organization = scenario.world.organization("demo")
    assert organization is not None
    assert organization.loud_hours_for("whatsapp") is None


# --- absences -----------------------------------------------------------------------------------------------------


def answer(scenario: Scenario, returns_on: date | None, **more: Any) -> Scenario:
    fields = {"auto_reply": True, "returns_on": returns_on, **more}
    return scenario.when(scenario.signal("replied", **fields))


def test_an_out_of_office_answer_moves_the_step_behind_the_return() -> None:
    scenario = waiting()
    answer(scenario, date(2026, 12, 1))
    assert scenario.names == ["SignalReceived", "LeadWentAway", "EnrollmentReplanned"]
    found = plan(scenario)
    assert found.at == local(BERLIN, 2026, 12, 1, 9, 0)
    assert (found.why.rule, found.why.inputs["returns_on"]) == ("out_of_office", "2026-12-01")
    assert scenario.state.executions[1].signals == {}  # it is no reply
    assert scenario.state.status == "active"
    scenario.wake().event(StepDue)


def test_the_same_answer_again_changes_nothing_more() -> None:
    scenario = answer(waiting(), date(2026, 12, 1))
    answer(scenario, date(2026, 12, 1)).then("SignalReceived")


def test_a_later_word_counts() -> None:
    scenario = answer(answer(waiting(), date(2026, 12, 1)), date(2026, 11, 25))
    assert plan(scenario).at == local(BERLIN, 2026, 11, 25, 9, 0)


def test_an_absence_is_believed_for_sixty_days() -> None:
    scenario = answer(waiting(settings={}), date(2028, 1, 1))
    assert scenario.event(LeadWentAway).returns_on == date(2027, 1, 19)
    assert plan(scenario).at == local(BERLIN, 2027, 1, 19, 0, 0)


@pytest.mark.parametrize("returns_on", [None, date(2026, 11, 19)])
def test_without_a_day_to_come_nothing_moves(returns_on: date | None) -> None:
    answer(waiting(), returns_on).then("SignalReceived")


def test_steps_for_which_nobody_is_needed_go_on_and_messages_behind_them_wait() -> None:
    steps = (email("first"), {"step_id": "pause", "kind": "wait", "delay": days(1)}, email("second"))
    scenario = in_flight(steps, lead={"email": "ada@example.com", "timezone": BERLIN}).sent()
    answer(scenario, date(2026, 12, 1)).then("SignalReceived", "LeadWentAway")
    scenario.wake().then("StepTaken")
    assert plan(scenario).at == local(BERLIN, 2026, 12, 1, 0, 0)


def test_another_sequence_of_the_lead_waits_too() -> None:

    scenario = waiting()
    other = UUID(int=77)
    made = definition([email("a", delay=days(2))], trigger={"start": "manual"})
    scenario.when(DraftSequence(sequence_id=other, definition=made, activate=True))

    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=other))
    assert scenario.decision is not None
    second = UUID(str(scenario.decision.result["enrollment_id"]))
    answer(scenario, date(2026, 12, 1))
    state = scenario.world.enrollment(second)
    assert state is not None
    assert state.plan is not None
    assert state.plan.at == local(BERLIN, 2026, 12, 1, 0, 0)
