"""Going on by hand: waits and steps passed over, enrollments begun again; and what of it is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.enrollment.description import describe_enrollment
from services.enrollment.domain.enrollment import Status
from services.enrollment.domain.errors import (
    AdvanceNotAllowed,
    AlreadyEnrolled,
    DomainError,
    EnrollmentClosed,
    EnrollmentNotActive,
    LeadErasedAlready,
    NothingToAdvance,
    SequenceNotActive,
    StepInFlight,
    Unreachable,
)
from shared.events.definition import DayOff, QuietHours
from shared.events.enrollment import (
    AdvanceEnrollment,
    CancelEnrollment,
    Enroll,
    EnrollmentAdvanced,
    EnrollmentStarted,
    RecordDeferred,
    RecordRejected,
    RestartEnrollment,
    StepFailed,
    StepSkipped,
)
from shared.events.lead import EraseLead
from shared.events.organization import SetCalendar, SetOrganization, SuppressAddress
from shared.events.sequence import DeactivateSequence, DraftSequence
from shared.ids import derived_id
from tests.domain.scenario import SEQUENCE, Scenario, T, days, definition, email, in_flight, pause

AT_NOON = [{"start": "12:00", "end": "13:00"}]
WAITS = (email("first", delay=days(2)), email("second", delay=days(3)))


def advance(scenario: Scenario, **more: Any) -> Scenario:
    return scenario.when(AdvanceEnrollment(enrollment_id=scenario.enrollment_id, **more))


def restart(scenario: Scenario) -> Scenario:
    return scenario.when(RestartEnrollment(enrollment_id=scenario.enrollment_id))


def test_a_wait_passed_over_runs_the_step_now() -> None:
    scenario = advance(Scenario(WAITS)).then("EnrollmentAdvanced")
    assert (scenario.event(EnrollmentAdvanced).plan.at, scenario.event(EnrollmentAdvanced).plan.why.rule) == (
        T,
        "advanced",
    )
    assert scenario.wake().names == ["StepDue"]


def test_a_wait_step_passed_over_goes_on_with_what_follows() -> None:
    scenario = Scenario([{"step_id": "rest", "kind": "wait", "delay": days(9)}, email("mail", delay=days(1))])
    advance(scenario).then("EnrollmentAdvanced", "StepTaken")
    assert scenario.state.plan is not None
    assert scenario.state.plan.at == T + timedelta(days=1)


def test_the_window_holds_unless_the_order_says_otherwise() -> None:
    scenario = advance(Scenario(WAITS, settings={"windows": AT_NOON}))
    assert scenario.event(EnrollmentAdvanced).plan.at == T + timedelta(hours=3)
    advance(scenario, force_window=True)
    assert scenario.event(EnrollmentAdvanced).plan.at == T
    assert scenario.wake().names == ["StepDue"]


def quiet(**more: Any) -> Scenario:
    """An SMS planned for tomorrow, at a moment within quiet hours."""
    scenario = Scenario(
        [{"step_id": "text", "kind": "sms", "delay": days(1), "config": {"text": "Hi", "channel": "sms"}}],
        lead={"email": "ada@example.com", "phone": "+4915112345678", "consent": {"sms": True}},
        **more,
    )
    return scenario.when(SetOrganization(quiet_hours=QuietHours(start="08:00", end="15:00")))


def test_a_forced_window_leaves_quiet_hours_to_the_recipient() -> None:
    scenario = advance(quiet(settings={"windows": AT_NOON}), force_window=True)
    assert scenario.event(EnrollmentAdvanced).plan.at == T + timedelta(hours=6)
    advance(scenario, force_quiet_hours=True)
    assert scenario.event(EnrollmentAdvanced).plan.at == T + timedelta(hours=3)
    advance(scenario, force_window=True, force_quiet_hours=True)
    plan = scenario.event(EnrollmentAdvanced).plan
    assert (plan.at, plan.why.inputs) == (T, {"force_window": True, "force_quiet_hours": True})
    assert scenario.wake().names == ["StepDue"]


def test_days_off_and_the_leads_absence_are_passed_over_by_their_own_name() -> None:
    scenario = Scenario(WAITS).when(
        SetCalendar(calendar="organization", days_off=[DayOff(first=T.date(), last=T.date())])
    )
    tomorrow = T.replace(hour=0) + timedelta(days=1)
    assert advance(scenario, force_window=True).event(EnrollmentAdvanced).plan.at == tomorrow
    assert advance(scenario, force_day_off=True).event(EnrollmentAdvanced).plan.at == T
    assert scenario.wake().names == ["StepDue"]


def test_what_a_person_passed_over_counts_again_for_the_next_step() -> None:
    scenario = advance(Scenario(WAITS, settings={"windows": AT_NOON}), force_window=True)
    scenario.wake().sent()
    assert scenario.state.plan is not None
    assert scenario.state.plan.at == (T + timedelta(days=3)).replace(hour=12)


def test_the_limit_holds_even_then() -> None:
    scenario = Scenario(WAITS, settings={"limits": {"per_day": 1}})
    scenario.create(email="b@example.com")
    advance(scenario, force_window=True).wake()
    scenario.create(email="c@example.com")
    advance(scenario, force_window=True)
    assert scenario.event(EnrollmentAdvanced).plan.at == T.replace(day=21, hour=0)


def test_a_step_passed_over_is_skipped_by_hand() -> None:
    scenario = advance(Scenario(WAITS), skip="step").then("StepSkipped")
    assert scenario.event(StepSkipped).why.rule == "by_hand"
    assert scenario.event(StepSkipped).plan.at == T + timedelta(days=3)
    advance(scenario, skip="step").then("StepSkipped", "EnrollmentCompleted", "LeadLeftSequence")


def test_passing_over_a_task_withdraws_it() -> None:
    scenario = Scenario(
        [{"step_id": "call", "kind": "task", "config": {"title": "Call"}}, email("mail", delay=days(1))]
    )
    assert scenario.state.task_id is not None
    advance(scenario).refused(NothingToAdvance)
    advance(scenario, skip="step").then("TaskWithdrawn", "StepSkipped")


def test_a_wait_that_is_over_stays_as_it_is() -> None:
    advance(Scenario()).nothing()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (in_flight, StepInFlight),
        (lambda: pause(Scenario(WAITS)), EnrollmentNotActive),
        (lambda: Scenario(WAITS, settings={"manual_advance": False}), AdvanceNotAllowed),
        (lambda: _cancelled(Scenario(WAITS)), EnrollmentClosed),
    ],
)
@pytest.mark.parametrize("skip", ["wait", "step"])
def test_what_cannot_be_advanced(make: Any, error: type[DomainError], skip: str) -> None:
    advance(make(), skip=skip).refused(error)


def _cancelled(scenario: Scenario) -> Scenario:
    return scenario.when(CancelEnrollment(enrollment_id=scenario.enrollment_id))


# --- restart ----------------------------------------------------------------------------------------------------------


def test_a_restart_begins_a_new_enrollment_that_names_the_old() -> None:
    scenario = in_flight().sent()
    old = scenario.enrollment_id
    restart(scenario).then("EnrollmentExited", "LeadLeftSequence", "LeadJoinedSequence", "EnrollmentStarted")
    started = scenario.event(EnrollmentStarted)
    assert (started.restarts, started.why.rule, started.plan.step_id) == (old, "restarted", "first")
    assert (scenario.state.status, scenario.state.reason) == (Status.EXITED, "restarted")
    assert scenario.decision is not None
    scenario.enrollment_id = UUID(str(scenario.decision.result["enrollment_id"]))
    assert scenario.enrollment_id != old
    assert scenario.wake().names == ["StepDue"]


def test_the_rule_of_re_enrolment_does_not_stand_against_a_restart() -> None:
    scenario = _cancelled(Scenario(settings={"reenroll": {"at_most": 1}}))
    restart(scenario).then("LeadJoinedSequence", "EnrollmentStarted")


def test_a_restart_passes_exclusivity_and_says_so() -> None:
    scenario = Scenario(settings={"exclusive": True})
    scenario.when(CancelEnrollment(enrollment_id=scenario.enrollment_id))
    other = derived_id("test", "other")
    alone = definition([email("x", delay=days(1))], trigger={"start": "manual"})
    scenario.when(DraftSequence(sequence_id=other, definition=alone, activate=True))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=other)).then("LeadJoinedSequence", "EnrollmentStarted")
    why = restart(scenario).event(EnrollmentStarted).why
    assert why.rule == "restarted"
    assert why.inputs == {
        "enrollment": str(scenario.enrollment_id),
        "passed": "exclusive",
        "sequence_id": str(other),
        "group": True,
    }


def test_a_restart_that_passes_nothing_says_nothing_of_it() -> None:
    scenario = Scenario(settings={"exclusive": True})
    why = restart(scenario).event(EnrollmentStarted).why
    assert why.inputs == {"enrollment": str(scenario.enrollment_id)}


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (in_flight, StepInFlight),
        (lambda: Scenario().when(DeactivateSequence(sequence_id=SEQUENCE)), SequenceNotActive),
        (lambda: _erased(Scenario()), LeadErasedAlready),
        (lambda: Scenario().when(SuppressAddress(address="ada@example.com")), Unreachable),
    ],
)
def test_what_cannot_be_restarted(make: Any, error: type[DomainError]) -> None:
    restart(make()).refused(error)


def test_an_old_enrollment_is_not_restarted_beside_an_open_one() -> None:
    scenario = Scenario()
    restart(scenario)
    restart(scenario).refused(AlreadyEnrolled)


def _erased(scenario: Scenario) -> Scenario:
    return scenario.when(EraseLead(lead_id=scenario.lead_id))


# --- attempts ---------------------------------------------------------------------------------------------------------


def test_every_attempt_can_be_seen_with_its_reason_and_whether_trying_again_helps() -> None:
    scenario = in_flight(settings={"max_retries": 1, "retry_delay_minutes": 15})
    scenario.when(scenario.outcome(RecordDeferred, reason="throttled", fault=False)).wake()
    scenario.when(scenario.outcome(RecordDeferred, reason="connection lost")).wake()
    scenario.when(scenario.outcome(RecordDeferred, reason="timed out"))
    assert scenario.event(StepFailed).how == "retries_used"
    [execution] = describe_enrollment(scenario.state, 1)["executions"]
    assert [(each["attempt"], each["reason"], each["fault"]) for each in execution["tries"]] == [
        (1, "throttled", None),
        (2, "connection lost", "transient"),
        (3, "timed out", "transient"),
    ]


def test_a_permanent_fault_is_not_tried_again() -> None:
    scenario = in_flight()
    scenario.when(scenario.outcome(RecordRejected, reason="no such mailbox")).then("StepFailed")
    assert scenario.event(StepFailed).how == "rejected"
    assert [tried.fault for tried in scenario.state.executions[1].tries] == ["permanent"]
