"""What waits for a person: tasks, calls that are tried again, what is overdue, and drafts."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.enrollment.domain.errors import (
    DomainError,
    InvalidAssignee,
    InvalidDraft,
    InvalidOutcome,
    NotADraft,
    NotATask,
    NothingToAdvance,
    TaskClosed,
    UnknownTarget,
)
from services.enrollment.domain.task import Content, Task
from shared.events.enrollment import (
    AdvanceEnrollment,
    CancelEnrollment,
    EnrollmentExited,
    EnrollmentResumed,
    RecordStopped,
    RecordUndressed,
    StepApproved,
    StepDoneByPerson,
    StepDue,
    StepOverdue,
    StepPostponed,
    StepSkipped,
)
from shared.events.kinds import CALL_OUTCOMES
from shared.events.lead import LeadAddressSuppressed
from shared.events.message import Message
from shared.events.organization import AddMember, SetMember
from shared.events.task import (
    ApproveDraft,
    AssignTask,
    CompleteTask,
    DraftApproved,
    DraftEdited,
    DraftRejected,
    EditDraft,
    OpenTask,
    RejectDraft,
    SkipTask,
    SnoozeTask,
    TaskAssigned,
    TaskCompleted,
    TaskOpened,
    TaskSkipped,
    TaskSnoozed,
    TaskWithdrawn,
)
from shared.ids import derived_id
from tests.domain.scenario import Scenario, T, days, email, in_flight, pause, resume
from tests.domain.test_step_kinds import step

RETRY = {"on": ["no_answer"], "after_hours": 2, "at_most": 2}
OLGA = UUID(int=7)
PHONE = {"email": "ada@example.com", "phone": "+4915112345678"}


def task_of(scenario: Scenario) -> Task:
    """The task that the enrollment waits for."""
    task_id = scenario.state.task_id
    assert task_id is not None
    task = scenario.world.task(task_id)
    assert task is not None
    return task


def complete(scenario: Scenario, outcome: str = "connected") -> Scenario:
    return scenario.when(CompleteTask(task_id=task_of(scenario).id, outcome=outcome))


# --- each kind, each order --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["call", "task", "reminder", "social"])
def test_a_persons_step_opens_a_task_of_its_kind(kind: str) -> None:
    scenario = Scenario([step(kind, assignee="m1", due_in_hours=4)])
    opened = scenario.event(TaskOpened)
    assert (opened.kind, opened.assignee, opened.due_at) == (kind, "m1", T + timedelta(hours=4))
    assert opened.network == ("linkedin" if kind == "social" else None)
    complete(scenario).then("TaskCompleted", "StepDoneByPerson", "EnrollmentCompleted", "LeadLeftSequence")


def test_a_task_made_by_hand_belongs_to_no_enrollment() -> None:
    scenario = Scenario()
    task_id = derived_id("task", 1)
    order = OpenTask(task_id=task_id, lead_id=scenario.lead_id, kind="call", title="Ring", due_at=T)
    scenario.when(order).then(TaskOpened(kind="call", title="Ring", due_at=T)).when(order).nothing()
    scenario.when(CompleteTask(task_id=task_id)).refused(InvalidOutcome)
    scenario.when(CompleteTask(task_id=task_id, outcome="voicemail")).then(TaskCompleted(outcome="voicemail"))


def test_a_task_is_snoozed_assigned_and_skipped() -> None:
    scenario = Scenario([step("task"), email("after", delay=days(1))])
    task = task_of(scenario).id
    later = T + timedelta(days=2)
    scenario.when(SnoozeTask(task_id=task, until=later)).then(TaskSnoozed(until=later))
    scenario.when(SnoozeTask(task_id=task, until=later)).nothing()
    scenario.when(AddMember(member_id=OLGA, email="olga@example.com", role="coach"))
    scenario.when(AssignTask(task_id=task, assignee=str(OLGA))).then(TaskAssigned(assignee=str(OLGA)))
    scenario.when(AssignTask(task_id=task, assignee="Olga@example.com")).nothing()
    scenario.when(SkipTask(task_id=task, note="moot")).then(TaskSkipped(note="moot"), "StepDoneByPerson")
    for order in (
        CompleteTask(task_id=task),
        SnoozeTask(task_id=task, until=later),
        AssignTask(task_id=task, assignee=None),
    ):
        scenario.when(order).refused(TaskClosed)
    scenario.when(SkipTask(task_id=task)).nothing()
    scenario.when(CompleteTask(task_id=derived_id("no", "task"))).refused(UnknownTarget)


@pytest.mark.parametrize("named", ["olga", str(UUID(int=9)), "nobody@example.com"])
def test_a_task_goes_to_nobody_whom_the_organization_does_not_know(named: str) -> None:
    scenario = Scenario([step("task")])
    order = AssignTask(task_id=task_of(scenario).id, assignee=named)
    scenario.when(order).refused(InvalidAssignee)
    by_hand = OpenTask(task_id=UUID(int=5), lead_id=scenario.lead_id, title="Call", due_at=T, assignee=named)
    scenario.when(by_hand).refused(InvalidAssignee)


def test_a_task_is_not_given_to_a_member_who_has_left() -> None:
    scenario = Scenario([step("task")])
    scenario.when(AddMember(member_id=OLGA, email="olga@example.com", role="coach"))
    scenario.when(SetMember(member_id=OLGA, active=False))
    scenario.when(AssignTask(task_id=task_of(scenario).id, assignee=str(OLGA))).refused(InvalidAssignee)


def test_another_organization_knows_no_such_task() -> None:
    scenario = Scenario([step("task")])
    scenario.when(CompleteTask(task_id=task_of(scenario).id), organization_id="other").refused(UnknownTarget)


# --- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", CALL_OUTCOMES)
def test_a_call_ends_in_one_of_its_outcomes(outcome: str) -> None:
    scenario = complete(Scenario([step("call", retry=None), email("after", delay=days(1))]), outcome)
    assert scenario.event(StepDoneByPerson).outcome == outcome
    assert scenario.event(StepDoneByPerson).plan.step_id == "after"


def test_any_other_outcome_of_a_call_is_refused_by_name() -> None:
    scenario = complete(Scenario([step("call")]), "done").refused(InvalidOutcome)
    assert scenario.error is not None
    assert scenario.error.errors[0]["field"] == "outcome"
    assert task_of(scenario).status == "open"


def test_nobody_answered_has_the_call_tried_again_as_often_as_it_says() -> None:
    scenario = Scenario([step("call", retry=RETRY), email("after", delay=days(1))])
    for number in (2, 3):
        complete(scenario, "no_answer")
        plan = scenario.event(StepDoneByPerson).plan
        assert (plan.step_id, plan.execution, plan.why.rule) == ("call", number, "call_again")
        assert plan.at == scenario.world.now + timedelta(hours=2)
        scenario.wake().then("TaskOpened", "StepHandedToPerson")
    complete(scenario, "no_answer")
    assert scenario.event(StepDoneByPerson).plan.step_id == "after"
    assert scenario.state.repeats == 0


def test_an_outcome_that_asks_for_no_retry_goes_on() -> None:
    scenario = complete(Scenario([step("call", retry=RETRY), email("after", delay=days(1))]), "voicemail")
    assert scenario.event(StepDoneByPerson).plan.step_id == "after"


def test_a_call_to_be_tried_again_is_remembered_in_a_pause() -> None:
    scenario = complete(pause(Scenario([step("call", retry=RETRY), email("after")])), "no_answer")
    assert scenario.event(StepDoneByPerson).plan.step_id == "call"
    plan = resume(scenario).event(EnrollmentResumed).plan
    assert (plan.step_id, plan.at) == ("call", T + timedelta(hours=2))


def test_a_wrong_number_is_not_messaged_any_more() -> None:
    steps = [step("call"), step("sms", channel="sms")]
    scenario = complete(Scenario(steps, lead=PHONE), "wrong_number")
    gone = [event for event in scenario.events if isinstance(event, LeadAddressSuppressed)]
    assert [(event.channel, event.reason) for event in gone] == [("sms", "wrong_number"), ("whatsapp", "wrong_number")]
    if "StepSkipped" not in scenario.names:
        scenario.wake()
    assert scenario.event(StepSkipped).why.inputs == {"channel": "sms", "reason": "wrong_number"}


# --- overdue ----------------------------------------------------------------------------------------------------------

OVERDUE: dict[str, Any] = {"due_in_hours": 4, "overdue_after_hours": 20}


def test_a_step_waits_for_its_task_without_an_end_unless_it_says_otherwise() -> None:
    scenario = Scenario([step("task", **OVERDUE)])
    assert scenario.timer is not None
    assert scenario.timer.due_at is None


@pytest.mark.parametrize(("policy", "goes_on"), [("continue", True), ("exit", False)])
def test_an_overdue_task_is_withdrawn(policy: str, goes_on: bool) -> None:
    scenario = Scenario([step("task", overdue=policy, **OVERDUE), email("after", delay=days(1))])
    task = task_of(scenario).id
    assert scenario.timer is not None
    assert scenario.timer.due_at == T + timedelta(hours=24)
    scenario.wake()
    assert scenario.event(TaskWithdrawn).reason == "overdue"
    overdue = scenario.event(StepOverdue)
    assert (overdue.then, overdue.task_id) == (policy, task)
    if goes_on:
        assert overdue.plan.at == T + timedelta(days=2)
        assert scenario.state.status == "active"
    else:
        assert (overdue.plan, scenario.event(EnrollmentExited).reason) == (None, "overdue")
    scenario.when(CompleteTask(task_id=task)).refused(TaskClosed)


def test_the_last_step_overdue_completes_the_enrollment() -> None:
    scenario = Scenario([step("task", overdue="continue", **OVERDUE)]).wake()
    scenario.then("TaskWithdrawn", "StepOverdue", "EnrollmentCompleted", "LeadLeftSequence")


def test_a_snoozed_task_is_overdue_later() -> None:
    scenario = Scenario([step("task", overdue="exit", **OVERDUE)])
    until = T + timedelta(days=3)
    scenario.when(SnoozeTask(task_id=task_of(scenario).id, until=until)).then("TaskSnoozed", "StepPostponed")
    assert scenario.event(StepPostponed).plan.at == until + timedelta(hours=20)
    assert scenario.timer is not None
    assert scenario.timer.due_at == until + timedelta(hours=20)


def test_a_task_done_in_time_is_never_overdue() -> None:
    scenario = Scenario([step("task", overdue="exit", **OVERDUE), email("after", delay=days(5))])
    late = scenario.timer
    assert late is not None
    complete(scenario)
    scenario.later(hours=25)
    scenario.decision = scenario.world.wake(late)
    scenario.nothing()


def test_a_pause_holds_the_overdue_rule_back() -> None:
    scenario = Scenario([step("task", overdue="exit", **OVERDUE)])
    rung = scenario.timer
    assert rung is not None
    pause(scenario).later(hours=25)
    scenario.decision = scenario.world.wake(rung)
    scenario.nothing()
    resume(scenario)
    assert scenario.wake().event(EnrollmentExited).reason == "overdue"


def test_an_overdue_rule_is_no_wait_that_could_be_passed_over() -> None:
    scenario = Scenario([step("task", overdue="exit", **OVERDUE)])
    scenario.when(AdvanceEnrollment(enrollment_id=scenario.enrollment_id, skip="wait")).refused(NothingToAdvance)


# --- drafts -----------------------------------------------------------------------------------------------------------

WEEKDAY = {"windows": [{"days": ["mon"], "start": "09:00", "end": "17:00"}], "limits": {"per_day": 1}}


def drafted(more: list[dict[str, Any]] | None = None, **kwargs: Any) -> Scenario:
    return Scenario([step("email_manual", "draft"), *(more or [])], **kwargs)


def test_a_manual_email_opens_a_draft_and_waits() -> None:
    scenario = drafted()
    opened = scenario.event(TaskOpened)
    assert (opened.kind, opened.title, opened.subject, opened.text) == ("email_manual", "Hi", "Hi", "Hello")
    assert scenario.state.plan is not None
    assert scenario.state.plan.blocked_on == f"task:{task_of(scenario).id}"


def test_a_draft_opens_in_any_hour_and_takes_no_slot() -> None:
    scenario = drafted(settings=WEEKDAY)
    assert "TaskOpened" in scenario.names
    assert scenario.world.quotas == {}


def test_an_approved_draft_goes_out_like_any_message() -> None:
    scenario = drafted([email("after", delay=days(1))])
    draft = task_of(scenario).id
    scenario.when(ApproveDraft(task_id=draft)).then(DraftApproved(), "StepApproved")
    due = scenario.wake().event(StepDue)
    assert (due.step_id, due.execution, due.draft_id) == ("draft", 1, draft)
    scenario.sent().then("StepSent")
    scenario.wake()
    assert scenario.event(StepDue).draft_id is None
    scenario.when(ApproveDraft(task_id=draft)).nothing()


def test_an_approved_draft_keeps_windows_and_limits() -> None:
    scenario = drafted(settings=WEEKDAY)
    scenario.when(ApproveDraft(task_id=task_of(scenario).id))
    plan = scenario.event(StepApproved).plan
    assert plan.at.isoformat() == "2026-11-23T09:00:00+00:00"
    assert len(scenario.wake().event(StepDue).quotas) == 1


def test_a_draft_that_follows_a_message_goes_out_with_its_approval() -> None:
    scenario = in_flight([email("first"), step("email_manual", "draft")]).sent()
    scenario.when(ApproveDraft(task_id=task_of(scenario).id)).then("DraftApproved", "StepApproved", "StepDue")


def test_a_draft_is_edited_field_by_field() -> None:
    scenario = drafted()
    draft = task_of(scenario).id
    scenario.when(EditDraft(task_id=draft, subject="Dear {{ first_name }}")).then(
        DraftEdited(subject="Dear {{ first_name }}", text="Hello")
    )
    scenario.when(EditDraft(task_id=draft, subject="Dear {{ first_name }}")).nothing()
    scenario.when(EditDraft(task_id=draft, html="<p>Hi</p>", text=""))
    assert task_of(scenario).content == Content("Dear {{ first_name }}", "<p>Hi</p>", "", None)


@pytest.mark.parametrize(
    ("edit", "field"), [({"subject": "two\nlines"}, "subject"), ({"subject": " "}, "subject"), ({"text": " "}, "html")]
)
def test_a_draft_that_could_not_be_sent_is_refused_by_field(edit: dict[str, str], field: str) -> None:
    scenario = drafted()
    scenario.when(EditDraft(task_id=task_of(scenario).id, **edit)).refused(InvalidDraft)
    assert scenario.error is not None
    assert [each["field"] for each in scenario.error.errors] == [field]


def test_a_rejected_draft_is_passed_over_with_its_reason() -> None:
    scenario = Scenario([step("email_manual", on_reject="skip"), email("after", delay=days(1))])
    reject = RejectDraft(task_id=task_of(scenario).id, reason="too early")
    scenario.when(reject).then(DraftRejected(reason="too early", then="skip"), "StepSkipped")
    assert scenario.event(StepSkipped).why.rule == "draft_rejected"
    assert scenario.event(StepSkipped).plan.step_id == "after"
    scenario.when(reject).nothing()


@pytest.mark.parametrize("asked", [None, "exit"])
def test_a_rejected_draft_can_end_the_enrollment(asked: Any) -> None:
    on_reject = "exit" if asked is None else "skip"
    scenario = Scenario([step("email_manual", on_reject=on_reject), email("after")])
    scenario.when(RejectDraft(task_id=task_of(scenario).id, reason="no", then=asked))
    assert scenario.event(EnrollmentExited).reason == "draft_rejected"


def test_a_draft_rejected_as_the_last_step_completes() -> None:
    scenario = Scenario([step("email_manual", on_reject="skip")])
    scenario.when(RejectDraft(task_id=task_of(scenario).id, reason="no"))
    scenario.then("DraftRejected", "StepSkipped", "EnrollmentCompleted", "LeadLeftSequence")


def test_drafts_and_tasks_are_not_taken_for_each_other() -> None:
    scenario = drafted()
    complete(scenario).refused(NotATask)
    scenario = Scenario([step("task")])
    task = task_of(scenario).id
    for order in (EditDraft(task_id=task, text="x"), ApproveDraft(task_id=task), RejectDraft(task_id=task, reason="x")):
        scenario.when(order).refused(NotADraft)


def test_a_draft_approved_in_a_pause_goes_out_after_it() -> None:
    scenario = pause(drafted())
    draft = task_of(scenario).id
    scenario.when(ApproveDraft(task_id=draft)).then("DraftApproved", "StepApproved")
    assert "StepDue" not in scenario.names
    resume(scenario)
    assert scenario.wake().event(StepDue).draft_id == draft


def test_a_stopped_draft_is_sent_again_without_a_second_approval() -> None:
    scenario = drafted()
    draft = task_of(scenario).id
    scenario.when(ApproveDraft(task_id=draft)).wake()
    resume(pause(scenario))
    scenario.when(scenario.outcome(RecordStopped)).wake()
    due = scenario.event(StepDue)
    assert (due.execution, due.draft_id) == (2, draft)


def test_a_draft_with_a_missing_value_goes_out_once_it_is_there() -> None:
    scenario = drafted()
    draft = task_of(scenario).id
    scenario.when(ApproveDraft(task_id=draft)).wake()
    scenario.when(scenario.outcome(RecordUndressed, missing=["first_name"]))
    assert scenario.state.reason == "missing_value"
    resume(scenario)
    assert scenario.wake().event(StepDue).draft_id == draft


def test_the_end_withdraws_a_draft_and_forgets_what_it_said() -> None:
    scenario = drafted()
    draft = task_of(scenario)
    scenario.when(CancelEnrollment(enrollment_id=scenario.enrollment_id))
    assert scenario.event(TaskWithdrawn).reason == "cancelled"
    known = scenario.world.task(draft.id)
    assert known is not None
    assert known.content is None
    scenario.when(ApproveDraft(task_id=draft.id)).refused(TaskClosed)


# --- any orders in any order ------------------------------------------------------------------------------------------


class TaskMachine(RuleBasedStateMachine):
    """A task ends once; its enrollment goes on once for each, and never stands without timer or blocker."""

    @initialize(policy=st.sampled_from(["wait", "continue", "exit"]), tries=st.integers(1, 2))
    def enroll(self, policy: str, tries: int) -> None:
        overdue: dict[str, Any] = {"overdue": policy, "due_in_hours": 1, "overdue_after_hours": 1}
        self.scenario = Scenario(
            [
                step("call", retry={"on": ["no_answer"], "after_hours": 1, "at_most": tries}, **overdue),
                step("email_manual", "draft", on_reject="skip", **overdue),
                step("task", **overdue),
            ]
        )
        self.tries = tries
        self.ended: dict[UUID, str] = {}

    def send(self, message: Message) -> None:
        with contextlib.suppress(DomainError):
            self.scenario.world.send(message)

    def tasks(self) -> list[Task]:
        return [state for state in self.scenario.world.states.values() if isinstance(state, Task)]

    def pick(self, data: st.DataObject) -> UUID:
        return data.draw(st.sampled_from(self.tasks())).id

    @rule(data=st.data(), outcome=st.sampled_from(["no_answer", "connected", "done"]))
    def done(self, data: st.DataObject, outcome: str) -> None:
        self.send(CompleteTask(task_id=self.pick(data), outcome=outcome))

    @rule(data=st.data())
    def skipped(self, data: st.DataObject) -> None:
        self.send(SkipTask(task_id=self.pick(data)))

    @rule(data=st.data(), hours=st.integers(-5, 5))
    def snoozed(self, data: st.DataObject, hours: int) -> None:
        self.send(SnoozeTask(task_id=self.pick(data), until=self.scenario.world.now + timedelta(hours=hours)))

    @rule(data=st.data(), text=st.sampled_from(["", "x"]))
    def edited(self, data: st.DataObject, text: str) -> None:
        self.send(EditDraft(task_id=self.pick(data), text=text))

    @rule(data=st.data())
    def approved(self, data: st.DataObject) -> None:
        self.send(ApproveDraft(task_id=self.pick(data)))

    @rule(data=st.data(), then=st.sampled_from([None, "skip", "exit"]))
    def rejected(self, data: st.DataObject, then: Any) -> None:
        self.send(RejectDraft(task_id=self.pick(data), reason="no", then=then))

    @rule()
    def held(self) -> None:
        pause(self.scenario)

    @rule()
    def taken_up(self) -> None:
        resume(self.scenario)

    @rule()
    def answered(self) -> None:
        if self.scenario.state.in_flight is not None:
            self.scenario.sent()

    @rule()
    def timer_rings(self) -> None:
        timer = self.scenario.timer
        if timer is not None and timer.due_at is not None:
            world = self.scenario.world
            world.now = world.wall_now = max(world.now, world.wall_now, timer.due_at)
            world.wake(timer)

    @invariant()
    def an_end_is_an_end(self) -> None:
        for task in self.tasks():
            if task.id in self.ended:
                assert task.status == self.ended[task.id]
            elif task.status != "open":
                self.ended[task.id] = task.status

    @invariant()
    def each_step_is_done_once(self) -> None:
        concluded = [
            change.event.execution
            for change in self.scenario.log
            if isinstance(change.event, StepDoneByPerson | StepOverdue | StepApproved)
        ]
        assert len(concluded) == len(set(concluded))
        calls = [task for task in self.tasks() if task.kind == "call"]
        assert len(calls) <= self.tries + 1

    @invariant()
    def nothing_is_stuck(self) -> None:
        state, timer = self.scenario.state, self.scenario.timer
        if state.is_open:
            assert timer is not None
            assert timer.due_at is not None or timer.blocked_on
            if state.task_id is not None:
                assert task_of(self.scenario).status == "open"
        else:
            assert all(task.status != "open" for task in self.tasks())


TestAnyOrders = TaskMachine.TestCase
TestAnyOrders.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
