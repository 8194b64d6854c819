"""Backtest: past enrollments through another definition. Who would have got what, when, and what their recorded
engagement says.

Both the definition they were in and the changed one are played, under the same inputs: leads as they were on entering,
and what is recorded of them afterwards. So equal definitions give no differences, and a difference is owed to the
change alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.identities import normalise
from services.enrollment.domain.inbound import KINDS
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.work import Change
from services.enrollment.simulation.dry_run import Subject
from services.enrollment.simulation.forecast import Progress, no_progress
from services.enrollment.simulation.outside import Played, done, sent, signal, stopped
from services.enrollment.simulation.simulator import Later, Simulator
from services.enrollment.simulation.world import SimulatedWorld
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import (
    Enroll,
    EnrollmentCompleted,
    EnrollmentExited,
    StepDue,
    StepSent,
    StepStopRequested,
)
from shared.events.message import Message
from shared.events.task import TaskOpened

#: Nothing is looked at beyond this after the last one entered.
HORIZON = timedelta(days=2 * 366)
#: Two sends of a step within this are the same send.
SAME = timedelta(minutes=1)
STEPS_PER_REPORT = 500
#: Signals that say something about a message.
TELLING = ("opened", "clicked", "replied", "unsubscribed", "bounced", "complained")


class Send(NamedTuple):
    step_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Past:
    """A past enrollment with its inputs. ``lead`` is as it was just before it entered.

    ``signals`` are what came back, from when their step was sent; ``done_after`` how long people took over a step's
    task; ``messages`` what was heard of the lead and ordered by people, with its time. ``sends`` is what really went
    out.
    """

    enrollment_id: UUID
    lead: Lead
    version: int
    entered_at: datetime
    signals: Sequence[Played] = ()
    done_after: Mapping[str, timedelta] = field(default_factory=dict)
    messages: Sequence[Later] = ()
    sends: Sequence[Send] = ()


@dataclass(slots=True)
class Course:
    """What one played enrollment came to."""

    sends: list[Send] = field(default_factory=list)
    ended_by: str | None = None
    ended_at: datetime | None = None

    def differs(self, other: Course) -> bool:
        if self.ended_by != other.ended_by or len(self.sends) != len(other.sends):
            return True
        return any(
            mine.step_id != theirs.step_id or abs(mine.at - theirs.at) >= SAME
            for mine, theirs in zip(self.sends, other.sends, strict=True)
        )

    @property
    def steps(self) -> list[str]:
        """What was sent, in order."""
        return [each.step_id for each in self.sends]

    def first_sends(self) -> dict[str, datetime]:
        """When each step was first sent."""
        return {each.step_id: each.at for each in reversed(self.sends)}

    def shown(self) -> dict[str, Any]:
        return {
            "sends": [{"step_id": each.step_id, "at": each.at.isoformat()} for each in self.sends],
            "ended_by": self.ended_by,
            "ended_at": self.ended_at.isoformat() if self.ended_at is not None else None,
        }


#: Gets each lead that would have differed, as the API shows it.
Keep = Callable[[dict[str, Any]], None]


def backtest(
    subject: Subject,
    versions: Mapping[int, SequenceDefinition],
    past: Sequence[Past],
    *,
    keep: Keep,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Plays ``past`` by the definitions they were in (``versions``) and by that of ``subject``; answers the summary."""
    total = len(past)
    was = play_all(subject, versions, past, lambda done, _all: progress(done // 2, total))
    would = play_all(subject, None, past, lambda done, _all: progress((total + done) // 2, total))
    progress(total, total)
    return compare(past, was, would, keep=keep)


def play_all(
    subject: Subject,
    versions: Mapping[int, SequenceDefinition] | None,
    past: Sequence[Past],
    progress: Progress = no_progress,
) -> dict[UUID, Course]:
    """The course of each by the definition of ``versions`` that it was in; None: by that of ``subject``."""
    courses: dict[UUID, Course] = {}
    for version, together in _lanes(past):
        before = len(courses)
        tried = subject if versions is None else replace(subject, definition=versions[version])
        courses |= play(tried, together, lambda ended, _all, before=before: progress(before + ended, len(past)))  # type: ignore[misc]
    return courses


def compare(
    past: Sequence[Past], was: Mapping[UUID, Course], would: Mapping[UUID, Course], *, keep: Keep
) -> dict[str, Any]:
    """The summary, and every lead that would have differed: by version, then by when it entered."""
    summary = _Summary(len(past))
    for _version, together in _lanes(past):
        for each in together:
            difference = summary.compare(each, was[each.enrollment_id], would[each.enrollment_id])
            if difference is not None:
                keep(difference)
    return summary.as_answer()


def _lanes(past: Sequence[Past]) -> Iterable[tuple[int, list[Past]]]:
    """Enrollments to be played together: of one version, and of each lead only one."""
    lanes: defaultdict[tuple[int, int], list[Past]] = defaultdict(list)
    met: Counter[tuple[int, UUID]] = Counter()
    for each in sorted(past, key=lambda each: (each.entered_at, each.enrollment_id)):
        key = (each.version, each.lead.id)
        lanes[each.version, met[key]].append(each)
        met[key] += 1
    for (version, _), together in sorted(lanes.items(), key=lambda lane: lane[0]):
        yield version, together


def play(
    subject: Subject, past: Sequence[Past], progress: Progress = no_progress, outside: Recorded | None = None
) -> dict[UUID, Course]:
    """The course of each, by enrollment id. All share one world, so that they take places in limits from each other.

    ``outside`` takes the place of the one that is made of ``past``.
    """
    world = SimulatedWorld(min(each.entered_at for each in past))
    world.hold(subject.organization)
    world.publish(subject.organization.id, subject.sequence_id, subject.version, subject.definition)
    recorded = outside or Recorded(past)
    simulator = Simulator(world, subject.organization.id, recorded)
    for each in past:
        _place(world, each.lead)
        simulator.expect(
            Later(each.entered_at, Enroll(lead_id=each.lead.id, sequence_id=subject.sequence_id, by="backtest"))
        )
        for later in each.messages:
            simulator.expect(later)
    until = max(each.entered_at for each in past) + HORIZON
    while simulator.run(until, at_most=STEPS_PER_REPORT):
        progress(recorded.ended, len(past))
    return recorded.courses


def _place(world: SimulatedWorld, lead: Lead) -> None:
    world.hold(lead)
    for kind in KINDS:
        text = getattr(lead, kind)
        normal = normalise(kind, text) if text else None
        if normal is not None:
            world.identities[lead.organization_id, kind, normal] = lead.id


#: Events that a course is made of, and those that the outside answers: most are neither.
_KEPT = frozenset({StepSent, EnrollmentCompleted, EnrollmentExited})
_ANSWERED = frozenset({StepDue, StepStopRequested, TaskOpened, StepSent})


class Recorded:
    """An outside that does again what is recorded of each lead."""

    def __init__(self, past: Sequence[Past]) -> None:
        self.courses = {each.enrollment_id: Course() for each in past}
        self.ended = 0
        self._of_lead = {each.lead.id: each for each in past}

    def _of(self, change: Change) -> Past | None:
        return self._of_lead.get(change.lead_id) if change.lead_id is not None else None

    def recorded(self, change: Change, world: SimulatedWorld) -> None:
        past = self._of(change) if type(change.event) in _KEPT else None
        if past is None:
            return
        course = self.courses[past.enrollment_id]
        match change.event:
            case StepSent():
                course.sends.append(Send(change.event.step_id, change.event.sent_at))
            case EnrollmentCompleted():
                self._end(course, "completed", world)
            case EnrollmentExited():
                self._end(course, change.event.reason, world)

    def _end(self, course: Course, how: str, world: SimulatedWorld) -> None:
        if course.ended_by is None:
            self.ended += 1
            course.ended_by, course.ended_at = how, world.now

    def refused(self, message: Message, error: DomainError, world: SimulatedWorld) -> None:
        if isinstance(message, Enroll):
            self._end(self.courses[self._of_lead[message.lead_id].enrollment_id], f"refused: {error.code}", world)

    def answers(self, change: Change, world: SimulatedWorld) -> Iterable[Later]:
        return self._answers(change, world) if type(change.event) in _ANSWERED else ()

    def _answers(self, change: Change, world: SimulatedWorld) -> Iterable[Later]:
        past = self._of(change)
        match change.event:
            case StepDue() as due:
                yield Later(world.now, sent(change.id, due, world.now))
            case StepStopRequested() as stop:
                yield Later(world.now, stopped(change.id, stop))
            case TaskOpened() as task if past is not None and task.enrollment_id is not None:
                after = past.done_after.get(task.step_id or "")
                at = world.now + after if after is not None else max(task.due_at, world.now)
                yield Later(at, done(change.id, world))
            case StepSent() as step if past is not None:
                for played in past.signals:
                    if played.step == step.step_id:
                        yield Later(step.sent_at + played.after, signal(change.id, step, played, step.sent_at))


# --- comparing --------------------------------------------------------------------------------------------------------


class _Summary:
    def __init__(self, total: int) -> None:
        self._total = total
        self._differ = 0
        self._as_recorded = 0
        self._by_step: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._engagement: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._ends: dict[str, Counter[str]] = {"was": Counter(), "would": Counter()}

    def compare(self, past: Past, was: Course, would: Course) -> dict[str, Any] | None:
        """What would have differed for one lead; None when nothing would."""
        self._ends["was"][was.ended_by or "still inside"] += 1
        self._ends["would"][would.ended_by or "still inside"] += 1
        self._as_recorded += Course(list(past.sends)).steps == was.steps
        self._count(past, was, would)
        if not was.differs(would):
            return None
        self._differ += 1
        return {
            "lead_id": str(past.lead.id),
            "enrollment_id": str(past.enrollment_id),
            "version": past.version,
            "entered_at": past.entered_at.isoformat(),
            "was": was.shown(),
            "would": would.shown(),
        }

    def _count(self, past: Past, was: Course, would: Course) -> None:
        """By step: sends, and what the leads did with the messages that would have stayed, moved or gone."""
        before, after = was.first_sends(), would.first_sends()
        heard: defaultdict[str, set[str]] = defaultdict(set)
        for played in past.signals:
            heard[played.step or ""].add(played.signal)
        for step_id in before.keys() | after.keys():
            if step_id not in after:
                fate = "gone"
            elif step_id not in before:
                fate = "new"
            else:
                fate = "moved" if abs(after[step_id] - before[step_id]) >= SAME else "same"
            self._by_step[step_id][fate] += 1
            if fate != "new":
                for name in heard[step_id]:
                    if name in TELLING:
                        self._engagement[fate][name] += 1
                self._engagement[fate]["sent"] += 1

    def as_answer(self) -> dict[str, Any]:
        return {
            "enrollments": self._total,
            "differ": self._differ,
            "as_recorded": self._as_recorded,
            "ends": {name: dict(counts) for name, counts in self._ends.items()},
            "by_step": {step_id: dict(counts) for step_id, counts in sorted(self._by_step.items())},
            "engagement": {fate: dict(counts) for fate, counts in sorted(self._engagement.items())},
        }
