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
from typing import Any
from uuid import UUID

from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.handling import Decision
from services.enrollment.domain.identities import normalise
from services.enrollment.domain.inbound import KINDS
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.lead_facts import COMPANY
from services.enrollment.domain.work import Change
from services.enrollment.simulation.admission import kept_out
from services.enrollment.simulation.dry_run import Subject
from services.enrollment.simulation.forecast import Progress, no_progress
from services.enrollment.simulation.outside import absent, done, sent, signal, stopped
from services.enrollment.simulation.played_past import CompanyStop, Past, Send
from services.enrollment.simulation.simulator import Later, Simulator
from services.enrollment.simulation.world import SimulatedWorld, Surroundings
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import (
    AdvanceEnrollment,
    CancelEnrollment,
    Enroll,
    EnrollmentCompleted,
    EnrollmentExited,
    PauseEnrollment,
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
#: How an enrollment ends that a changed trigger would not have begun; the rule follows.
NOT_ENROLLED = "not enrolled"
NOBODY: Mapping[UUID, str] = {}
#: Signals that say something about a message.
TELLING = ("opened", "clicked", "replied", "unsubscribed", "bounced", "complained")


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
    around: Surroundings | None = None,
) -> dict[str, Any]:
    """Plays ``past`` by the definitions they were in (``versions``) and by that of ``subject``; answers the summary."""
    total = len(past)
    was = play_all(subject, versions, past, lambda done, _all: progress(done // 2, total), around=around)
    refused = kept_out(subject, versions, past)
    would = play_all(
        subject, None, past, lambda done, _all: progress((total + done) // 2, total), refused, around=around
    )
    progress(total, total)
    return compare(past, was, would, keep=keep)


def play_all(
    subject: Subject,
    versions: Mapping[int, SequenceDefinition] | None,
    past: Sequence[Past],
    progress: Progress = no_progress,
    refused: Mapping[UUID, str] = NOBODY,
    *,
    around: Surroundings | None = None,
) -> dict[UUID, Course]:
    """The course of each by the definition of ``versions`` that it was in; None: by that of ``subject``.

    ``refused`` are those whom the trigger would not have taken (``kept_out``): their course is that.
    """
    entered = {each.enrollment_id: each.entered_at for each in past if each.enrollment_id in refused}
    courses = {each: Course([], f"{NOT_ENROLLED}: {refused[each]}", at) for each, at in entered.items()}
    for version, together in _lanes([each for each in past if each.enrollment_id not in refused]):
        before = len(courses)
        tried = subject if versions is None else replace(subject, definition=versions[version])

        def told(ended: int, _all: int, before: int = before) -> None:
            progress(before + ended, len(past))

        courses |= play(tried, together, told, around=around)
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
    subject: Subject,
    past: Sequence[Past],
    progress: Progress = no_progress,
    outside: Recorded | None = None,
    *,
    around: Surroundings | None = None,
) -> dict[UUID, Course]:
    """The course of each, by enrollment id. All share one world, so that they take places in limits from each other.

    ``outside`` takes the place of the one that is made of ``past``.
    """
    world = SimulatedWorld(min(each.entered_at for each in past), around=around)
    world.hold(subject.organization)
    world.publish(subject.organization.id, subject.sequence_id, subject.version, _by_order(subject.definition))
    recorded = outside or Recorded(past)
    simulator = Replay(world, subject.organization.id, recorded)
    for each in past:
        _place(world, each.lead)
        simulator.expect(
            Later(each.entered_at, Enroll(lead_id=each.lead.id, sequence_id=subject.sequence_id, by="backtest"))
        )
        for later in each.messages:
            simulator.expect(later)
        for stop in each.company_stops:
            simulator.expect_stop(stop, each.enrollment_id, subject.definition)
    until = max(each.entered_at for each in past) + HORIZON
    while simulator.run(until, at_most=STEPS_PER_REPORT):
        progress(recorded.ended, len(past))
    return recorded.courses


def _by_order(definition: SequenceDefinition) -> SequenceDefinition:
    """The same for leads that are put in: what its trigger takes later is a past enrollment of its own."""
    return definition.model_copy(update={"trigger": definition.trigger.model_copy(update={"start": "manual"})})


class Replay(Simulator):
    """Gives what people ordered about a step only to who waits at that step."""

    def take(self, later: Later) -> Decision | None:
        if later.at_step is not None and isinstance(later.message, AdvanceEnrollment):
            state = self.world.enrollment(later.message.enrollment_id)
            if state is None or state.plan is None or state.plan.step_id != later.at_step:
                return None
        return super().take(later)

    def expect_stop(self, stop: CompanyStop, enrollment_id: UUID, definition: SequenceDefinition) -> None:
        """The company's stop, as far as the definition that is played has a rule for it."""
        rule = definition.settings.stop_rule(stop.signal)
        if rule is None or not rule.company:
            return
        if rule.do == "exit":
            self.expect(Later(stop.at, CancelEnrollment(enrollment_id=enrollment_id, reason=COMPANY)))
        else:
            self.expect(Later(stop.at, PauseEnrollment(enrollment_id=enrollment_id, reason="stop_rule")))


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
                for away in past.absences:
                    if away.step in {None, step.step_id}:
                        since = step.sent_at if away.step is not None else past.entered_at
                        at = max(since + away.after, step.sent_at)
                        yield Later(at, absent(change.id, step, away.returns_on, at))


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
