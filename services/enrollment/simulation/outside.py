"""A simulated outside for one lead: messages go out at once, people do their tasks when they are due, signals come as
the script says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.work import Change
from services.enrollment.simulation.simulator import Later
from services.enrollment.simulation.world import SimulatedWorld
from shared.events.definition import Intent
from shared.events.engagement import RecordSignal
from shared.events.enrollment import Outcome, RecordSent, RecordStopped, StepDue, StepSent, StepStopRequested
from shared.events.kinds import StepKind
from shared.events.lead import LeadBody, LeadConverted, MeetingBooked
from shared.events.message import Message
from shared.events.task import ApproveDraft, CompleteTask, TaskOpened

#: Signals that belong to a lead and to no step.
OF_A_LEAD: dict[str, type[MeetingBooked | LeadConverted]] = {
    "meeting_booked": MeetingBooked,
    "conversion": LeadConverted,
}


class Played(NamedTuple):
    """A signal to play in ``after`` its step was sent; one that belongs to no step, ``after`` the start. ``intent`` is
    a reply's.
    """

    signal: str
    after: timedelta
    step: str | None = None
    link: str | None = None
    intent: Intent | None = None


class Kept(NamedTuple):
    """An event and when it was recorded."""

    at: datetime
    change: Change


def nothing_wrong(due: StepDue, world: SimulatedWorld) -> Outcome | None:
    """Every message can be sent."""
    del due, world
    return None


class Script:
    """``history`` holds every event in order, ``refusals`` what the domain said no to.

    ``hindrance`` may answer for the dispatchers instead of a send: an outcome of another kind, None where all is well.
    """

    def __init__(
        self,
        signals: Sequence[Played] = (),
        hindrance: Callable[[StepDue, SimulatedWorld], Outcome | None] = nothing_wrong,
    ) -> None:
        self.history: list[Kept] = []
        self.refusals: list[tuple[Message, DomainError]] = []
        self._signals = signals
        self._hindrance = hindrance

    def recorded(self, change: Change, world: SimulatedWorld) -> None:
        self.history.append(Kept(world.now, change))

    def refused(self, message: Message, error: DomainError, world: SimulatedWorld) -> None:
        del world
        self.refusals.append((message, error))

    def answers(self, change: Change, world: SimulatedWorld) -> Iterable[Later]:
        match change.event:
            case StepDue() as due:
                yield Later(world.now, self._hindrance(due, world) or sent(change.id, due, world.now))
            case StepStopRequested() as stop:
                yield Later(world.now, stopped(change.id, stop))
            case TaskOpened() as task if task.enrollment_id is not None:
                yield Later(max(task.due_at, world.now), done(change.id, world))
            case StepSent() as step:
                for played in self._signals:
                    if played.step == step.step_id:
                        yield Later(step.sent_at + played.after, signal(change.id, step, played, step.sent_at))


def sent(enrollment_id: UUID, due: StepDue, now: datetime) -> RecordSent:
    """The channel took it."""
    return RecordSent(
        enrollment_id=enrollment_id,
        execution=due.execution,
        attempt=due.attempt,
        dispatch_id=due.dispatch_id,
        sent_at=now,
    )


def done(task_id: UUID, world: SimulatedWorld) -> Message:
    """A person did it: a draft is approved as it stands, a call was answered."""
    task = world.task(task_id)
    if task is not None and task.is_draft:
        return ApproveDraft(task_id=task_id)
    if task is not None and task.kind == StepKind.CALL:
        return CompleteTask(task_id=task_id, outcome="connected")
    return CompleteTask(task_id=task_id)


def stopped(enrollment_id: UUID, stop: StepStopRequested) -> RecordStopped:
    """The stop was in time."""
    return RecordStopped(
        enrollment_id=enrollment_id,
        execution=stop.execution,
        attempt=stop.attempt,
        dispatch_id=stop.dispatch_id,
        reason=stop.reason,
    )


def signal(enrollment_id: UUID, step: StepSent, played: Played, sent_at: datetime) -> RecordSignal:
    """A person's own signal for a message. A bounce is taken for a hard one."""
    return RecordSignal.model_validate(
        {
            "enrollment_id": enrollment_id,
            "execution": step.execution,
            "channel": step.channel,
            "signal": played.signal,
            "at": sent_at + played.after,
            "link": played.link,
            "intent": played.intent,
            "source": "simulation",
            "bounce_kind": "hard" if played.signal == "bounced" else None,
        }
    )


def absent(enrollment_id: UUID, step: StepSent, returns_on: date, at: datetime) -> RecordSignal:
    """An automatic answer to a message."""
    return RecordSignal(
        enrollment_id=enrollment_id,
        execution=step.execution,
        channel=step.channel,
        signal="replied",
        at=at,
        source="simulation",
        auto_reply=True,
        returns_on=returns_on,
    )


def of_lead(lead: Lead, signal_name: str, at: datetime) -> Message:
    """A meeting booked or a conversion, as a funnel would tell it."""
    known = LeadBody(external_id=lead.external_id, email=lead.email, phone=lead.phone)
    return OF_A_LEAD[signal_name](organization_id=lead.organization_id, occurred_at=at, lead=known)
