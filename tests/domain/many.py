"""Many leads in one world: who gets a message on which day, when everything that is due goes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.handling import Decision
from services.enrollment.domain.memory_world import MemoryWorld
from services.enrollment.domain.row_types import Timer
from services.enrollment.domain.work import Change
from shared.events.definition import Limits
from shared.events.enrollment import Enroll, RecordSent, StepDue
from shared.events.lead import LeadBody, LeadCreated
from shared.events.organization import FoundOrganization, SetOrganization, SetSender
from shared.events.sequence import DraftSequence
from shared.events.why import TimerClass
from shared.ids import derived_id
from tests.domain.scenario import TWO_MAILS, T, definition


class Many:
    """An organization with a sender. Sequences and leads are added; ``run`` lets time pass and answers every step as
    sent.
    """

    def __init__(self, *, timezone: str = "UTC", limits: dict[str, int] | None = None, **sender: Any) -> None:
        self.world = MemoryWorld(T)
        self.world.send(FoundOrganization(name="Demo", timezone=timezone))
        self.world.send(SetSender(sender_id="default", name="Demo", email="demo@example.com", **sender))
        if limits:
            self.world.send(SetOrganization(limits=Limits(**limits)))
        self.leads = 0

    def sequence(self, name: str, steps: Sequence[dict[str, Any]] = TWO_MAILS, **settings: Any) -> UUID:
        sequence_id = derived_id("test", name)
        made = definition(steps, settings=settings, trigger={"start": "manual"})
        self.world.send(DraftSequence(sequence_id=sequence_id, definition=made, activate=True))
        return sequence_id

    def lead(self, **fields: Any) -> UUID:
        self.leads += 1
        body = LeadBody.model_validate({"email": f"lead{self.leads}@example.com", **fields})
        decision = self.world.send(LeadCreated(organization_id="demo", lead=body), message_id=f"m{self.leads}")
        return UUID(str(decision.result["lead_id"]))

    def enroll(self, sequence_id: UUID, count: int = 1) -> list[UUID]:
        """New leads in a sequence; the ids of their enrollments."""
        return [
            UUID(str(self.world.send(Enroll(lead_id=self.lead(), sequence_id=sequence_id)).result["enrollment_id"]))
            for _ in range(count)
        ]

    def next_timer(self) -> Timer | None:
        """The timer that rings next: the earliest, of several at one moment a follow-up first."""
        timers = [
            timer
            for timer in self.world.timers.values()
            if timer.due_at is not None and timer.timer_class != TimerClass.WATCHDOG
        ]
        order = [TimerClass.FOLLOW_UP, TimerClass.FIRST_TOUCH]
        return min(
            timers,
            key=lambda timer: (max(timer.due_at or T, self.world.now), order.index(timer.timer_class)),
            default=None,
        )

    def run(self, until: datetime) -> int:
        """Rings every timer up to a moment, and answers every step that goes out as sent; how often a timer rang."""
        rang = 0
        while (timer := self.next_timer()) is not None and timer.due_at is not None and timer.due_at <= until:
            rang += 1
            self.to(timer.due_at)
            self.answer(self.world.wake(timer))
        self.to(until)
        return rang

    def to(self, moment: datetime) -> None:
        if moment > self.world.now:
            self.world.advance(moment - self.world.now)

    def answer(self, decision: Decision) -> None:
        due = [change for change in decision.changes if isinstance(change.event, StepDue)]
        while due:
            change = due.pop()
            event = change.event
            assert isinstance(event, StepDue)
            answered = self.world.send(
                RecordSent(
                    enrollment_id=change.id,
                    execution=event.execution,
                    attempt=event.attempt,
                    dispatch_id=event.dispatch_id,
                    sent_at=self.world.now,
                )
            )
            due += [each for each in answered.changes if isinstance(each.event, StepDue)]

    def state(self, enrollment_id: UUID) -> Enrollment:
        state = self.world.enrollment(enrollment_id)
        assert state is not None
        return state

    def due(self, *, step: str | None = None, sequence_id: UUID | None = None) -> list[Change]:
        """Every StepDue so far, of one step or sequence if it is named."""
        return [
            change
            for change in self.world.log
            if isinstance(change.event, StepDue)
            and step in (None, change.event.step_id)
            and sequence_id in (None, change.event.sequence_id)
        ]

    def per_day(self, **only: Any) -> dict[int, int]:
        """Messages by day, counted from the first."""
        first = T.date()
        counted: Counter[int] = Counter()
        for change in self.due(**only):
            assert isinstance(change.event, StepDue)
            counted[(change.event.due_at.date() - first).days] += 1
        return dict(sorted(counted.items()))


def day(number: int) -> datetime:
    """The end of a day, counted from the first."""
    return T.replace(hour=23, minute=59) + timedelta(days=number)
