"""What waits for a person: tasks, calls that are tried again, what is overdue, and drafts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.enrollment.domain.errors import (
    InvalidAssignee,
    InvalidDraft,
    InvalidMoment,
    InvalidOutcome,
    NotADraft,
    NotATask,
    NothingToAdvance,
    TaskClosed,
    UnknownTarget,
)
from services.enrollment.domain.task import Content, Task, by_hand_of
from shared.events.enrollment import (
    AdvanceEnrollment,
    CancelEnrollment,
    EnrollmentExited,
    EnrollmentResumed,
    PauseEnrollment,
    RecordStopped,
    RecordUndressed,
    ResumeEnrollment,
    StepApproved,
    StepDoneByPerson,
    StepDue,
    StepOverdue,
    StepPostponed,
    StepSkipped,
)
from shared.events.kinds import CALL_OUTCOMES
from shared.events.lead import EraseLead, LeadAddressSuppressed, LeadBody, LeadConverted, LeadUpdated
from shared.events.message import Message
from shared.events.organization import AddMember, SetMember
from shared.events.sequence import ActivateSequence, ArchiveSequence, DeactivateSequence
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
from tests.domain import promises
from tests.domain.scenario import SEQUENCE, Scenario, T, days, email, in_flight, pause, resume
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
    scenario = Scenario([step(kind, assignee=str(OLGA), due_in_hours=4)], enrolled=False)
    scenario.when(AddMember(member_id=OLGA, email="olga@example.com", role="coach")).create(email="ada@example.com")
    opened = scenario.event(TaskOpened)
    assert (opened.kind, opened.assignee, opened.due_at) == (kind, str(OLGA), T + timedelta(hours=4))
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


@pytest.mark.parametrize("hours", [0, -1, -24_000])
def test_a_task_is_not_put_off_to_the_past(hours: int) -> None:
    scenario = Scenario([step("task", due_in_hours=4)])
    task = task_of(scenario).id
    scenario.when(SnoozeTask(task_id=task, until=T + timedelta(hours=hours))).refused(InvalidMoment)
    assert scenario.error is not None
    assert (scenario.error.status, [each["field"] for each in scenario.error.errors]) == (422, ["until"])


def test_putting_a_task_off_again_to_a_time_that_came_meanwhile_is_no_error() -> None:
    scenario = Scenario([step("task")])
    order = SnoozeTask(task_id=task_of(scenario).id, until=T + timedelta(hours=1))
    scenario.when(order).then("TaskSnoozed").later(hours=2).when(order).nothing()


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


def outlasting(kind: str = "task", policy: str = "exit", **more: Any) -> Scenario:
    """The task's time is over while the sequence is paused, and its timer has rung."""
    steps = [step(kind, "person", overdue=policy, **OVERDUE), email("after", delay=days(5))]
    scenario = Scenario(steps, **more).when(DeactivateSequence(sequence_id=SEQUENCE))
    return scenario.wake()


def woken(scenario: Scenario) -> Scenario:
    """The sequence is taken up again, and the timer that waited for it rings."""
    scenario.when(ActivateSequence(sequence_id=SEQUENCE))
    assert scenario.timer is not None
    assert scenario.timer.blocked_on is None
    return scenario.wake()


@pytest.mark.parametrize("policy", ["exit", "continue"])
@pytest.mark.parametrize("kind", ["task", "call", "email_manual"])
def test_a_paused_sequence_gives_up_nobody_whose_task_is_overdue(kind: str, policy: str) -> None:
    scenario = outlasting(kind, policy).then("StepPostponed")
    task, plan = task_of(scenario), scenario.event(StepPostponed).plan
    assert (task.status, scenario.state.status) == ("open", "active")
    assert (plan.at, plan.blocked_on, plan.why.rule) == (None, f"task:{task.id}", "sequence_not_active")
    assert [row.blocked_on for row in scenario.world.timers.values()] == [f"sequence:{SEQUENCE}"]
    assert scenario.later(days=9).world.due() == []
    woken(scenario)
    assert scenario.event(TaskWithdrawn).reason == "overdue"
    assert scenario.event(StepOverdue).then == policy
    assert scenario.state.status == ("exited" if policy == "exit" else "active")


def test_a_task_that_outlasts_its_time_can_still_be_done() -> None:
    scenario = outlasting()
    complete(scenario).then("TaskCompleted", "StepDoneByPerson")
    scenario.wake().then("StepPostponed")
    assert scenario.state.plan is not None
    assert scenario.state.plan.blocked_on == f"sequence:{SEQUENCE}"
    woken(scenario).then("StepDue")


def test_a_task_that_is_overdue_only_after_the_sequence_runs_again_is_given_up_then() -> None:
    scenario = outlasting()
    later = scenario.world.now + timedelta(hours=10)
    scenario.when(SnoozeTask(task_id=task_of(scenario).id, until=later)).then("TaskSnoozed")
    woken(scenario).then("StepPostponed")
    plan = scenario.event(StepPostponed).plan
    assert (plan.at, plan.why.rule) == (later + timedelta(hours=20), "task")
    assert scenario.timer is not None
    assert scenario.timer.due_at == plan.at
    assert scenario.wake().event(EnrollmentExited).reason == "overdue"


