"""Answers "what would happen": dry runs and previews on the store's leads and sequences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from services.enrollment.content_facts import read_content
from services.enrollment.domain.appointment import appointment_if_sent
from services.enrollment.domain.definition_check import validate
from services.enrollment.domain.enrollment import Enrollment, Execution, Fate, Status
from services.enrollment.domain.errors import BadTestMessage, InvalidDefinition, NoTestForKind, UnknownTarget
from services.enrollment.domain.flow import Node
from services.enrollment.domain.lead import UNSUBSCRIBED, Lead
from services.enrollment.domain.sequence import Sequence
from services.enrollment.domain.task import Task
from services.enrollment.domain.work import organization_aggregate
from services.enrollment.naming import Here, Names, Place
from services.enrollment.simulation.dry_run import ContentProblem, Subject, dry_run, enter, place
from services.enrollment.simulation.going_on import Then, go_on
from services.enrollment.simulation.outside import Played
from services.enrollment.simulation.telling import Naming
from services.enrollment.simulation.world import SimulatedWorld, Surroundings
from services.enrollment.states import States, fold
from services.enrollment.trial_content import TrialContent
from shared.clock import Clock
from shared.events.definition import AppointmentConfig, SequenceDefinition
from shared.events.dispatch import DressedStep
from shared.events.enrollment import StepDue
from shared.events.envelope import Envelope
from shared.events.kinds import MailContent
from shared.events.lead import LeadAddressSuppressed, LeadBody, LeadResubscribed, LeadUnsubscribed
from shared.events.organization import AddressSuppressed, AddressUnsuppressed
from shared.events.query import QueryDryRun, QueryPreview, QueryTestMessage
from shared.events.sequence import SequencePublished
from shared.identity import InvalidIdentity, domain_of, normalise_email
from shared.ids import derived_id, dispatch_id
from shared.persistence.eventstore import EventStore

#: The number of a definition that is not published.
UNPUBLISHED = 0


class Trials:
    """Reads the store; changes nothing. Any thread may ask."""

    def __init__(self, store: EventStore, states: States, clock: Clock) -> None:
        self._store = store
        self._states = states
        self._clock = clock

    def dry_run(self, question: QueryDryRun) -> dict[str, Any]:
        """Raises DomainError."""
        subject = self.subject(question.organization_id, question.sequence_id, question.version, question.definition)
        signals = [
            Played(each.signal, timedelta(minutes=each.after_minutes), each.step, each.link, each.intent)
            for each in question.signals
        ]
        run = dry_run(
            subject,
            self._lead(question.organization_id, question.lead_id, question.lead),
            question.from_ or self._clock.now(),
            signals,
            around=surroundings(self._store, question.organization_id),
            content=TrialContent(self._store),
            naming=self.naming_tried(subject),
        )
        return run.as_answer()

    def preview(self, question: QueryPreview) -> dict[str, Any]:
        """One step's content for a lead. Raises DomainError."""
        try:
            step, content = self._message(question, question.lead)
        except ContentProblem as problem:
            return {"kind": None, "content": None, "problem": str(problem), "missing": problem.missing}
        return {"kind": step.kind, "content": content, "problem": None, "missing": []}

    def test_message(self, question: QueryTestMessage) -> dict[str, Any]:
        """One step's e-mail, ready to be sent to somebody who wants to look at it: of an appointment with its
        invitation, of a draft before a person has changed it. Raises DomainError, NoTestForKind for another kind.
        """
        try:
            to = normalise_email(question.to)
        except InvalidIdentity as error:
            raise _unsent(["to"], error.problem) from None
        reason = suppression_in(self._store, question.organization_id, "email", to)
        if reason is not None:
            raise _unsent(["to"], f"must not be sent to: {reason}")
        fields = question.lead
        if fields is not None and fields.email is None:
            fields = fields.model_copy(update={"email": to})
        try:
            step, _content = self._message(question, fields)
        except ContentProblem as problem:
            fields_missing = [f"lead.{name}" for name in problem.missing]
            raise _unsent(fields_missing or ["step_id"], str(problem)) from None
        return {"step": step.model_copy(update={"address": to, "thread": []}).model_dump(mode="json")}

    def _message(
        self, question: QueryPreview | QueryTestMessage, fields: LeadBody | None
    ) -> tuple[DressedStep, dict[str, Any]]:
        """Raises DomainError, ContentProblem."""
        subject = self.subject(question.organization_id, question.sequence_id, question.version, question.definition)
        world = SimulatedWorld(self._clock.now(), around=surroundings(self._store, question.organization_id))
        world.hold(subject.organization)
        lead = enter(world, subject, self._lead(question.organization_id, question.lead_id, fields))
        version = place(world, subject)
        node = version.nodes.get(question.step_id)
        if node is None:
            raise UnknownTarget("step", question.step_id)
        if isinstance(question, QueryTestMessage):
            _require_mail(node)
        if node.channel is None:
            raise _wrong(f"step {question.step_id} sends nothing", "step_id", "names a step that sends nothing")
        if question.variant is not None and question.variant not in {arm.variant_id for arm in node.arms}:
            raise _wrong(f"step {question.step_id} has no such variant", "variant", "names no variant of the step")
        enrollment_id = derived_id("preview", lead.id, subject.sequence_id)
        due = StepDue(
            sequence_id=subject.sequence_id,
            version=subject.version,
            execution=1,
            attempt=1,
            step_id=question.step_id,
            channel=node.channel,
            dispatch_id=dispatch_id(subject.organization.id, enrollment_id, 1, question.step_id),
            due_at=world.now,
            valid_until=world.now + timedelta(hours=1),
            variant=question.variant,
        )
        execution = Execution(1, due.step_id, due.channel, due.dispatch_id, 1, Fate.IN_FLIGHT, variant=question.variant)
        state = Enrollment(
            id=enrollment_id,
            organization_id=subject.organization.id,
            lead_id=lead.id,
            sequence_id=subject.sequence_id,
            version=subject.version,
            status=Status.ACTIVE,
            started_at=world.now,
            previous_at=world.now,
        )
        if isinstance(node.step.config, AppointmentConfig):
            starts_at = appointment_if_sent(world, version, lead, state, node)
            if starts_at is None:
                field = node.step.config.start.field or ""
                raise ContentProblem(f"the appointment counts from {field}, in which the lead has no date", [field])
            execution = execution._replace(starts_at=starts_at)
        world.hold(replace(state, executions={1: execution}))
        return TrialContent(self._store).made(enrollment_id, due, world)

    def naming_tried(self, subject: Subject) -> Here:
        """Steps are called as in the definition that is tried, else as in the newest version that has them."""
        names = Names(self._store.load, subject.organization.id)
        names.learn(subject.sequence_id, subject.version, subject.definition)
        return Here(names, Place(subject.sequence_id, subject.version))

    def naming(self, state: Enrollment) -> Here:
        """Steps are called as in the version that the enrollment is in, everything else as it is called now."""
        return Here(Names(self._store.load, state.organization_id), Place(state.sequence_id, state.version))

    def would_do(self, state: Enrollment, at: datetime, naming: Naming) -> dict[str, Any]:
        """What an enrollment in this state would have done from ``at`` on, as a dry run tells it: with the lead, the
        sequence, the organization and the suppressions of then. Limits that others used later count for nothing;
        variants and hours are taken by what is counted of them now, for nobody keeps what was counted when.

        Raises UnknownTarget.
        """
        organization_events = self._until(organization_aggregate(state.organization_id), at)
        lead_events = self._until(state.lead_id, at)
        organization, lead = fold(organization_events).state, fold(lead_events).state
        sequence = fold(self._until(state.sequence_id, at)).state
        if organization is None or not isinstance(lead, Lead) or not isinstance(sequence, Sequence):
            raise UnknownTarget("enrollment", state.id)
        definition = self.version(state.sequence_id, state.version)
        subject = Subject(organization, state.sequence_id, state.version, definition, sequence.winners)
        task = fold(self._until(state.task_id, at)).state if state.task_id is not None else None
        tasks = [task] if isinstance(task, Task) else []
        suppressed = partial(_suppressed_then, self._store, [*organization_events, *lead_events])
        around = Surroundings(suppression=suppressed, figures=self._store.figures)
        run = go_on(subject, Then(state, lead, sequence, tasks), at, around, naming)
        now = self._states.get(state.lead_id).state
        if isinstance(now, Lead) and now.erased:
            run.warnings.append("The lead was erased since: its addresses of then are gone.")
        return run.as_answer()

    def _until(self, aggregate_id: UUID, at: datetime) -> list[Envelope]:
        return [each for each in self._store.load(aggregate_id) if each.time <= at]

    def subject(
        self, organization_id: str, sequence_id: UUID, version: int | None, definition: SequenceDefinition | None
    ) -> Subject:
        """What is to be tried: the definition given, else the version asked for, else the draft, else what runs.

        Raises UnknownTarget, InvalidDefinition.
        """
        organization = self._states.get(organization_aggregate(organization_id)).state
        sequence = self._states.get(sequence_id).state
        if organization is None or not isinstance(sequence, Sequence) or sequence.organization_id != organization_id:
            raise UnknownTarget("sequence", sequence_id)
        if definition is not None:
            errors, _ = validate(definition, read_content(definition.steps))
            if errors:
                detail = "; ".join(f"{each['field']}: {each['problem']}" for each in errors)
                raise InvalidDefinition(detail, errors=errors)
            return Subject(organization, sequence_id, UNPUBLISHED, definition, sequence.winners)
        if version is not None:
            return Subject(organization, sequence_id, version, self.version(sequence_id, version), sequence.winners)
        if sequence.draft is not None:
            return Subject(organization, sequence_id, UNPUBLISHED, sequence.draft, sequence.winners)
        if sequence.published is None:
            raise UnknownTarget("definition of sequence", sequence_id)
        return Subject(organization, sequence_id, sequence.version, sequence.published, sequence.winners)

    def version(self, sequence_id: UUID, version: int) -> SequenceDefinition:
        """A published version. Raises UnknownTarget."""
        for envelope in self._store.load(sequence_id):
            event = envelope.message
            if isinstance(event, SequencePublished) and event.version == version:
                return event.definition
        raise UnknownTarget("version", version)

    def _lead(self, organization_id: str, lead_id: UUID | None, fields: LeadBody | None) -> Lead | LeadBody:
        if lead_id is None:
            return fields or LeadBody()
        lead = self._states.get(lead_id).state
        if not isinstance(lead, Lead) or lead.organization_id != organization_id or lead.erased:
            raise UnknownTarget("lead", lead_id)
        return lead


