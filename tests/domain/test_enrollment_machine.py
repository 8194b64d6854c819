"""An enrollment under every order of orders, outcomes, signals and wakes: what must never break."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.evolving import evolve_any
from services.enrollment.domain.quotas import bare, parsed, places_reserved, rows_for
from services.enrollment.domain.row_types import TIMER, Timer
from shared.events.definition import DayOff, Window
from shared.events.enrollment import (
    AdvanceEnrollment,
    CancelEnrollment,
    EnrollmentActivated,
    EnrollmentCompleted,
    EnrollmentExited,
    EnrollmentPaused,
    EnrollmentResumed,
    PauseEnrollment,
    RecordDeferred,
    RecordInDoubt,
    RecordRejected,
    RecordSent,
    RecordStopped,
    RecordUndressed,
    ResolveDispatch,
    ResumeEnrollment,
    StartEnrollment,
    StepDue,
    StepSent,
    StepSettled,
    StepStopRequested,
    WakeTimer,
)
from shared.events.lead import (
    EditLead,
    EraseLead,
    LeadAddressSuppressed,
    LeadBody,
    LeadConverted,
    LeadReplied,
    LeadUnsubscribed,
)
from shared.events.message import Message
from shared.events.organization import SetCalendar, SetOrganization, SetSender
from shared.events.sequence import ActivateSequence, ArchiveSequence, DeactivateSequence
from shared.events.task import CompleteTask, SkipTask, SnoozeTask
from shared.events.why import TimerClass
from tests.domain import promises
from tests.domain.scenario import SEQUENCE, Scenario, T, days, email

PAUSING = [{"on": "reply", "do": "pause"}, {"on": "conversion", "do": "pause"}]


def steps_with(overdue: str) -> list[dict[str, Any]]:
    call = {"title": "Call", "due_in_hours": 1, "overdue": overdue, "overdue_after_hours": 1}
    return [
        email("one", on_failure="pause"),
        {
            "step_id": "fork",
            "kind": "condition",
            "config": {"when": {"engagement": {"signal": "opened"}}},
            "then": [email("warm", on_failure="exit"), {"step_id": "plus", "kind": "score", "config": {"add": 5}}],
            "else": [{"step_id": "call", "kind": "task", "config": call}, email("cold", active=False)],
        },
        {"step_id": "rest", "kind": "wait", "delay": {"amount": 2, "unit": "hours"}},
        email("two", delay=days(1)),
        {"step_id": "tag", "kind": "tag", "config": {"add": ["nurtured"]}},
        email("three", delay={"amount": 10, "unit": "minutes"}),
    ]


WINDOWS = [{"days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:00", "end": "18:00"}]
OUTCOMES: tuple[type[Any], ...] = (
    RecordSent,
    RecordDeferred,
    RecordRejected,
    RecordStopped,
    RecordInDoubt,
    RecordUndressed,
)
SIGNALS = ("delivered", "opened", "clicked", "replied", "bounced", "complained", "unsubscribed")


class EnrollmentMachine(RuleBasedStateMachine):
    """Nothing outside behaves: outcomes contradict each other, come twice and late; timers ring stale; orders come in
    any order.
    """

    @initialize(
        hold=st.booleans(),
        limits=st.sampled_from([{}, {"per_day": 1}, {"per_minute": 1, "per_day": 2}]),
        stop_on=st.sampled_from([["reply", "unsubscribe", "bounce"], PAUSING, []]),
        windows=st.booleans(),
        overdue=st.sampled_from(["wait", "continue", "exit"]),
        begins_later=st.sampled_from([False, False, True]),
        under_way=st.booleans(),
    )
    def enroll(
        self,
        hold: bool,
        limits: dict[str, int],
        stop_on: list[Any],
        windows: bool,
        overdue: str,
        begins_later: bool,
        under_way: bool,
    ) -> None:
        """``under_way``: the first message is out, unless the enrollment begins later."""
        self.scenario = Scenario(
            steps_with(overdue),
            trigger={"start_at": (T + timedelta(hours=5)).isoformat()} if begins_later else {},
            settings={
                "on_in_doubt": "hold" if hold else "continue",
                "limits": limits,
                "stop_on": stop_on,
                "windows": WINDOWS if windows else [],
                "max_retries": 1,
            },
        )
        self.limits = limits
        self.timers: list[Timer] = []
        self.rings = 0
        self.stops = promises.Stops(self.scenario)
        if under_way and self.state.status == Status.ACTIVE:
            self.timer_rings()
            self.sent()

    def send(self, message: Message, **more: Any) -> None:
        self.stops.send(message, **more)
        if self.scenario.timer is not None:
            self.timers.append(self.scenario.timer)

    @property
    def state(self) -> Enrollment:
        return self.scenario.state

    @property
    def erased(self) -> bool:
        """Whoever comes with the address afterwards is another lead."""
        lead = self.scenario.world.lead(self.scenario.lead_id)
        return lead is None or lead.erased

    @rule(minutes=st.sampled_from([1, 15, 16, 60, 121, 60 * 13, 60 * 25, 60 * 24 * 3]))
    def time_passes(self, minutes: int) -> None:
        self.scenario.world.advance(timedelta(minutes=minutes))

    @rule()
    def timer_rings(self) -> None:
        timer = self.scenario.timer
        if timer is not None and timer.due_at is not None:
            world = self.scenario.world
            if timer.timer_class == TimerClass.WATCHDOG:
                world.wall_now = max(world.wall_now, timer.due_at)
            else:
                world.now = max(world.now, timer.due_at)
            decision = world.wake(timer)
            again = self.scenario.timer
            if again is not None and again.due_at is not None:
                clock = world.wall_now if again.timer_class == TimerClass.WATCHDOG else world.now
                # A timer that was rung and is due at once must have moved the enrollment on: no row rings for ever.
                assert again.due_at > clock or decision.changes

    @precondition(lambda self: len(self.timers) > 0)
    @rule(data=st.data())
    def stale_timer_rings(self, data: st.DataObject) -> None:
        timer = data.draw(st.sampled_from(self.timers))
        self.send(
            WakeTimer(
                enrollment_id=timer.aggregate_id,
                execution=timer.execution,
                attempt=timer.attempt,
                timer_class=timer.timer_class,
            )
        )

    @precondition(lambda self: bool(self.state.executions))
    @rule(data=st.data(), cls=st.sampled_from(OUTCOMES))
    def outcome_comes(self, data: st.DataObject, cls: type[Any]) -> None:
        flight = self.state.in_flight
        numbers = list(self.state.executions)
        number = (
            flight.execution if flight is not None and data.draw(st.booleans()) else data.draw(st.sampled_from(numbers))
        )
        attempt = data.draw(st.integers(1, self.state.executions[number].attempt))
        more: dict[str, Any] = {}
        if cls is RecordSent:
            more = {"sent_at": self.scenario.world.now}
        elif cls is RecordDeferred:
            more = {"fault": data.draw(st.booleans()), "reason": data.draw(st.sampled_from(["stale", "throttled"]))}
        elif cls is RecordRejected:
            more = {"bounce": data.draw(st.booleans())}
        elif cls is RecordUndressed:
            more = {"missing": data.draw(st.sampled_from([[], ["first_name"]]))}
        self.send(self.scenario.outcome(cls, number, attempt, **more))

    @precondition(lambda self: self.state.in_flight is not None)
    @rule()
    def sent(self) -> None:
        assert self.state.in_flight is not None
        self.send(self.scenario.outcome(RecordSent, self.state.in_flight.execution, sent_at=self.scenario.world.now))

    @precondition(lambda self: bool(self.state.executions))
    @rule(data=st.data(), signal=st.sampled_from(SIGNALS), machine=st.sampled_from([0.0, 0.0, 0.9]))
    def signal_comes(self, data: st.DataObject, signal: str, machine: float) -> None:
        number = data.draw(st.sampled_from(list(self.state.executions)))
        kind = data.draw(st.sampled_from(["hard", "soft"])) if signal == "bounced" else None
        self.send(self.scenario.signal(signal, number, machine=machine, bounce_kind=kind, source="test"))

    @rule(hours=st.sampled_from([None, 1, 48]))
    def pause(self, hours: int | None) -> None:
        until = None if hours is None else self.scenario.world.now + timedelta(hours=hours)
        self.send(PauseEnrollment(enrollment_id=self.state.id, until=until))

    @precondition(lambda self: not self.erased)
    @rule()
    def converts(self) -> None:
        lead = LeadBody(email="ada@example.com")
        self.send(LeadConverted(organization_id="demo", lead=lead, occurred_at=self.scenario.world.now))

    @precondition(lambda self: not self.erased)
    @rule(hours=st.sampled_from([1, 48]))
    def converts_in_a_pause_with_an_end(self, hours: int) -> None:
        self.pause(hours)
        self.converts()
        self.time_passes(hours * 60)
        self.timer_rings()

    @precondition(lambda self: self.state.status == Status.PENDING)
    @rule()
    def start(self) -> None:
        self.send(StartEnrollment(enrollment_id=self.state.id))

    @rule()
    def resume(self) -> None:
        self.send(ResumeEnrollment(enrollment_id=self.state.id))

    @rule(skip=st.sampled_from(["wait", "wait", "step"]), force_window=st.booleans())
    def advance(self, skip: str, force_window: bool) -> None:
        order = {"enrollment_id": self.state.id, "skip": skip, "force_window": force_window}
        self.send(AdvanceEnrollment.model_validate(order))

    @rule(really=st.sampled_from([False, False, False, True]))
    def cancel(self, really: bool) -> None:
        if really:
            self.send(CancelEnrollment(enrollment_id=self.state.id))

    @rule(really=st.sampled_from([False, False, False, True]))
    def erase(self, really: bool) -> None:
        if really:
            self.send(EraseLead(lead_id=self.scenario.lead_id))

    @rule(order=st.sampled_from([DeactivateSequence, ActivateSequence, ActivateSequence, ArchiveSequence]))
    def sequence_order(self, order: type[Any]) -> None:
        self.send(order(sequence_id=SEQUENCE))

    @rule(active=st.booleans())
    def sender_order(self, active: bool) -> None:
        self.send(SetSender(sender_id="default", name="Demo", email="demo@example.com", active=active))

    @rule(zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Tokyo"]), consent=st.booleans())
    def lead_changes(self, zone: str, consent: bool) -> None:
        body = LeadBody.model_validate({"timezone": zone, "consent": {"email": consent}})
        self.send(EditLead(lead_id=self.scenario.lead_id, lead=body))

    @rule(days_away=st.sampled_from([1, 3, 90]))
    def lead_is_away(self, days_away: int) -> None:
        back = self.scenario.world.now.date() + timedelta(days=days_away)
        if self.state.executions:
            number = max(self.state.executions)
            self.send(self.scenario.signal("replied", number, auto_reply=True, returns_on=back))

    @rule(days_off=st.integers(0, 4), opens=st.sampled_from([None, "00:00", "19:00"]))
    def rules_change(self, days_off: int, opens: str | None) -> None:
        """Windows from 19:00 on never meet the sequence's own."""
        today = self.scenario.world.now.date()
        off = [DayOff(first=today, last=today + timedelta(days=days_off - 1))] if days_off else []
        self.send(SetCalendar(calendar="organization", days_off=off))
        windows = [] if opens is None else [Window(start=opens, end="23:00")]
        self.send(SetOrganization(windows=windows))

    @precondition(lambda self: self.state.task_id is not None)
    @rule(order=st.sampled_from([CompleteTask, SkipTask]))
    def task_order(self, order: type[Any]) -> None:
        self.send(order(task_id=self.state.task_id))

    @precondition(lambda self: self.state.task_id is not None)
    @rule()
    def task_outlasts_its_time(self) -> None:
        self.send(DeactivateSequence(sequence_id=SEQUENCE))
        self.timer_rings()

    @precondition(lambda self: self.state.task_id is not None)
    @rule(hours=st.sampled_from([-2, 2, 30]))
    def task_snoozed(self, hours: int) -> None:
        until = self.scenario.world.now + timedelta(hours=hours)
        self.send(SnoozeTask.model_validate({"task_id": self.state.task_id, "until": until}))

    @precondition(lambda self: bool(self.state.executions))
    @rule(data=st.data(), outcome=st.sampled_from(["sent", "not_sent"]))
    def resolve(self, data: st.DataObject, outcome: str) -> None:
        number = data.draw(st.sampled_from(list(self.state.executions)))
        self.send(
            ResolveDispatch.model_validate({"enrollment_id": self.state.id, "execution": number, "outcome": outcome})
        )

    # --- what must never break ------------------------------------------------------------------------------------

    @invariant()
    def something_moves_it_on(self) -> None:
        """An active enrollment has a plan with a moment, a plan blocked by name, or a step in flight; and a timer row
        that says so.
        """
        state, timer = self.state, self.scenario.timer
        if state.status == Status.ACTIVE:
            assert (state.plan is None) != (state.in_flight is None)
            if state.plan is not None and state.task_id is None:
                assert (state.plan.at is None) == (state.plan.blocked_on is not None)
        if state.status == Status.PENDING and state.start_at is None:
            assert timer is None
        elif state.is_open or state.in_flight is not None:
            assert timer is not None
            assert timer.due_at is not None or timer.blocked_on is not None
        else:
            assert timer is None
            assert state.plan is None

    @invariant()
    def one_timer_at_most(self) -> None:
        assert [name for _, name in self.scenario.world.timers] in ([], [TIMER])

    @invariant()
    def an_ended_one_has_at_most_a_stop_outstanding(self) -> None:
        state = self.state
        if not state.is_open and state.in_flight is not None:
            assert state.in_flight.stopping is not None
        if state.status == Status.PAUSED and state.in_flight is not None:
            assert state.in_flight.stopping is not None

    @invariant()
    def history_is_sound(self) -> None:
        """No StepDue after an exit or in a pause; none for a new execution while a stop is unanswered; sent once;
        numbers grow.
        """
        held, ended, awaiting = False, False, None
        newest, sent = (0, 0), set[int]()
        for change in self.scenario.log:
            event = change.event
            if change.aggregate != "enrollment":
                continue
            match event:
                case StepDue():
                    assert not held
                    assert not ended
                    assert awaiting is None
                    assert (event.execution, event.attempt) > newest
                    newest = (event.execution, event.attempt)
                case StepStopRequested():
                    awaiting = event.execution
                case StepSent():
                    assert event.execution not in sent
                    sent.add(event.execution)
                case StepSettled() if event.outcome == "sent":
                    assert event.execution not in sent
                    sent.add(event.execution)
                case EnrollmentPaused():
                    held = True
                case EnrollmentResumed() | EnrollmentActivated():
                    held = False
                case EnrollmentExited() | EnrollmentCompleted():
                    assert not ended
                    ended = True
            closing = type(event).__name__ in {"StepSent", "StepStopped", "StepFailed", "StepInDoubt"}
            if closing and getattr(event, "execution", None) == awaiting:
                awaiting = None
        assert self.state.sent == len(sent)

    @invariant()
    def a_stop_is_a_stop(self) -> None:
        self.stops.hold()

    @invariant()
    def a_paused_sequence_gives_up_nobody(self) -> None:
        promises.gives_up_nobody_while_paused(self.scenario.log)
        promises.waits_for_no_sequence_that_runs(self.scenario)

    @invariant()
    def a_decision_sends_nothing_that_it_then_stops(self) -> None:
        """Within one decision no StepDue comes before what would have kept it back."""
        due = False
        for change in self.scenario.decision.changes if self.scenario.decision is not None else ():
            if isinstance(change.event, StepDue):
                due = True
            elif isinstance(change.event, StepStopRequested | LeadUnsubscribed | LeadAddressSuppressed | LeadReplied):
                assert not due, f"StepDue before {type(change.event).__name__}"

    @invariant()
    def places_are_given_back(self) -> None:
        """What is reserved is what the plan says, and no more; places taken are within the limit, each by a message."""
        world, state = self.scenario.world, self.state
        reserved = {
            (scope, slot): used for (_, scope, slot), used in world.quotas.items() if bare(slot) != slot and used
        }
        plan = state.plan
        wanted = places_reserved(plan.reserved, plan.timer_class) if plan is not None else ()
        assert reserved == dict.fromkeys(rows_for(wanted, state.sequence_id), 1)
        most = {"day": self.limits.get("per_day", 0), "minute": self.limits.get("per_minute", 0)}
        for (_, _, slot), used in world.quotas.items():
            assert bare(slot) != slot or used <= most[parsed(slot)[0]]
        assert sum(used for (_, _, slot), used in world.quotas.items() if slot.startswith("day:")) <= len(
            state.executions
        )

    @invariant()
    def the_log_says_it_all(self) -> None:
        """Folding the log gives the state that the decisions worked on."""
        folded: Any = None
        for change in self.scenario.log:
            if change.aggregate == "lead":
                folded = evolve_any(
                    "lead",
                    folded,
                    change.event,
                    id=change.id,
                    organization_id="demo",
                    lead_id=change.lead_id,
                    at=self.scenario.world.now,
                )
        lead = self.scenario.world.lead(self.scenario.lead_id)
        assert lead is not None
        assert (folded.score, folded.tags, folded.unsubscribed) == (lead.score, lead.tags, lead.unsubscribed)
        assert bool(lead.open_enrollments) == self.state.is_open


TestEnrollmentMachine = EnrollmentMachine.TestCase
TestEnrollmentMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
