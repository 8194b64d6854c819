"""Dry run: what one lead would get, when and why, step by step. Nothing is sent and nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.flow import Version
from services.enrollment.domain.identities import normalise
from services.enrollment.domain.inbound import KINDS
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.planning import zone_of
from services.enrollment.simulation.outside import OF_A_LEAD, Kept, Played, Script, of_lead
from services.enrollment.simulation.simulator import Later, Simulator
from services.enrollment.simulation.world import SimulatedWorld, Surroundings
from services.enrollment.wording import in_words
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import (
    Enroll,
    EnrollmentCompleted,
    EnrollmentExited,
    EnrollmentPaused,
    EnrollmentResumed,
    EnrollmentStarted,
    Outcome,
    RecordUndressed,
    StepDoneByPerson,
    StepDue,
    StepFailed,
    StepHandedToPerson,
    StepSent,
    StepSkipped,
    StepTaken,
)
from shared.events.lead import LeadBody, LeadUpdated
from shared.events.message import Event
from shared.events.why import Plan, Why

#: Nothing is looked at beyond this.
HORIZON = timedelta(days=5 * 366)
#: Makes up a message's content: ``{"subject", "html", "text"}``. May raise ContentProblem.
Content = Callable[[UUID, StepDue, SimulatedWorld], dict[str, Any] | None]


class ContentProblem(Exception):
    """A message cannot be made for this lead; ``missing`` names values without a fallback."""

    def __init__(self, reason: str, missing: Sequence[str] = ()) -> None:
        self.missing = list(missing)
        super().__init__(reason)


def no_content(enrollment_id: UUID, due: StepDue, world: SimulatedWorld) -> dict[str, Any] | None:
    """Leaves the content out."""
    del enrollment_id, due, world
    return None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tried: a definition, with the sequence's id and number for it, and the organization around."""

    organization: Organization
    sequence_id: UUID
    version: int
    definition: SequenceDefinition


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


def dry_run(
    subject: Subject,
    lead: Lead | LeadBody,
    start: datetime,
    signals: Sequence[Played] = (),
    *,
    around: Surroundings | None = None,
    content: Content = no_content,
) -> DryRun:
    """One lead through a sequence from ``start`` on. Raises DomainError when the lead's fields are no lead."""
    run = DryRun()
    world = SimulatedWorld(start, around=around)
    world.hold(subject.organization)
    desk = _Desk(content)
    script = Script([played for played in signals if played.signal not in OF_A_LEAD], desk.hindrance)
    simulator = Simulator(world, subject.organization.id, script)
    if isinstance(lead, Lead) and lead.memberships(subject.sequence_id):
        run.warnings.append("The lead is or was in this sequence: shown as if it came for the first time.")
    lead = enter(world, subject, lead)
    world.publish(subject.organization.id, subject.sequence_id, subject.version, subject.definition)
    for played in signals:
        if played.signal in OF_A_LEAD:
            at = start + played.after
            simulator.expect(Later(at, of_lead(lead, played.signal, at)))
    simulator.take(Later(start, Enroll(lead_id=lead.id, sequence_id=subject.sequence_id, by="simulation")))
    if script.refusals:
        run.ended_by, run.ends_at = "refused", start
        run.warnings.append(f"The lead cannot enter: {script.refusals[0][1]}.")
        return run
    simulator.run(start + HORIZON)
    run.history = script.history
    version = world.version(subject.sequence_id, subject.version)
    assert version is not None
    _Telling(run, version, zone_of(version, lead, subject.organization), desk).tell()
    _warn(run, script.refusals, desk, signals)
    return run