def _wrong(detail: str, field: str, problem: str) -> InvalidDefinition:
    return InvalidDefinition(detail, errors=[{"field": field, "problem": problem}])


def _require_mail(node: Node) -> None:
    """Raises NoTestForKind."""
    if not isinstance(node.step.config, MailContent):
        kind = node.step.kind.value
        detail = (
            f"step {node.step.step_id} is of kind {kind}: only e-mails (email, email_manual, appointment) are tested"
        )
        problem = f"names a step of kind {kind}, which ends as no e-mail"
        raise NoTestForKind(detail, errors=[{"field": "step_id", "problem": problem}])


def _unsent(fields: list[str], problem: str) -> BadTestMessage:
    return BadTestMessage(problem, errors=[{"field": field, "problem": problem} for field in fields])


def surroundings(store: EventStore, organization_id: str) -> Surroundings:
    """What the store knows around a simulation."""
    active = sum(1 for row in store.catalogue(organization_id) if row.status == "active")
    return Surroundings(partial(suppression_in, store), partial(_quota_used, store), store.figures, active)


def suppression_in(store: EventStore, organization_id: str, channel: str, address: str) -> str | None:
    """Why a normalised address, or its domain, is suppressed now; None when it is not."""
    pairs = set(_hashes(store, organization_id, channel, address))
    return next(iter(store.suppressed(organization_id, pairs).values()), None)


def _suppressed_then(
    store: EventStore, events: Iterable[Envelope], organization_id: str, channel: str, address: str
) -> str | None:
    """As the organization's and the lead's own events had left it."""
    found: dict[tuple[str, str], str] = {}
    for each in events:
        match each.message:
            case LeadAddressSuppressed() | AddressSuppressed() as event:
                found[event.channel, event.address_hash] = event.reason
            case LeadUnsubscribed(channel=wanted, address_hash=str(hashed)):
                found[wanted, hashed] = UNSUBSCRIBED
            case AddressUnsuppressed() | LeadResubscribed() as event:
                found.pop((event.channel, event.address_hash or ""), None)
    pairs = _hashes(store, organization_id, channel, address)
    return next((found[pair] for pair in pairs if pair in found), None)


def _hashes(store: EventStore, organization_id: str, channel: str, address: str) -> list[tuple[str, str]]:
    """The address and its domain, as suppressions name them."""
    forms = [address, domain_of(address)] if "@" in address else [address]
    return [(channel, store.hash_address(organization_id, channel, form)) for form in forms]


def _quota_used(store: EventStore, organization_id: str, scope: str, slot: str) -> int:
    return store.quota_used(organization_id, [(scope, slot)]).get((scope, slot), 0)
