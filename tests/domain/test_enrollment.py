"""Enrollments: the calm way, what happens when a step is due, and people's part."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.enrollment.domain.errors import InvalidMoment, UnknownTarget
from shared.events.enrollment import (
    CancelEnrollment,
    EnrollmentExited,
    EnrollmentPaused,
    EnrollmentResumed,
    PauseEnrollment,
    RecordDeferred,
    StepDeferred,
    StepDue,
    StepPostponed,
    StepSent,
    StepSkipped,
    StepTaken,
    WakeTimer,
)
from shared.events.lead import EraseLead, TagLead
from shared.events.organization import SetOrganization, SetSender, SuppressAddress
from shared.events.sequence import ActivateSequence, ArchiveSequence, DeactivateSequence
from shared.events.task import CompleteTask, TaskOpened, TaskWithdrawn
from shared.events.why import TimerClass
from tests.domain.scenario import SEQUENCE, Scenario, T, days, email, in_flight, pause, resume

HOURS = [{"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:00"}]


# --- the calm way ---------------------------------------------------------------------------------------------------


def test_an_automatic_step_that_goes_well_is_two_events() -> None:
    scenario = Scenario().wake().then("StepDue").sent().then("StepSent")
    plan = scenario.event(StepSent).plan
    assert (plan.step_id, plan.execution, plan.at) == ("second", 2, T + timedelta(days=3))
    scenario.wake().then("StepDue").sent().then("StepSent", "EnrollmentCompleted", "LeadLeftSequence")
    assert scenario.timer is None


def test_a_delay_counts_from_the_moment_it_was_sent() -> None:
    scenario = in_flight().later(hours=2).sent(sent_at=T + timedelta(hours=1))
    assert scenario.event(StepSent).plan.at == T + timedelta(days=3, hours=1)


def test_a_delay_can_count_from_the_enrollment_and_move_to_a_time_of_day() -> None:
    second = email("second", delay={"amount": 2, "unit": "days", "from": "enrollment", "at": "08:30"})
    scenario = in_flight([email("first"), second], lead={"email": "a@example.com", "timezone": "Europe/Berlin"})
    assert scenario.later(hours=5).sent().event(StepSent).plan.at.isoformat() == "2026-11-23T07:30:00+00:00"


def test_a_delay_can_count_from_a_field_of_the_lead() -> None:
    second = email("second", delay={"amount": 1, "unit": "days", "from": "field", "field": "custom_fields.demo_on"})
    scenario = in_flight(
        [email("first"), second], lead={"email": "a@example.com", "custom_fields": {"demo_on": "2026-12-01"}}
    )
    assert scenario.sent().event(StepSent).plan.at.isoformat() == "2026-12-02T00:00:00+00:00"


def test_steps_that_take_effect_at_once_follow_in_one_decision() -> None:
    steps = [
        email("first"),
        {
            "step_id": "fork",
            "kind": "condition",
            "config": {"when": {"field": "lead.score", "op": "gte", "value": 50}},
            "then": [{"step_id": "warm", "kind": "tag", "config": {"add": ["warm"]}}],
            "else": [{"step_id": "cold", "kind": "tag", "config": {"add": ["cold"]}}],
        },
        email("idle", active=False),
        {"step_id": "wait", "kind": "wait"},
        {"step_id": "plus", "kind": "score", "config": {"add": 7}},
        email("second", delay=days(1)),
    ]
    scenario = in_flight(steps).sent()
    scenario.then(
        "StepSent", "StepTaken", "StepTaken", "LeadTagged", "StepSkipped", "StepTaken", "StepTaken", "LeadScored"
    )
    fork = next(event for event in scenario.events if isinstance(event, StepTaken))
    assert (fork.arm, fork.why and fork.why.inputs) == ("else", {"lead.score gte": 0})
    assert scenario.state.plan is not None
    assert scenario.state.plan.step_id == "second"
    lead = scenario.world.lead(scenario.lead_id)
    assert lead is not None
    assert (lead.tags, lead.score) == (frozenset({"cold"}), 7)


def test_a_follow_up_without_a_wait_goes_out_in_the_decision_that_planned_it() -> None:
    scenario = in_flight([email("first"), email("second"), email("third", delay=days(1))])
    scenario.sent().then("StepSent", "StepDue")
    plan = scenario.event(StepSent).plan
    assert (plan.step_id, plan.timer_class) == ("second", TimerClass.FOLLOW_UP)
    assert (scenario.event(StepDue).execution, scenario.event(StepDue).due_at) == (2, T)
    assert scenario.timer is not None
    assert scenario.timer.timer_class == TimerClass.WATCHDOG
    scenario.sent(2).then("StepSent")


def test_a_follow_up_without_a_wait_still_minds_its_window() -> None:
    scenario = in_flight([email("first"), email("second")], settings={"windows": HOURS})
    scenario.later(hours=12)
    scenario.sent().then("StepSent")
    assert scenario.event(StepSent).plan.at > scenario.world.now


def test_a_first_message_without_a_wait_takes_its_turn_at_the_scheduler() -> None:
    scenario = Scenario([email("first")])
    assert "StepDue" not in scenario.names
    assert scenario.timer is not None
    assert scenario.timer.timer_class == TimerClass.FIRST_TOUCH


def test_an_exit_step_ends_the_enrollment() -> None:
    scenario = in_flight([email("first"), {"step_id": "out", "kind": "exit", "config": {"reason": "enough"}}]).sent()
    scenario.then("StepSent", "StepTaken", "EnrollmentExited", "LeadLeftSequence")
    assert scenario.state.reason == "enough"


# --- when a step is due ---------------------------------------------------------------------------------------------


def test_a_step_waits_for_its_window_and_knows_it_beforehand() -> None:
    steps = [email("first"), email("second", delay={"amount": 30, "unit": "hours"})]
    scenario = in_flight(steps, settings={"windows": HOURS}).sent()
    plan = scenario.event(StepSent).plan
    assert plan.at.isoformat() == "2026-11-23T09:00:00+00:00"  # Saturday afternoon becomes Monday morning
    assert (plan.due_at, plan.why.rule) == (T + timedelta(hours=30), "window")


def test_a_late_timer_outside_the_window_postpones() -> None:
    scenario = Scenario(settings={"windows": HOURS}).later(hours=9).wake().then("StepPostponed")
    assert scenario.event(StepPostponed).plan.at.isoformat() == "2026-11-23T09:00:00+00:00"


def test_valid_until_is_the_end_of_the_window_or_an_hour() -> None:
    scenario = in_flight(settings={"windows": HOURS})
    assert scenario.event(StepDue).valid_until == T + timedelta(hours=1)
    late = Scenario(settings={"windows": HOURS}).later(hours=7, minutes=30).wake()
    assert late.event(StepDue).valid_until == T + timedelta(hours=8)


def test_hours_of_the_organization_hold_as_well() -> None:
    scenario = Scenario(enrolled=False)
    scenario.when(SetOrganization.model_validate({"windows": [{"start": "12:00", "end": "13:00"}]}))
    scenario.create(email="ada@example.com")
    assert scenario.state.plan is not None
    assert scenario.state.plan.at == T + timedelta(hours=3)


def test_waiting_for_a_limit_reserves_the_earliest_free_slot() -> None:
    scenario = Scenario(settings={"limits": {"per_day": 2, "per_minute": 1}})
    moments = [scenario.state.plan.at if scenario.state.plan else None]
    for name in ("b", "c"):
        scenario.create(email=f"{name}@example.com")
        assert scenario.state.plan is not None
        moments.append(scenario.state.plan.at)
    assert moments == [T, T + timedelta(minutes=1), T.replace(day=21, hour=0)]


def test_a_cancelled_step_gives_its_slot_back() -> None:
    scenario = Scenario(settings={"limits": {"per_day": 1}})
    scenario.when(CancelEnrollment(enrollment_id=scenario.enrollment_id))
    assert set(scenario.world.quotas.values()) == {0}
    assert scenario.create(email="b@example.com").state.plan is not None
    assert scenario.state.plan.at == T  # type: ignore[union-attr]  # said by the line before


def test_a_deferred_step_gives_its_slot_back_and_takes_another() -> None:
    scenario = in_flight(settings={"limits": {"per_day": 1}}).later(minutes=5)
    scenario.when(scenario.outcome(RecordDeferred, fault=False))
    taken, reserved = (f"{kind}day:2026-11-20" for kind in ("", "first:"))
    assert {slot: used for (_, _, slot), used in scenario.world.quotas.items()} == {taken: 0, reserved: 1}
    assert scenario.event(StepDeferred).plan.at == T + timedelta(minutes=6)


def test_a_suppressed_address_is_passed_over() -> None:
    scenario = Scenario()
    scenario.when(SuppressAddress(address="@example.com")).then("AddressSuppressed")
    scenario.wake()
    assert scenario.event(StepSkipped).why.rule == "suppression"


@pytest.mark.parametrize(("fields", "rule"), [({"consent": {"email": False}}, "consent")])
def test_a_lead_without_consent_is_passed_over(fields: dict[str, Any], rule: str) -> None:
    scenario = Scenario().create(email="ada@example.com", **fields).wake()
    assert scenario.event(StepSkipped).why.rule == rule


def test_a_step_is_passed_over_by_its_own_conditions() -> None:
    scenario = in_flight([email("first", conditions={"has_tag": "vip"}), email("second", delay=days(1))])
    scenario.then("StepSkipped")
    assert scenario.event(StepSkipped).why.inputs == {"tag vip": False}
    assert scenario.event(StepSkipped).plan.at == T + timedelta(days=1)


def test_a_paused_sequence_holds_its_leads_and_gives_up_nobody() -> None:
    scenario = Scenario().when(DeactivateSequence(sequence_id=SEQUENCE)).wake().then("StepPostponed")
    assert scenario.state.plan is not None
    assert (scenario.state.plan.at, scenario.state.plan.blocked_on) == (None, f"sequence:{SEQUENCE}")
    assert scenario.timer is not None
    assert scenario.timer.due_at is None
    scenario.when(ActivateSequence(sequence_id=SEQUENCE)).then("SequenceResumed").wake().then("StepDue")


def test_an_archived_sequence_lets_those_inside_finish() -> None:
    Scenario().when(ArchiveSequence(sequence_id=SEQUENCE)).wake().then("StepDue")


def test_a_step_without_an_active_sender_is_blocked_by_name() -> None:
    off = SetSender(sender_id="default", name="Demo", email="demo@example.com", active=False)
    scenario = Scenario().when(off).wake().then("StepPostponed")
    assert scenario.state.plan is not None
    assert scenario.state.plan.blocked_on == "sender:default"
    scenario.when(off.model_copy(update={"active": True})).wake().then("StepDue")


def test_a_timer_that_the_state_has_left_behind_does_nothing() -> None:
    scenario = in_flight()
    stale = WakeTimer(enrollment_id=scenario.enrollment_id, execution=1, attempt=1, timer_class=TimerClass.FIRST_TOUCH)
    scenario.when(stale).nothing()
    assert scenario.timer is not None
    assert scenario.timer.timer_class == TimerClass.WATCHDOG


# --- people ---------------------------------------------------------------------------------------------------------

CALL = {"step_id": "call", "kind": "task", "config": {"title": "Call", "due_in_hours": 4}}


def test_a_task_step_waits_for_a_person() -> None:
    scenario = Scenario([CALL, email("after", delay=days(1))])
    opened = scenario.event(TaskOpened)
    assert opened.due_at == T + timedelta(hours=4)
    task_id = scenario.state.task_id
    assert task_id is not None
    assert scenario.timer is not None
    assert scenario.timer.blocked_on == f"task:{task_id}"
    done = CompleteTask(task_id=task_id, outcome="connected")
    scenario.when(done).then("TaskCompleted", "StepDoneByPerson").when(done).nothing()
    assert scenario.state.plan is not None
    assert scenario.state.plan.at == T + timedelta(days=1)


def test_a_task_done_in_a_pause_is_remembered() -> None:
    scenario = pause(Scenario([CALL, email("after")]))
    scenario.when(CompleteTask(task_id=scenario.state.task_id or scenario.lead_id)).then(
        "TaskCompleted", "StepDoneByPerson"
    )
    assert resume(scenario).event(EnrollmentResumed).plan.step_id == "after"


def test_the_end_withdraws_an_open_task() -> None:
    scenario = Scenario([CALL, email("after")])
    scenario.when(CancelEnrollment(enrollment_id=scenario.enrollment_id))
    assert scenario.event(TaskWithdrawn).reason == "cancelled"


def test_erasing_a_lead_ends_everything() -> None:
    scenario = in_flight()
    scenario.when(EraseLead(lead_id=scenario.lead_id))
    scenario.then("StepStopRequested", "EnrollmentExited", "LeadLeftSequence", "LeadErased")
    assert scenario.event(EnrollmentExited).reason == "erased"
    assert scenario.world.identities == {}
    scenario.when(EraseLead(lead_id=scenario.lead_id)).nothing()
    scenario.when(TagLead(lead_id=scenario.lead_id, add=["x"]))
    assert scenario.error is not None


def test_another_organization_finds_nothing() -> None:
    scenario = Scenario()
    scenario.when(PauseEnrollment(enrollment_id=scenario.enrollment_id), organization_id="other").refused(UnknownTarget)


def test_a_pause_does_not_end_before_it_begins() -> None:
    pause(Scenario(), until=T).refused(InvalidMoment)
    scenario = pause(Scenario(), until=T - timedelta(days=1)).refused(InvalidMoment)
    assert scenario.error is not None
    assert [each["field"] for each in scenario.error.errors] == ["until"]
    assert scenario.state.status == "active"


def test_pausing_for_another_reason_holds_anew() -> None:
    scenario = pause(Scenario(), until=T + timedelta(hours=1))
    pause(scenario).then(EnrollmentPaused(reason="by_hand", was="paused"))
