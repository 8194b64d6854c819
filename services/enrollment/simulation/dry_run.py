"""Dry run: what one lead would get, when and why, step by step. Nothing is sent and nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.flow import Version
from services.enrollment.domain.identities import normalise
from services.enrollment.domain.inbound import KINDS
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.planning import zone_of
from services.enrollment.domain.sequence import Winner
from services.enrollment.simulation.outside import OF_A_LEAD, Played, Script, of_lead
from services.enrollment.simulation.simulator import Later, Simulator
from services.enrollment.simulation.telling import NAMELESS, DryRun, Naming, Telling, called, refused_in_words, warn
from services.enrollment.simulation.world import SimulatedWorld, Surroundings
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import (
    Enroll,
    EnrollmentStarted,
    Outcome,
    RecordUndressed,
    StepDue,
    StepSent,
)
from shared.events.lead import LeadBody, LeadUpdated
from shared.events.wording import sentence_of

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
    """What is tried: a definition, with the sequence's id and number for it, and the organization around. ``winners``
    are variants that have won already, by step.
    """

    organization: Organization
    sequence_id: UUID
    version: int
    definition: SequenceDefinition
    winners: Mapping[str, Winner] = field(default_factory=dict)


def dry_run(
    subject: Subject,
    lead: Lead | LeadBody,
    start: datetime,
    signals: Sequence[Played] = (),
    *,
    around: Surroundings | None = None,
    content: Content = no_content,
    naming: Naming = NAMELESS,
) -> DryRun:
    """One lead through a sequence from ``start`` on. Raises DomainError when the lead's fields are no lead."""
    run = DryRun()
    world = SimulatedWorld(start, around=around)
    world.hold(subject.organization)
    desk = Desk(content, naming)
    script = Script([played for played in signals if played.signal not in OF_A_LEAD], desk.hindrance)
    simulator = Simulator(world, subject.organization.id, script)
    if isinstance(lead, Lead) and lead.memberships(subject.sequence_id):
        run.warnings.append("The lead is or was in this sequence: shown as if it came for the first time.")
    lead = enter(world, subject, lead)
    version = place(world, subject)
    for played in signals:
        if played.signal in OF_A_LEAD:
            at = start + played.after
            simulator.expect(Later(at, of_lead(lead, played.signal, at)))
    simulator.take(Later(start, Enroll(lead_id=lead.id, sequence_id=subject.sequence_id, by="simulation")))
    if script.refusals:
        run.ended_by, run.ends_at = "refused", start
        run.warnings.append(f"The lead cannot enter. {refused_in_words(script.refusals[0][1])}")
        return run
    simulator.run(start + HORIZON)
    run.history = script.history
    begun = {
        kept.change.id
        for kept in run.history
        if isinstance(kept.change.event, EnrollmentStarted) and kept.change.event.sequence_id == subject.sequence_id
    }
    Telling(run, version, zone_of(version, lead, subject.organization), desk.made, naming).tell(begun)
    run.warnings += desk.problems
    sent = {kept.change.event.step_id for kept in run.history if isinstance(kept.change.event, StepSent)}
    for played in signals:
        if played.step is not None and played.step not in sent:
            step = called(naming, played.step)
            run.warnings.append(f"The signal {played.signal} was not played: {step} was not sent.")
    warn(run, script.refusals)
    return run


class Desk:
    """Makes the messages, so that one that cannot be made is answered the way the dispatchers would."""

    def __init__(self, content: Content, naming: Naming) -> None:
        self._content = content
        self._naming = naming
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
            self.problems.append(sentence_of(f"{called(self._naming, due.step_id)}: {problem}"))
            return RecordUndressed(
                enrollment_id=enrollment_id,
                execution=due.execution,
                attempt=due.attempt,
                dispatch_id=due.dispatch_id,
                reason=str(problem),
                missing=problem.missing,
            )
        return None


def place(world: SimulatedWorld, subject: Subject) -> Version:
    """Puts the sequence into the world, running."""
    version = world.publish(subject.organization.id, subject.sequence_id, subject.version, subject.definition)
    sequence = world.sequence(subject.sequence_id)
    assert sequence is not None
    world.hold(replace(sequence, winners=subject.winners))
    return version


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
