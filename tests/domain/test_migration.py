"""Moving an enrollment to another version: where it goes on, and what is never done twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from services.enrollment.domain.enrollment import Status
from services.enrollment.domain.errors import (
    EnrollmentClosed,
    InvalidMoves,
    MigrationRepeats,
    NoPlaceInVersion,
    UnknownTarget,
)
from services.enrollment.domain.flow import compile_version
from services.enrollment.domain.places import NoPlace, Place, Standing, place
from shared.events.enrollment import (
    CancelEnrollment,
    Enroll,
    EnrollmentExited,
    EnrollmentMigrated,
    EnrollmentPaused,
    MigrateEnrollment,
    MigrationAwaited,
    MigrationDropped,
    RecordDeferred,
    RecordInDoubt,
    RecordRejected,
    StepDue,
    StepSkipped,
)
from shared.events.lead import LeadConverted
from shared.events.sequence import (
    ActivateSequence,
    ApproveSequence,
    DeactivateSequence,
    EditSequence,
    SequencePublished,
    SubmitSequence,
)
from shared.events.task import CompleteTask, TaskWithdrawn
from tests.domain.scenario import SEQUENCE, TWO_MAILS, Scenario, T, days, definition, email, in_flight, pause, resume
from tests.domain.test_leads import message

CALL = {"step_id": "call", "kind": "task", "config": {"title": "Call"}}
WAIT = {"step_id": "rest", "kind": "wait", "delay": days(1)}


def publish(
    scenario: Scenario, steps: Sequence[dict[str, Any]], *, settings: dict[str, Any] | None = None, **activation: Any
) -> Scenario:
    """The next version of the sequence."""
    scenario.when(EditSequence(sequence_id=SEQUENCE, definition=definition(steps, settings=settings)))
    scenario.when(SubmitSequence(sequence_id=SEQUENCE)).when(ApproveSequence(sequence_id=SEQUENCE))
    return scenario.when(ActivateSequence(sequence_id=SEQUENCE, **activation))


def migrate(scenario: Scenario, version: int = 2, **more: Any) -> Scenario:
    return scenario.when(MigrateEnrollment(enrollment_id=scenario.enrollment_id, version=version, **more))


def waiting(steps: Sequence[dict[str, Any]] = TWO_MAILS) -> Scenario:
    """The first message was sent; the next step waits."""
    return in_flight(steps).sent()


def test_who_waits_goes_to_the_same_step_and_its_wait_is_counted_anew() -> None:
    scenario = publish(waiting(), [email("first"), email("new", delay=days(1)), email("second", delay=days(10))])
    migrate(scenario).then("EnrollmentMigrated")
    event = scenario.event(EnrollmentMigrated)
    assert (event.from_version, event.to_version, event.from_step, event.to_step) == (1, 2, "second", "second")
    assert (event.plan.step_id, event.plan.at, event.why.rule) == ("second", T + timedelta(days=10), "same_step")
    assert scenario.timer is not None
    assert scenario.timer.due_at == T + timedelta(days=10)
    migrate(scenario).nothing()
    assert scenario.wake().event(StepDue).version == 2
    assert scenario.sent().state.status == Status.COMPLETED


def test_a_wait_that_is_over_in_the_new_version_is_over_at_once() -> None:
    scenario = publish(waiting().later(days=2), [email("first"), email("second", delay=days(1))])
    migrate(scenario)
    assert scenario.timer is not None
    assert scenario.timer.due_at == scenario.world.now


def test_a_step_in_flight_finishes_first() -> None:
    scenario = publish(in_flight(), [email("first"), email("new", delay=days(1)), email("second")])
    migrate(scenario).then(MigrationAwaited(to_version=2, execution=1, step_id="first"))
    migrate(scenario).nothing()
    assert scenario.state.version == 1
    scenario.sent().then("StepSent", "EnrollmentMigrated")
    assert scenario.event(EnrollmentMigrated).plan.step_id == "new"
    assert (scenario.state.version, scenario.state.migration) == (2, None)


def test_the_end_of_the_old_version_is_not_the_end_of_the_new_one() -> None:
    scenario = publish(in_flight([email("first")]), [email("first"), email("more", delay=days(1))])
    migrate(scenario).sent().then("StepSent", "EnrollmentMigrated")
    assert (scenario.state.status, scenario.state.plan is not None) == (Status.ACTIVE, True)
    scenario = publish(in_flight(), [email("first")])
    migrate(scenario).sent()
    assert scenario.names == ["StepSent", "EnrollmentMigrated", "EnrollmentCompleted", "LeadLeftSequence"]


def test_in_doubt_counts_as_sent_and_a_deferral_goes_with_the_step() -> None:
    new = [email("first"), email("second", delay=days(1))]
    scenario = publish(in_flight(), new)
    migrate(scenario).when(scenario.outcome(RecordInDoubt)).then("StepInDoubt", "EnrollmentMigrated")
    assert scenario.event(EnrollmentMigrated).to_step == "second"
    scenario = publish(in_flight(), new)
    migrate(scenario).when(scenario.outcome(RecordDeferred)).then("StepDeferred", "EnrollmentMigrated")
    plan = scenario.event(EnrollmentMigrated).plan
    assert (plan.step_id, plan.execution, plan.at) == ("first", 1, T + timedelta(minutes=15))
    due = scenario.wake().event(StepDue)
    assert (due.execution, due.attempt, due.version) == (1, 2, 2)


def test_what_failed_may_come_again_where_the_new_version_has_it_later() -> None:
    scenario = publish(in_flight(), [email("second", delay=days(3)), email("first", delay=days(1))])
    migrate(scenario).when(scenario.outcome(RecordRejected))
    assert scenario.event(EnrollmentMigrated).why.rule == "after_step"
    assert scenario.state.status == Status.COMPLETED


def test_what_was_done_is_passed_over_in_the_new_version() -> None:
    new = [email("second", delay=days(5)), email("first", delay=days(1)), email("third", delay=days(2))]
    scenario = migrate(publish(waiting(), new)).wake().sent()
    skipped = scenario.event(StepSkipped)
    assert (skipped.step_id, skipped.why.rule) == ("first", "already_done")
    assert scenario.state.plan is not None
    assert (scenario.state.plan.step_id, scenario.state.plan.at) == ("third", T + timedelta(days=7))


def test_a_move_leads_elsewhere_but_back_only_when_it_says_so() -> None:
    new = [email("first"), email("other", delay=days(1)), email("second", delay=days(2))]
    scenario = publish(waiting(), new)
    migrate(scenario, moves={"second": "first"}).refused(MigrationRepeats)
    migrate(scenario, moves={"second": "nowhere"}).refused(InvalidMoves)
    migrate(scenario, moves={"nobody": "first"}).refused(InvalidMoves)
    assert scenario.error is not None
    assert scenario.error.errors[0]["field"] == "moves.nobody"
    migrate(scenario, moves={"second": "other"})
    assert scenario.event(EnrollmentMigrated).plan.execution == 3
    scenario = publish(waiting(), new)
    migrate(scenario, moves={"second": "first"}, repeats=True)
    assert scenario.event(EnrollmentMigrated).repeats
    scenario.wake().sent()
    assert [each.step_id for each in scenario.state.executions.values()] == ["first", "first"]
    assert scenario.state.plan is not None
    assert scenario.state.plan.step_id == "other"


def test_without_a_place_it_is_refused_and_nothing_changes() -> None:
    scenario = publish(waiting(), [email("first"), email("other", delay=days(1))])
    before = scenario.state
    migrate(scenario).refused(NoPlaceInVersion)
    assert scenario.state == before
    scenario = publish(in_flight(), [email("other", delay=days(1))])
    migrate(scenario).refused(NoPlaceInVersion)
    migrate(scenario, moves={"second": "other"}).then("MigrationAwaited")
    assert scenario.sent().event(EnrollmentMigrated).to_step == "other"


def test_an_awaited_move_is_given_up_by_an_order_to_stay() -> None:
    scenario = migrate(publish(in_flight(), [email("first"), email("second", delay=days(1))]))
    migrate(scenario, 1).then(lambda event: isinstance(event, MigrationDropped) and event.to_version == 2)
    migrate(scenario, 1).nothing()
    scenario.sent().then("StepSent")
    assert scenario.state.version == 1


def test_an_open_task_is_kept_where_the_step_is_the_same_and_withdrawn_where_not() -> None:
    old = [CALL, email("second")]
    scenario = Scenario(old)
    task_id = scenario.state.task_id
    assert task_id is not None
    migrate(publish(scenario, [WAIT, {**CALL, "config": {"title": "Ring"}}, email("second")]))
    scenario.then("EnrollmentMigrated")
    assert scenario.state.task_id == task_id
    scenario.when(CompleteTask(task_id=task_id))
    assert scenario.state.plan is not None
    assert scenario.state.plan.step_id == "second"
    scenario = Scenario(old)
    migrate(publish(scenario, [email("other"), email("second")]), moves={"call": "other"})
    scenario.then(TaskWithdrawn(reason="migrated"), "EnrollmentMigrated")
    assert scenario.state.task_id is None


def test_a_held_one_moves_and_goes_on_there() -> None:
    new = [email("first"), email("second", delay=days(9))]
    scenario = pause(waiting())
    migrate(publish(scenario, new)).then("EnrollmentMigrated")
    assert (scenario.state.status, scenario.state.version) == (Status.PAUSED, 2)
    resume(scenario)
    assert scenario.state.plan is not None
    assert scenario.state.plan.at == T + timedelta(days=9)
    scenario = pause(in_flight())  # the answer to the stop is outstanding
    migrate(publish(scenario, new)).then("MigrationAwaited")
    scenario.sent().then("StepSent", "EnrollmentMigrated")
    assert scenario.event(EnrollmentMigrated).plan is None
    assert (scenario.state.version, scenario.state.status) == (2, Status.PAUSED)
    resume(scenario)
    assert scenario.state.plan is not None
    assert scenario.state.plan.step_id == "second"


@pytest.mark.parametrize("do", ["exit", "pause"])
def test_a_stop_rule_that_came_with_the_version_meets_what_happened_before_it_once(do: str) -> None:
    steps = [email("first"), email("second", delay=days(2)), email("third")]
    scenario = Scenario(steps, settings={"stop_on": []}).wake().sent().later(days=1)
    scenario.when(message(LeadConverted, scenario.world.now, email="ada@example.com"), message_id="won")
    assert scenario.state.status == Status.ACTIVE
    migrate(publish(scenario, steps, settings={"stop_on": [{"on": "conversion", "do": do}]}))
    scenario.wake()
    if do == "exit":
        assert scenario.event(EnrollmentExited).reason == "converted"
        return
    assert (scenario.state.status, scenario.state.reason) == (Status.PAUSED, "stop_rule")
    assert scenario.event(EnrollmentPaused).why.rule == "conversion"
    resume(scenario.later(hours=1)).wake().then("StepDue")
    scenario.sent()
    assert scenario.wake().sent().state.status == Status.COMPLETED


def test_one_that_has_not_begun_begins_in_the_new_version() -> None:
    scenario = Scenario(enrolled=False)
    scenario.when(DeactivateSequence(sequence_id=SEQUENCE)).create(email="ada@example.com")
    scenario.when(ActivateSequence(sequence_id=SEQUENCE))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=SEQUENCE, start=False))
    started = scenario.decision
    assert started is not None
    scenario.enrollment_id = next(change.id for change in started.changes if change.aggregate == "enrollment")
    migrate(publish(scenario, [email("brand-new"), email("second")])).then("EnrollmentMigrated")
    assert (scenario.state.status, scenario.state.version, scenario.timer) == (Status.PENDING, 2, None)


def test_what_cannot_be_moved() -> None:
    scenario = publish(waiting(), [email("first"), email("second")])
    migrate(scenario, 9).refused(UnknownTarget)
    migrate(scenario.when(CancelEnrollment(enrollment_id=scenario.enrollment_id))).refused(EnrollmentClosed)


def test_publishing_says_what_becomes_of_those_inside_and_refuses_circles() -> None:
    new = [email("first"), email("second", delay=days(1)), email("third", delay=days(1))]
    scenario = publish(waiting(), new, inside="move", moves={"second": "first"}).refused(InvalidMoves)
    scenario.when(ActivateSequence(sequence_id=SEQUENCE, inside="move", moves={"first": "gone"})).refused(InvalidMoves)
    scenario.when(ActivateSequence(sequence_id=SEQUENCE, inside="move", moves={"first": "third"}))
    assert (scenario.event(SequencePublished).inside, scenario.event(SequencePublished).moves) == (
        "move",
        {"first": "third"},
    )
    scenario.when(ActivateSequence(sequence_id=SEQUENCE, inside="follow")).nothing()


@pytest.mark.parametrize(
    ("standing", "wanted"),
    [
        (Standing(None), Place("a", "first_step")),
        (Standing("c"), Place("c", "same_step")),
        (Standing("c", concluded=True, arm="then"), Place("d", "after_step")),
        (Standing("c", concluded=True, arm="else"), Place("z", "after_step")),
        (Standing("z", concluded=True), Place(None, "after_step")),
        (Standing("gone", concluded=True), Place("z", "same_step")),
        (Standing("gone"), NoPlace("no_such_step", "gone")),
        (Standing("last", concluded=True), NoPlace("no_such_step", "last")),
    ],
)
def test_where_one_goes_on(standing: Standing, wanted: Place | NoPlace) -> None:
    when = {"when": {"has_tag": "x"}}
    fork = {"step_id": "c", "kind": "condition", "config": when}
    old = definition([{**fork, "then": [email("gone")]}, email("z"), email("last")])
    new = definition(
        [email("a"), {"step_id": "c", "kind": "condition", "config": when, "then": [email("d")]}, email("z")]
    )
    before = compile_version(
        SEQUENCE, 1, old.model_copy(update={"steps": [*old.steps, *definition([email("last")]).steps]})
    )
    assert place(before, compile_version(SEQUENCE, 2, new), standing, {}) == wanted
