"""An honest ledger behind a slow, repeating, reordering broker: no step ever goes out twice, and nothing is stuck."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.errors import DomainError
from shared.events.enrollment import (
    CancelEnrollment,
    PauseEnrollment,
    RecordDeferred,
    RecordInDoubt,
    RecordRejected,
    RecordSent,
    RecordStopped,
    ResumeEnrollment,
    StepDue,
    StepStopRequested,
    WatchdogRang,
)
from shared.events.message import Message
from shared.events.why import TimerClass
from tests.domain.scenario import Scenario, days, email

STEPS = [email("one"), email("two", delay={"amount": 30, "unit": "minutes"}), email("three", delay=days(1))]


@dataclass
class Row:
    """A dispatch in the ledger."""

    state: str
    attempt: int


class SecondCopyMachine(RuleBasedStateMachine):
    @initialize(retries=st.integers(0, 2), hold=st.booleans(), policy=st.sampled_from(["continue", "pause"]))
    def enroll(self, retries: int, hold: bool, policy: str) -> None:
        steps = [{**step, "on_failure": policy} for step in STEPS]
        self.scenario = Scenario(
            steps, settings={"max_retries": retries, "on_in_doubt": "hold" if hold else "continue"}
        )
        self.seen = 0
        self.orders: list[tuple[int, Any]] = []
        self.answers: list[Message] = []
        self.rows: dict[int, Row] = {}
        self.stopped_before = -1
        self.copies: dict[str, int] = {}

    @property
    def state(self) -> Enrollment:
        return self.scenario.state

    def send(self, message: Message) -> None:
        with contextlib.suppress(DomainError):
            self.scenario.world.send(message)
        self.relay()

    def relay(self) -> None:
        """The relay publishes what the log says."""
        log = self.scenario.log
        for position in range(self.seen, len(log)):
            if isinstance(log[position].event, StepDue | StepStopRequested | WatchdogRang):
                self.orders.append((position, log[position].event))
        self.seen = len(log)

    # --- the dispatcher -------------------------------------------------------------------------------------------

    @precondition(lambda self: bool(self.orders))
    @rule(
        data=st.data(),
        fate=st.sampled_from(["sent", "sent", "deferred", "waits", "rejected", "in_doubt"]),
        again=st.booleans(),
    )
    def order_arrives(self, data: st.DataObject, fate: str, again: bool) -> None:
        index = data.draw(st.integers(0, len(self.orders) - 1))
        position, order = self.orders[index] if again else self.orders.pop(index)
        self.obey(position, order, fate)

    def obey(self, position: int, order: Any, fate: str) -> None:
        row = self.rows.get(order.execution)
        if isinstance(order, StepStopRequested) or getattr(order, "stopping", None):
            self.stopped_before = max(self.stopped_before, position)
            if row is None or row.state == "deferred":
                row = self.rows[order.execution] = Row("stopped", order.attempt)
            self.answer(order, row)
            return
        if row is None or (row.state == "deferred" and row.attempt < order.attempt):
            if position < self.stopped_before:
                fate = "stopped"
            elif self.scenario.world.now >= order.valid_until:
                fate = "waits"
            if fate in {"sent", "in_doubt"}:
                self.copies[order.step_id] = self.copies.get(order.step_id, 0) + 1
            row = self.rows[order.execution] = Row("deferred" if fate == "waits" else fate, order.attempt)
            self.answer(order, row, fault=fate == "deferred")
        else:
            self.answer(order, row)

    def answer(self, order: Any, row: Row, *, fault: bool = False) -> None:
        now = self.scenario.world.now
        kinds: dict[str, tuple[type[Any], dict[str, Any]]] = {
            "sent": (RecordSent, {"sent_at": now}),
            "deferred": (RecordDeferred, {"fault": fault, "reason": "stale"}),
            "rejected": (RecordRejected, {}),
            "stopped": (RecordStopped, {}),
            "in_doubt": (RecordInDoubt, {}),
        }
        cls, more = kinds[row.state]
        self.answers.append(self.scenario.outcome(cls, order.execution, order.attempt, **more))

    @precondition(lambda self: bool(self.answers))
    @rule(data=st.data(), again=st.booleans())
    def answer_arrives(self, data: st.DataObject, again: bool) -> None:
        index = data.draw(st.integers(0, len(self.answers) - 1))
        self.send(self.answers[index] if again else self.answers.pop(index))

    # --- the write side ---------------------------------------------------------------------------------------------

    @rule()
    def timer_rings(self) -> None:
        timer = self.scenario.timer
        if timer is not None and timer.due_at is not None:
            world = self.scenario.world
            if timer.timer_class == TimerClass.WATCHDOG:
                world.wall_now = max(world.wall_now, timer.due_at)
            else:
                world.now = max(world.now, timer.due_at)
            world.wake(timer)
            self.relay()

    @rule(minutes=st.sampled_from([1, 61]))
    def time_passes(self, minutes: int) -> None:
        self.scenario.world.advance(timedelta(minutes=minutes))

    @rule()
    def pause(self) -> None:
        self.send(PauseEnrollment(enrollment_id=self.state.id))

    @rule()
    def resume(self) -> None:
        self.send(ResumeEnrollment(enrollment_id=self.state.id))

    @rule(really=st.sampled_from([False, False, False, True]))
    def cancel(self, really: bool) -> None:
        if really:
            self.send(CancelEnrollment(enrollment_id=self.state.id))

    @invariant()
    def no_step_goes_out_twice(self) -> None:
        assert all(copies <= 1 for copies in self.copies.values()), self.copies

    def teardown(self) -> None:
        """Once everything arrives and a person resumes what is held, the enrollment comes to its end."""
        if not hasattr(self, "scenario"):
            return
        for _ in range(200):
            if not self.state.is_open and self.state.in_flight is None:
                break
            while self.orders:
                self.obey(*self.orders.pop(0), "sent")
            while self.answers:
                self.send(self.answers.pop(0))
            if self.state.status == Status.PAUSED:
                self.resume()
            self.timer_rings()
        assert not self.state.is_open
        assert self.state.in_flight is None
        self.no_step_goes_out_twice()


TestNoSecondCopy = SecondCopyMachine.TestCase
TestNoSecondCopy.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
