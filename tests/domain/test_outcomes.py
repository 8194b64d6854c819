"""Enrollments: what becomes of a step in flight; doubt, stops and watchdogs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.enrollment.domain.enrollment import Fate, Status
from services.enrollment.domain.errors import EnrollmentClosed, UnknownTarget
from shared.events.enrollment import (
    CancelEnrollment,
    EnrollmentResumed,
    RecordDeferred,
    RecordInDoubt,
    RecordRejected,
    RecordSent,
    RecordStopped,
    RecordUndressed,
    ResolveDispatch,
    StepDeferred,
    StepDue,
    StepFailed,
    StepInDoubt,
    StepSent,
    StepSettled,
    StepStopped,
    StepStopRequested,
    WatchdogRang,
)
from tests.domain.scenario import Scenario, T, days, email, in_flight, pause, resume

# --- outcomes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cls", [RecordSent, RecordDeferred, RecordRejected, RecordStopped, RecordInDoubt, RecordUndressed]
)
def test_an_outcome_that_comes_twice_changes_nothing(cls: type[Any]) -> None:
    scenario = in_flight()
    more = {"sent_at": T} if cls is RecordSent else {}
    outcome = scenario.outcome(cls, 1, 1, **more)
    scenario.when(outcome)
    assert scenario.events
    scenario.when(outcome).nothing()


@pytest.mark.parametrize("signal", ["replied", "unsubscribed", "complained", "bounced"])
def test_a_signal_that_settles_a_doubt_and_stops_lets_no_message_out_in_between(signal: str) -> None:
    scenario = in_flight([email("first"), email("second")], settings={"on_in_doubt": "hold"})
    scenario.when(scenario.outcome(RecordInDoubt)).when(scenario.signal(signal))
    assert "StepSettled" in scenario.names
    assert "StepDue" not in scenario.names
    assert scenario.state.status == Status.EXITED


def test_a_late_bounce_of_a_step_in_doubt_is_not_tried_again() -> None:
    scenario = in_flight([email("first"), email("second")], settings={"on_in_doubt": "hold"}).sent()
    scenario.when(scenario.outcome(RecordInDoubt, 2)).when(scenario.outcome(RecordRejected, 2, bounce=True))
    assert "LeadAddressSuppressed" in scenario.names
    assert "StepDue" not in scenario.names


def test_an_outcome_for_what_never_was_is_refused() -> None:
    scenario = in_flight()
    unknown = scenario.outcome(RecordSent, sent_at=T).model_copy(update={"execution": 9})
    scenario.when(unknown).refused(UnknownTarget)


def test_a_fault_waits_and_counts_against_the_retries() -> None:
    scenario = in_flight(settings={"max_retries": 1, "retry_delay_minutes": 15})
    scenario.when(scenario.outcome(RecordDeferred))
    plan = scenario.event(StepDeferred).plan
    assert (plan.execution, plan.at) == (1, T + timedelta(minutes=15))
    scenario.wake()
    assert (scenario.event(StepDue).execution, scenario.event(StepDue).attempt) == (1, 2)
    scenario.when(scenario.outcome(RecordDeferred)).then("StepFailed")
    assert scenario.event(StepFailed).plan.step_id == "second"


def test_a_mere_wait_counts_against_no_retry() -> None:
    scenario = in_flight(settings={"max_retries": 0})
    for attempt in range(1, 6):
        scenario.when(scenario.outcome(RecordDeferred, fault=False, reason="stale")).then("StepDeferred")
        scenario.wake()
        assert scenario.event(StepDue).attempt == attempt + 1


def test_a_late_send_of_an_attempt_left_behind_counts_as_sent() -> None:
    scenario = in_flight()
    scenario.when(scenario.outcome(RecordDeferred)).when(scenario.outcome(RecordSent, 1, 1, sent_at=T)).then("StepSent")
    assert scenario.event(StepSent).plan.step_id == "second"


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ("continue", ["StepFailed"]),
        ("pause", ["StepFailed", "EnrollmentPaused"]),
        ("exit", ["StepFailed", "EnrollmentExited", "LeadLeftSequence"]),
    ],
)
def test_the_failure_policy_decides_after_a_rejection(policy: str, names: list[str]) -> None:
    scenario = in_flight([email("first", on_failure=policy), email("second", delay=days(3))])
    scenario.when(scenario.outcome(RecordRejected))
    assert scenario.names == names


def test_a_bad_address_stops_and_is_suppressed() -> None:
    scenario = in_flight()
    scenario.when(scenario.outcome(RecordRejected, bounce=True))
    scenario.then("StepFailed", "EnrollmentExited", "LeadLeftSequence", "LeadAddressSuppressed")
    assert scenario.world.suppression("demo", "email", "ada@example.com") == "bounce"


def test_a_missing_value_holds_the_step_until_someone_fills_it_in() -> None:
    scenario = in_flight()
    scenario.when(scenario.outcome(RecordUndressed, missing=["first_name"])).then("StepFailed", "EnrollmentPaused")
    assert scenario.state.reason == "missing_value"
    plan = resume(scenario).event(EnrollmentResumed).plan
    assert (plan.step_id, plan.execution) == ("first", 2)


# --- in doubt -------------------------------------------------------------------------------------------------------


def test_a_send_in_doubt_counts_as_sent_and_goes_on() -> None:
    scenario = in_flight()
    scenario.when(scenario.outcome(RecordInDoubt)).then("StepInDoubt")
    assert scenario.event(StepInDoubt).plan.step_id == "second"


def test_a_send_in_doubt_holds_where_the_sequence_says_so() -> None:
    scenario = in_flight(settings={"on_in_doubt": "hold"})
    scenario.when(scenario.outcome(RecordInDoubt)).then("StepInDoubt", "EnrollmentPaused")
    scenario.when(scenario.outcome(RecordSent, 1, 1, sent_at=T)).then("StepSettled", "EnrollmentResumed")
    assert scenario.event(EnrollmentResumed).plan.step_id == "second"


def test_a_person_settles_a_send_in_doubt_and_may_have_it_sent_again() -> None:
    scenario = in_flight(settings={"on_in_doubt": "hold"})
    scenario.when(scenario.outcome(RecordInDoubt))
    order = ResolveDispatch(enrollment_id=scenario.enrollment_id, execution=1, outcome="not_sent")
    scenario.when(order, actor="member:7").then("StepSettled", "EnrollmentResumed")
    assert scenario.event(StepSettled).by == "member:7"
    assert (scenario.event(EnrollmentResumed).plan.step_id, scenario.event(EnrollmentResumed).plan.execution) == (
        "first",
        2,
    )
    scenario.when(order).nothing()


@pytest.mark.parametrize("signal", ["delivered", "opened", "replied", "clicked"])
def test_a_signal_settles_a_send_in_doubt(signal: str) -> None:
    scenario = in_flight()
    scenario.when(scenario.outcome(RecordInDoubt)).when(scenario.signal(signal))
    assert (scenario.event(StepSettled).outcome, scenario.event(StepSettled).by) == ("sent", signal)
    scenario.when(scenario.outcome(RecordSent, 1, 1, sent_at=T)).nothing()


def test_a_machine_settles_nothing() -> None:
    scenario = in_flight()
    scenario.when(scenario.outcome(RecordInDoubt)).when(scenario.signal("opened", machine=0.9)).then("SignalReceived")


# --- stops ------------------------------------------------------------------------------------------------------------


def test_a_pause_with_a_step_in_flight_asks_for_a_stop_and_waits() -> None:
    scenario = pause(in_flight()).then("StepStopRequested", "EnrollmentPaused")
    assert scenario.event(StepStopRequested).reason == "paused"
    pause(scenario).nothing()
    resume(scenario).then(EnrollmentResumed(plan=None))
    assert scenario.state.in_flight is not None


def test_a_step_sent_in_spite_of_a_pause_counts_as_sent() -> None:
    scenario = pause(in_flight()).sent()
    scenario.then(lambda event: isinstance(event, StepSent) and event.plan is None)
    assert (scenario.state.status, scenario.state.sent) == (Status.PAUSED, 1)
    assert resume(scenario).event(EnrollmentResumed).plan.step_id == "second"


def test_only_a_confirmed_stop_gets_a_new_execution() -> None:
    scenario = resume(pause(in_flight()))
    scenario.when(scenario.outcome(RecordStopped)).then("StepStopped")
    plan = scenario.event(StepStopped).plan
    assert (plan.step_id, plan.execution) == ("first", 2)


def test_pause_resume_and_a_late_answer_never_make_a_second_copy() -> None:
    scenario = resume(pause(in_flight())).sent().then("StepSent")
    assert scenario.event(StepSent).plan.step_id == "second"
    after_stop = resume(pause(in_flight()))
    after_stop.when(after_stop.outcome(RecordStopped, 1)).when(after_stop.outcome(RecordSent, 1, 1, sent_at=T))
    assert after_stop.event(StepSent).plan.step_id == "second"


def test_a_deferral_does_not_answer_a_stop() -> None:
    scenario = pause(in_flight())
    scenario.when(scenario.outcome(RecordDeferred)).then(lambda event: event.plan is None)
    assert scenario.state.in_flight is not None
    scenario.when(scenario.outcome(RecordStopped)).then("StepStopped")
    assert resume(scenario).event(EnrollmentResumed).plan.execution == 2


def test_a_send_after_an_exit_is_recorded_and_changes_nothing_else() -> None:
    scenario = in_flight()
    scenario.when(CancelEnrollment(enrollment_id=scenario.enrollment_id))
    scenario.then("StepStopRequested", "EnrollmentExited", "LeadLeftSequence")
    scenario.sent().then("StepSent")
    assert (scenario.state.status, scenario.state.sent, scenario.timer) == (Status.EXITED, 1, None)


def test_a_pause_until_a_moment_ends_by_itself() -> None:
    scenario = pause(Scenario(), until=T + timedelta(hours=5)).then("EnrollmentPaused")
    scenario.wake().then("EnrollmentResumed")
    assert scenario.world.now == T + timedelta(hours=5)


def test_repeated_orders_record_nothing() -> None:
    scenario = Scenario()
    resume(scenario).nothing()
    pause(scenario).then("EnrollmentPaused")
    pause(scenario).nothing()
    order = CancelEnrollment(enrollment_id=scenario.enrollment_id)
    scenario.when(order).then("EnrollmentExited", "LeadLeftSequence").when(order).nothing()
    resume(scenario).refused(EnrollmentClosed)


# --- watchdogs ------------------------------------------------------------------------------------------------------


def test_a_watchdog_asks_again_and_fails_only_after_three_rounds_in_silence() -> None:
    scenario = in_flight()
    waits = []
    for number in (1, 2, 3):
        before = scenario.world.wall_now
        scenario.wake().then("WatchdogRang")
        assert scenario.event(WatchdogRang).round == number
        waits.append(scenario.world.wall_now - before)
    assert waits == [timedelta(minutes=15), timedelta(minutes=30), timedelta(minutes=60)]
    scenario.wake().then("StepFailed")
    assert scenario.event(StepFailed).reason == "unanswered"


def test_silence_while_nobody_consumes_the_queue_fails_nothing() -> None:
    scenario = in_flight()
    scenario.world.consumed = False
    for _ in range(9):
        scenario.wake().then("WatchdogRang")
    scenario.sent().then("StepSent")


def test_a_stop_is_asked_for_as_long_as_it_takes() -> None:
    scenario = pause(in_flight())
    for _ in range(9):
        scenario.wake()
        assert scenario.event(WatchdogRang).stopping == "paused"


def test_a_late_send_after_silence_counts_and_disturbs_nothing() -> None:
    scenario = in_flight()
    for _ in range(4):
        scenario.wake()
    plan = scenario.state.plan
    scenario.when(scenario.outcome(RecordSent, 1, 1, sent_at=T)).then("StepSent")
    assert scenario.state.plan == plan
    assert scenario.state.executions[1].fate == Fate.SENT