class _Desk:
    """Makes the messages, so that one that cannot be made is answered the way the dispatchers would."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self.made: dict[UUID, dict[str, Any] | None] = {}
        self.problems: list[str] = []

    def hindrance(self, due: StepDue, world: SimulatedWorld) -> Outcome | None:
        enrollment_id = next(
            state.id
            for state in world.states.values()
            if isinstance(state, Enrollment) and state.in_flight and state.in_flight.dispatch_id == due.dispatch_id
        )
        try:
            self.made[due.dispatch_id] = self._content(enrollment_id, due, world)
        except ContentProblem as problem:
            self.problems.append(f"Step {due.step_id}: {problem}")
            return RecordUndressed(
                enrollment_id=enrollment_id,
                execution=due.execution,
                attempt=due.attempt,
                dispatch_id=due.dispatch_id,
                reason=str(problem),
                missing=problem.missing,
            )
        return None


def enter(world: SimulatedWorld, subject: Subject, lead: Lead | LeadBody) -> Lead:
    """Puts the lead into the world, outside of every sequence that it is in and of the one that is tried.

    Raises DomainError when the fields given are no lead.
    """
    if isinstance(lead, Lead):
        kept = {
            key: each
            for key, each in lead.enrollments.items()
            if each.ended_at is not None and each.sequence_id != subject.sequence_id
        }
        lead = replace(lead, enrollments=kept)
        world.hold(lead)
        for kind in KINDS:  # so that what funnels say of it finds it
            text = getattr(lead, kind)
            normal = normalise(kind, text) if text else None
            if normal is not None:
                world.identities[lead.organization_id, kind, normal] = lead.id
        return lead
    if not (lead.email or lead.phone or lead.external_id):
        lead = lead.model_copy(update={"external_id": "dry-run"})
    message = LeadUpdated(organization_id=subject.organization.id, occurred_at=world.now, lead=lead)
    decision = world.send(message, organization_id=subject.organization.id)
    made = world.lead(UUID(str(decision.result["lead_id"])))
    assert made is not None
    return made


# --- what happened, step by step ------------------------------------------------------------------------------------


class _Telling:
    """Turns what was recorded into what the API shows."""

    def __init__(self, run: DryRun, version: Version, zone: ZoneInfo, desk: _Desk) -> None:
        self._run = run
        self._version = version
        self._zone = zone
        self._desk = desk
        self._planned: dict[str, Why] = {}

    def tell(self) -> None:
        sequence_id = self._version.sequence_id
        mine = {
            kept.change.id
            for kept in self._run.history
            if isinstance(kept.change.event, EnrollmentStarted) and kept.change.event.sequence_id == sequence_id
        }
        for at, change in self._run.history:
            if change.id not in mine:
                continue
            event = change.event
            self._run.steps += self._steps(event, at)
            plan = getattr(event, "plan", None)
            if isinstance(plan, Plan) and plan.blocked_on is None:
                self._planned[plan.step_id] = plan.why
            _follow_the_end(self._run, event, at)

    def _steps(self, event: Event, at: datetime) -> Iterator[dict[str, Any]]:
        match event:
            case StepSent():
                yield self._step(event.step_id, at, "sends", content=self._desk.made.get(event.dispatch_id))
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
        return {
            "step_id": step_id,
            "kind": str(self._version.steps[step_id].kind),
            "at": at.isoformat(),
            "local_at": at.astimezone(self._zone).isoformat(),
            "outcome": outcome,
            "arm": arm,
            "why": {**reason.model_dump(mode="json"), "text": in_words(reason)},
            "content": content,
        }


def _follow_the_end(run: DryRun, event: Event, at: datetime) -> None:
    match event:
        case EnrollmentCompleted():
            run.ends_at, run.ended_by = at, "completed"
        case EnrollmentExited() | EnrollmentPaused():
            run.ends_at, run.ended_by = at, event.reason
        case EnrollmentResumed():
            run.ends_at = run.ended_by = None
        case StepFailed():
            run.warnings.append(f"Step {event.step_id} cannot be sent: {event.reason}.")


def _warn(run: DryRun, refusals: Sequence[tuple[Any, DomainError]], desk: _Desk, signals: Sequence[Played]) -> None:
    run.warnings += desk.problems
    if any(isinstance(kept.change.event, StepDoneByPerson) for kept in run.history):
        run.warnings.append("People's steps are taken as done at the moment they are due.")
    sent = {kept.change.event.step_id for kept in run.history if isinstance(kept.change.event, StepSent)}
    for played in signals:
        if played.step is not None and played.step not in sent:
            run.warnings.append(f"The signal {played.signal} was not played: step {played.step} was not sent.")
    for message, error in refusals:
        run.warnings.append(f"{type(message).__name__} was refused: {error}.")
    if run.ended_by is None:
        run.warnings.append("The sequence goes on for more than five years, or waits without an end.")
