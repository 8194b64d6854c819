"""What a simulation of one lead recorded, told step by step as the API shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from services.enrollment.domain.errors import (
    AlreadyEnrolled,
    DomainError,
    Exclusive,
    SequenceNotActive,
    UnknownTarget,
    Unreachable,
)
from services.enrollment.domain.flow import Version
from services.enrollment.simulation.outside import Kept
from shared.events.engagement import RecordSignal
from shared.events.enrollment import (
    EnrollmentCompleted,
    EnrollmentExited,
    EnrollmentPaused,
    EnrollmentResumed,
    RecordSent,
    RecordStopped,
    RecordUndressed,
    StepDoneByPerson,
    StepFailed,
    StepHandedToPerson,
    StepSent,
    StepSkipped,
    StepTaken,
    WakeTimer,
)
from shared.events.lead import LeadConverted, MeetingBooked
from shared.events.message import Event, Message
from shared.events.naming import StepName
from shared.events.task import ApproveDraft, CompleteTask
from shared.events.why import Plan, Why
from shared.events.wording import NOTHING_NAMED, in_words, sentence_of

#: Refusals whose own text is made for people.
_SPOKEN = (AlreadyEnrolled, Exclusive, SequenceNotActive, Unreachable)
#: What a simulation does in the stead of channels, people and leads, where it was refused.
_DOINGS: Mapping[type[Message], str] = {
    WakeTimer: "The moment of a step",
    RecordSent: "That a message went out",
    RecordStopped: "That a message was stopped",
    RecordUndressed: "That a message could not be made",
    RecordSignal: "What the lead did with a message",
    CompleteTask: "That somebody did a task",
    ApproveDraft: "That somebody approved a draft",
    MeetingBooked: "The booked meeting",
    LeadConverted: "The conversion",
}


class Naming(Protocol):
    """What steps and the inputs of reasons are called, where that is known."""

    def step(self, step_id: str) -> StepName | None: ...

    def inputs(self, why: Why) -> Mapping[str, str]:
        """Words for those inputs that are ids, by the input's name."""
        ...


class Nameless:
    """Nothing has a name."""

    def step(self, step_id: str) -> StepName | None:
        del step_id
        return None

    def inputs(self, why: Why) -> Mapping[str, str]:
        del why
        return NOTHING_NAMED


NAMELESS = Nameless()


def called(naming: Naming, step_id: str) -> str:
    """A step by its number and name, else by its id."""
    return str(naming.step(step_id) or f"step {step_id}")


@dataclass(slots=True)
class DryRun:
    """``steps`` in order, as the API shows them. ``ended_by``: ``completed``, the reason of an exit or a pause, or
    ``refused`` when the lead cannot enter; None when it goes on beyond the horizon.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    ends_at: datetime | None = None
    ended_by: str | None = None
    warnings: list[str] = field(default_factory=list)
    history: list[Kept] = field(default_factory=list)

    def as_answer(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "ends_at": self.ends_at.isoformat() if self.ends_at is not None else None,
            "ended_by": self.ended_by,
            "warnings": self.warnings,
        }


class Telling:
    """Turns what was recorded into what the API shows."""

    def __init__(
        self,
        run: DryRun,
        version: Version,
        zone: ZoneInfo,
        made: Mapping[UUID, dict[str, Any] | None],
        naming: Naming,
    ) -> None:
        """``made`` holds the contents of messages by dispatch."""
        self._run = run
        self._version = version
        self._zone = zone
        self._made = made
        self._naming = naming
        self._planned: dict[str, Why] = {}

    def tell(self, mine: Collection[UUID], plan: Plan | None = None) -> None:
        """What happened in these enrollments; ``plan`` is what was planned before."""
        if plan is not None:
            self._planned[plan.step_id] = plan.why
        for at, change in self._run.history:
            if change.id not in mine:
                continue
            event = change.event
            self._run.steps += self._steps(event, at)
            plan = getattr(event, "plan", None)
            if isinstance(plan, Plan) and plan.blocked_on is None:
                self._planned[plan.step_id] = plan.why
            self._follow_the_end(event, at)

    def _steps(self, event: Event, at: datetime) -> Iterator[dict[str, Any]]:
        match event:
            case StepSent():
                yield self._step(event.step_id, at, "sends", content=self._made.get(event.dispatch_id))
            case StepHandedToPerson():
                yield self._step(event.step_id, at, "waits_for_person")
            case StepTaken():
                outcome = "branches" if event.arm is not None else "takes_effect"
                yield self._step(event.step_id, at, outcome, arm=event.arm, why=event.why)
            case StepSkipped():
                yield self._step(event.step_id, at, "skips", why=event.why)

    def _step(
        self,
        step_id: str,
        at: datetime,
        outcome: str,
        *,
        arm: str | None = None,
        why: Why | None = None,
        content: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        reason = why or self._planned.get(step_id) or Why(rule="delay")
        step, named = self._naming.step(step_id), self._naming.inputs(reason)
        return {
            "step_id": step_id,
            "step_name": step.name if step is not None else None,
            "step_number": step.number if step is not None else None,
            "kind": str(self._version.steps[step_id].kind),
            "at": at.isoformat(),
            "local_at": at.astimezone(self._zone).isoformat(),
            "outcome": outcome,
            "arm": arm,
            "why": {**reason.model_dump(mode="json"), "names": dict(named), "text": in_words(reason, named)},
            "content": content,
        }

    def _follow_the_end(self, event: Event, at: datetime) -> None:
        run = self._run
        match event:
            case EnrollmentCompleted():
                run.ends_at, run.ended_by = at, "completed"
            case EnrollmentExited() | EnrollmentPaused():
                run.ends_at, run.ended_by = at, event.reason
            case EnrollmentResumed():
                run.ends_at = run.ended_by = None
            case StepFailed():
                step = called(self._naming, event.step_id)
                run.warnings.append(sentence_of(f"{step} cannot be sent: {event.reason}."))


def refused_in_words(error: DomainError) -> str:
    """Whole sentences, without ids."""
    if isinstance(error, _SPOKEN):
        return str(error)
    if isinstance(error, UnknownTarget):
        return f"There is no such {error.kind}."
    problems = "; ".join(f"{each['field']}: {each['problem']}" for each in error.errors)
    return f"{error.title}: {problems}." if problems else f"{error.title}."


def warn(run: DryRun, refusals: Sequence[tuple[Any, DomainError]]) -> None:
    """Says what the steps alone do not."""
    if any(isinstance(kept.change.event, StepDoneByPerson) for kept in run.history):
        run.warnings.append("People's steps are taken as done at the moment they are due.")
    for message, error in refusals:
        doing = _DOINGS.get(type(message), "Something that happens meanwhile")
        run.warnings.append(f"{doing} did not count. {refused_in_words(error)}")
    if run.ended_by is None:
        run.warnings.append("The sequence goes on for more than five years, or waits without an end.")