def test_a_timer_that_rings_again_in_a_paused_sequence_records_nothing() -> None:
    scenario = outlasting()
    rung = scenario.timer
    assert rung is not None
    scenario.decision = scenario.world.wake(rung)
    scenario.nothing()
    assert scenario.timer == rung


def test_a_sequence_that_is_taken_up_while_the_enrollment_is_paused_is_not_waited_for_afterwards() -> None:
    scenario = pause(outlasting()).when(ActivateSequence(sequence_id=SEQUENCE))
    plan = resume(scenario).event(EnrollmentResumed).plan
    assert (plan.at, plan.why.rule) == (T + timedelta(hours=24), "task")
    assert scenario.wake().event(EnrollmentExited).reason == "overdue"


def test_a_paused_enrollment_that_is_resumed_in_a_paused_sequence_waits_for_that_again() -> None:
    scenario = resume(pause(outlasting()))
    scenario.wake().then("StepPostponed")
    assert scenario.timer is not None
    assert scenario.timer.blocked_on == f"sequence:{SEQUENCE}"


def test_an_archived_sequence_lets_its_tasks_become_overdue() -> None:
    scenario = outlasting().when(ArchiveSequence(sequence_id=SEQUENCE))
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
            ],
            settings={"stop_on": [{"on": "conversion", "do": "pause"}]},
        )
        self.tries = tries
        self.stops = promises.Stops(self.scenario)
        self.ended: dict[UUID, str] = {}

    def send(self, message: Message) -> None:
        self.stops.send(message)

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

    @rule(hours=st.sampled_from([None, 1, 3]))
    def held(self, hours: int | None) -> None:
        until = None if hours is None else self.scenario.world.now + timedelta(hours=hours)
        self.send(PauseEnrollment(enrollment_id=self.scenario.enrollment_id, until=until))

    @rule()
    def taken_up(self) -> None:
        self.send(ResumeEnrollment(enrollment_id=self.scenario.enrollment_id))

    @rule()
    def converted(self) -> None:
        lead = LeadBody(email="ada@example.com")
        self.send(LeadConverted(organization_id="demo", lead=lead, occurred_at=self.scenario.world.now))

    @rule()
    def converted_in_a_pause_with_an_end(self) -> None:
        self.held(1)
        self.converted()
        self.timer_rings()

    @rule()
    def outlasts_its_time(self) -> None:
        self.sequence_order(DeactivateSequence)
        self.timer_rings()

    @rule(order=st.sampled_from([DeactivateSequence, ActivateSequence]))
    def sequence_order(self, order: type[Any]) -> None:
        self.send(order(sequence_id=SEQUENCE))

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
            decision = world.wake(timer)
            again = self.scenario.timer
            # No timer rings for ever: what rings moves the enrollment on, or rings later.
            assert decision.changes or again is None or again.due_at is None or again.due_at > world.now

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
    def a_stop_is_a_stop(self) -> None:
        self.stops.hold()

    @invariant()
    def a_paused_sequence_gives_up_nobody(self) -> None:
        promises.gives_up_nobody_while_paused(self.scenario.log)
        promises.waits_for_no_sequence_that_runs(self.scenario)

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


# --- a lead is forgotten --------------------------------------------------------------------------------------------


def test_open_tasks_of_an_erased_lead_are_withdrawn_however_they_were_made() -> None:
    scenario = Scenario([{"step_id": "call", "kind": "task", "config": {"title": "Call"}}])
    of_the_step = scenario.state.task_id
    assert of_the_step is not None
    by_hand, done = UUID(int=5), UUID(int=6)
    for task_id in (by_hand, done):
        scenario.when(OpenTask(task_id=task_id, lead_id=scenario.lead_id, title="Ring", due_at=T))
    scenario.when(CompleteTask(task_id=done))
    scenario.when(EraseLead(lead_id=scenario.lead_id))
    assert scenario.names.count("TaskWithdrawn") == 2
    status = {each: scenario.world.task(each) for each in (of_the_step, by_hand, done)}
    found = {each: task.status for each, task in status.items() if task is not None}
    assert found == {of_the_step: "withdrawn", by_hand: "withdrawn", done: "completed"}
    assert scenario.world.figures("demo", by_hand_of(scenario.lead_id)) == {}


def test_a_clash_of_identities_is_no_task_any_more_once_its_lead_is_erased() -> None:
    scenario = Scenario(enrolled=False).create(external_id="1", email="a@example.com").create(email="b@example.com")
    body = LeadBody(external_id="1", email="b@example.com")
    scenario.when(LeadUpdated(organization_id="demo", lead=body), message_id="both")
    [(task_id, clashing)] = [(each.id, each.lead_id) for each in scenario.log if isinstance(each.event, TaskOpened)]
    assert clashing is not None
    scenario.when(EraseLead(lead_id=clashing))
    task = scenario.world.task(task_id)
    assert task is not None
    assert task.status == "withdrawn"
