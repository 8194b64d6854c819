"""given / when / then on a world of dicts: one organization, one lead, one sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.handling import Decision
from services.enrollment.domain.memory_world import MemoryWorld
from services.enrollment.domain.row_types import TIMER, Timer
from services.enrollment.domain.work import Change
from shared.events.definition import SequenceDefinition
from shared.events.engagement import RecordSignal
from shared.events.enrollment import (
    PauseEnrollment,
    RecordDeferred,
    RecordInDoubt,
    RecordRejected,
    RecordSent,
    RecordStopped,
    RecordUndressed,
    ResumeEnrollment,
)
from shared.events.lead import LeadBody, LeadCreated
from shared.events.message import Event, Message
from shared.events.organization import FoundOrganization, SetSender
from shared.events.sequence import DraftSequence
from shared.ids import derived_id

#: A Friday, 9:00 in UTC.
T = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SEQUENCE = derived_id("test", "sequence")


def email(step_id: str, **more: Any) -> dict[str, Any]:
    config = {"subject": "Hello", "text": "Hello", **more.pop("config", {})}
    return {"step_id": step_id, "kind": "email", "config": config, **more}


def days(amount: int) -> dict[str, Any]:
    return {"amount": amount, "unit": "days"}


def definition(
    steps: Sequence[dict[str, Any]], *, settings: dict[str, Any] | None = None, trigger: dict[str, Any] | None = None
) -> SequenceDefinition:
    return SequenceDefinition.model_validate(
        {"name": "Test", "settings": settings or {}, "trigger": trigger or {}, "steps": list(steps)}
    )


TWO_MAILS = (email("first"), email("second", delay=days(3)))


class Scenario:
    """A lead just enrolled at ``T`` in an active sequence. Steps of the story are methods that answer the scenario
    itself.
    """

    def __init__(
        self,
        steps: Sequence[dict[str, Any]] = TWO_MAILS,
        *,
        settings: dict[str, Any] | None = None,
        trigger: dict[str, Any] | None = None,
        lead: dict[str, Any] | None = None,
        enrolled: bool = True,
    ) -> None:
        self.world = MemoryWorld(T)
        self.world.send(FoundOrganization(name="Demo"))
        for sender in {"default", *(step["config"]["sender"] for step in steps if "sender" in step.get("config", {}))}:
            self.world.send(SetSender(sender_id=sender, name="Demo", email="demo@example.com"))
        drafted = definition(steps, settings=settings, trigger=trigger)
        self.world.send(DraftSequence(sequence_id=SEQUENCE, definition=drafted, activate=True))
        self.decision: Decision | None = None
        self.error: DomainError | None = None
        self.lead_id = UUID(int=0)
        self.enrollment_id = UUID(int=0)
        if enrolled:
            self.create(**(lead or {"email": "ada@example.com"}))

    # --- given ------------------------------------------------------------------------------------------------------

    def create(self, **fields: Any) -> Scenario:
        body = LeadBody.model_validate(fields)
        decision = self.world.send(LeadCreated(organization_id="demo", lead=body), message_id=f"m{len(self.world.log)}")
        self.lead_id = UUID(str(decision.result["lead_id"]))
        if "enrollment_id" in decision.result:
            self.enrollment_id = UUID(str(decision.result["enrollment_id"]))
        self.decision = decision
        return self

    def later(self, **by: float) -> Scenario:
        self.world.advance(timedelta(**by))
        return self

    def wake(self) -> Scenario:
        """Lets the enrollment's timer ring when it is due; time moves there first when it is ahead."""
        timer = self.timer
        assert timer is not None
        assert timer.due_at is not None
        if timer.due_at > self.world.now:
            self.world.advance(timer.due_at - self.world.now)
        self.decision = self.world.wake(timer)
        return self

    def sent(self, execution: int | None = None, **more: Any) -> Scenario:
        return self.when(self.outcome(RecordSent, execution, **{"sent_at": self.world.now, **more}))

    def outcome(self, cls: type[Any], execution: int | None = None, attempt: int | None = None, **more: Any) -> Message:
        """An outcome of the step in flight, or of the execution named."""
        number = execution or self.state.last_execution
        known = self.state.executions[number]
        if cls in (RecordDeferred, RecordRejected, RecordStopped, RecordInDoubt, RecordUndressed):
            more.setdefault("reason", "test")
        if cls is RecordDeferred:
            more.setdefault("fault", True)
        message = cls(
            enrollment_id=self.enrollment_id,
            execution=number,
            attempt=attempt or known.attempt,
            dispatch_id=known.dispatch_id,
            **more,
        )
        assert isinstance(message, Message)
        return message

    def signal(self, signal: str, execution: int = 1, **more: Any) -> RecordSignal:
        return RecordSignal.model_validate(
            {
                "enrollment_id": self.enrollment_id,
                "execution": execution,
                "signal": signal,
                "at": self.world.now,
                **more,
            }
        )

    # --- when and then ------------------------------------------------------------------------------------------------

    def when(self, message: Message, **more: Any) -> Scenario:
        self.error = None
        try:
            self.decision = self.world.send(message, **more)
        except DomainError as error:
            self.decision, self.error = None, error
        return self

    @property
    def events(self) -> list[Event]:
        """What the last decision recorded."""
        assert self.error is None, self.error
        return [change.event for change in self.decision.changes] if self.decision is not None else []

    @property
    def names(self) -> list[str]:
        """The last decision's events by class name."""
        return [type(event).__name__ for event in self.events]

    def then(self, *wanted: Event | str | Callable[[Any], bool]) -> Scenario:
        """Each wanted is an event compared whole, a class name, or a test."""
        found = self.events
        assert len(found) == len(wanted), self.names
        for event, want in zip(found, wanted, strict=True):
            if isinstance(want, str):
                assert type(event).__name__ == want, self.names
            elif isinstance(want, Event):
                assert event == want
            else:
                assert want(event), event
        return self

    def nothing(self) -> Scenario:
        assert self.events == []
        return self

    def refused(self, cls: type[DomainError]) -> Scenario:
        assert isinstance(self.error, cls), self.error or self.names
        return self

    def event(self, cls: type[Any]) -> Any:
        """The one event of a class in the last decision."""
        found = [event for event in self.events if isinstance(event, cls)]
        assert len(found) == 1, self.names
        return found[0]

    @property
    def state(self) -> Enrollment:
        state = self.world.enrollment(self.enrollment_id)
        assert state is not None
        return state

    @property
    def timer(self) -> Timer | None:
        return self.world.timers.get((self.enrollment_id, TIMER))

    @property
    def log(self) -> list[Change]:
        return self.world.log


def in_flight(steps: Any = None, **more: Any) -> Scenario:
    """The first message is in flight."""
    return (Scenario(steps, **more) if steps is not None else Scenario(**more)).wake()


def pause(scenario: Scenario, **more: Any) -> Scenario:
    return scenario.when(PauseEnrollment(enrollment_id=scenario.enrollment_id, **more))


def resume(scenario: Scenario) -> Scenario:
    return scenario.when(ResumeEnrollment(enrollment_id=scenario.enrollment_id))
