"""The one door to the domain: a message in, a decision out. Everything that follows from one message is decided here
together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from services.enrollment.domain import (
    activities,
    advancing,
    attachments,
    brake,
    bulk_orders,
    definition_check,
    draft_orders,
    enrolling,
    enrollment_orders,
    funnel_orders,
    inbound,
    lead_facts,
    lead_orders,
    migrating,
    migration_orders,
    organization,
    outcomes,
    replanning,
    sequence,
    signals,
    snippets,
    task_orders,
    templates,
    watchdogs,
)
from services.enrollment.domain.definition_check import ContentFacts
from services.enrollment.domain.errors import DomainError, Invalid, InvalidDefinition, UnknownTarget
from services.enrollment.domain.evolving import State, evolve_any
from services.enrollment.domain.identities import IdentityKind, normalise_address
from services.enrollment.domain.lead import contact_channel
from services.enrollment.domain.planning import NEVER_OPEN
from services.enrollment.domain.work import Change, IdentityClaim, Wake, Work, organization_aggregate
from services.enrollment.domain.world import World
from shared.events import activity as activity_events
from shared.events import attachment as attachment_events
from shared.events import bulk as bulk_events
from shared.events import engagement as engagement_events
from shared.events import enrollment as enrollment_events
from shared.events import funnel as funnel_events
from shared.events import lead as lead_events
from shared.events import organization as organization_events
from shared.events import sequence as sequence_events
from shared.events import task as task_events
from shared.events import template as template_events
from shared.events.definition import SequenceDefinition
from shared.events.envelope import Envelope
from shared.events.message import Event

__all__ = ["HANDLED", "Decision", "DomainError", "evolve_any", "handle"]

#: Business time over which the timers of a sequence or sender that is taken up again are spread.
WAKE_SPREAD_SECONDS = 60
#: Business time over which what waits in an organization is planned again after a change of its hours, or when limits
#: were loosened. A step that is due before its turn is looked at then.
REPLAN_SPREAD_SECONDS = 300


@dataclass(slots=True)
class Decision:
    """What a message led to; to be recorded as a whole or not at all.

    ``before`` and ``states`` hold the changed aggregates' states before and after. ``read`` names every aggregate of
    a lead that was looked at.
    ``retimed`` names enrollments whose timer row is to be written again even when nothing was decided. ``claims`` and
    ``woken`` are effects
    without an event of their own; ``rows`` turns all of it into rows. ``result`` is for the answer.
    """

    changes: list[Change]
    before: dict[UUID, State | None]
    states: dict[UUID, State]
    read: set[UUID]
    retimed: set[UUID] = field(default_factory=set)
    claims: list[IdentityClaim] = field(default_factory=list)
    woken: list[Wake] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Order:
    """A message on its way to its handler."""

    work: Work
    envelope: Envelope
    facts: Mapping[str, ContentFacts]

    @property
    def actor(self) -> str:
        return self.envelope.actor or "system"


def handle(envelope: Envelope, world: World, facts: Mapping[str, ContentFacts] | None = None) -> Decision:
    """Decides one message on the world as it is. Changes nothing outside.

    ``facts`` holds what the entry point read in a definition's content (Liquid tags, links), by step id; in a
    draft's or a snippet's under the empty name. Raises DomainError when the message is refused (``recorded`` holds a
    decision where the refusal itself is to be kept); UnknownTarget also for a topic that is not handled, and for what
    belongs to another organization.
    """
    handler = _HANDLERS.get(envelope.topic)
    if handler is None:
        raise UnknownTarget("handler for", envelope.topic)
    work = Work(world, _organization_id(envelope, world))
    try:
        handler(Order(work, envelope, facts or {}), envelope.message)
    except DomainError as refusal:
        if refusal.told:
            refusal.recorded = _decided(work)
        raise
    if work.crossings:
        enrolling.match_crossings(work)
    if work.before:
        migrating.after_changes(work)
        replanning.after_changes(work)
    brake.watch(work)
    return _decided(work)


def _decided(work: Work) -> Decision:
    return Decision(
        work.changes, work.before, work.states, work.read, work.retimed, work.claims, work.woken, work.result
    )


def _organization_id(envelope: Envelope, world: World) -> str:
    """A signal from an address token names no organization: its enrollment does."""
    if envelope.organization_id is not None:
        return envelope.organization_id
    enrollment_id = getattr(envelope.message, "enrollment_id", None)
    state = world.enrollment(enrollment_id) if enrollment_id is not None else None
    if state is None:
        raise UnknownTarget("enrollment", enrollment_id)
    return state.organization_id


Handler = Callable[[Order, Any], None]
_HANDLERS: dict[str, Handler] = {}


def _handles(*classes: type[Any]) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        for cls in classes:
            _HANDLERS[cls.TOPIC] = handler
        return handler

    return register


# --- enrollments, tasks, signals ------------------------------------------------------------------------------------

_PLAIN: dict[type[Any], Callable[[Work, Any], object]] = {
    enrollment_events.StartEnrollment: enrollment_orders.start,
    enrollment_events.PauseEnrollment: enrollment_orders.pause,
    enrollment_events.ResumeEnrollment: enrollment_orders.take_up,
    enrollment_events.CancelEnrollment: enrollment_orders.cancel,
    enrollment_events.MigrateEnrollment: migration_orders.migrate,
    enrollment_events.AdvanceEnrollment: advancing.advance,
    enrollment_events.StopForCompany: lead_facts.stop_for_company,
    enrollment_events.WakeTimer: watchdogs.wake,
    enrollment_events.RecordSent: outcomes.sent,
    enrollment_events.RecordDeferred: outcomes.deferred,
    enrollment_events.RecordRejected: outcomes.rejected,
    enrollment_events.RecordStopped: outcomes.stopped,
    enrollment_events.RecordInDoubt: outcomes.in_doubt,
    enrollment_events.RecordUndressed: outcomes.undressed,
    engagement_events.RecordSignal: signals.record,
    task_events.CompleteTask: task_orders.complete_task,
    task_events.SkipTask: task_orders.skip_task,
    task_events.SnoozeTask: task_orders.snooze_task,
    task_events.AssignTask: task_orders.assign_task,
    task_events.ApproveDraft: draft_orders.approve,
    task_events.RejectDraft: draft_orders.reject,
    lead_events.EditLead: lead_orders.edit,
    lead_events.TagLead: lead_orders.tag,
    lead_events.SetLeadStatus: lead_orders.set_status,
    lead_events.ScoreLead: lead_orders.score,
    lead_events.ConvertLead: lead_orders.convert,
    lead_events.AssignLead: lead_orders.assign,
    lead_events.EraseLead: lead_orders.erase,
    activity_events.LogCall: activities.log_call,
    activity_events.LogMeeting: activities.log_meeting,
    activity_events.LogEmail: activities.log_email,
    activity_events.LogNote: activities.log_note,
    funnel_events.CreateFunnel: funnel_orders.create,
    funnel_events.SetFunnel: funnel_orders.change,
    funnel_events.AssignSequences: funnel_orders.assign,
    funnel_events.UnassignSequences: funnel_orders.unassign,
    funnel_events.OpenForm: funnel_orders.open_form,
    funnel_events.CloseForm: funnel_orders.close_form,
    bulk_events.NameBulkTargets: bulk_orders.name_targets,
    bulk_events.BeginBulk: bulk_orders.begin,
    bulk_events.CancelBulk: bulk_orders.cancel,
    bulk_events.UndoBulk: bulk_orders.undo,
    bulk_events.RecordBulkProgress: bulk_orders.advance,
    enrollment_events.UndoEnrollment: bulk_orders.undo_enrollment,
}


def _plain(function: Callable[[Work, Any], object]) -> Handler:
    def handler(order: Order, message: Any) -> None:
        function(order.work, message)

    return handler


_HANDLERS.update({cls.TOPIC: _plain(function) for cls, function in _PLAIN.items()})


@_handles(enrollment_events.Enroll)
def _enroll(order: Order, command: enrollment_events.Enroll) -> None:
    order.work.result["enrollment_id"] = str(enrolling.enroll(order.work, command, order.envelope.time))


@_handles(bulk_events.OrderBulk)
def _order_bulk(order: Order, command: bulk_events.OrderBulk) -> None:
    bulk_orders.order(order.work, command, order.envelope.time)


@_handles(enrollment_events.RestartEnrollment)
def _restart(order: Order, command: enrollment_events.RestartEnrollment) -> None:
    order.work.result["enrollment_id"] = str(advancing.restart(order.work, command))


@_handles(enrollment_events.ResolveDispatch)
def _resolve(order: Order, command: enrollment_events.ResolveDispatch) -> None:
    enrollment_orders.resolve(order.work, command, order.actor)


@_handles(task_events.OpenTask)
def _open_task(order: Order, command: task_events.OpenTask) -> None:
    task_orders.open_by_hand(order.work, command)
    order.work.result["task_id"] = str(command.task_id)


@_handles(task_events.EditDraft)
def _edit_draft(order: Order, command: task_events.EditDraft) -> None:
    draft_orders.edit(order.work, command, order.facts.get("", definition_check.ContentFacts()))


@_handles(lead_events.LeadCreated, lead_events.LeadUpdated, lead_events.LeadConverted, lead_events.MeetingBooked)
def _inbound(order: Order, fact: lead_events.InboundLead) -> None:
    if fact.organization_id != order.work.organization_id:
        raise Invalid(
            "organization_id differs from the envelope's",
            errors=[{"field": "organization_id", "problem": "differs from the envelope's"}],
        )
    order.work.result["lead_id"] = str(inbound.record(order.work, fact, order.envelope.id))


# --- sequences --------------------------------------------------------------------------------------------------------


def _record_sequence(order: Order, sequence_id: UUID, events: Iterator[Event]) -> None:
    work = order.work
    known = work.find_sequence(sequence_id)
    published = known.published if known is not None else None
    for event in events:
        work.record("sequence", sequence_id, event, None)
        if isinstance(event, sequence_events.SequencePublished):
            away = sequence.taken_away(known, event.definition) if known is not None else []
            funnel_orders.take_shorthand(work, sequence_id, published, event.definition, away=away)
            bulk_orders.move_those_inside(work, sequence_id, event)
        elif isinstance(event, sequence_events.SequenceDeleted):
            bulk_orders.let_those_inside_leave(work, sequence_id, event, order.envelope.id)
        if isinstance(
            event,
            sequence_events.SequencePublished
            | sequence_events.SequenceResumed
            | sequence_events.SequenceArchived
            | sequence_events.SequenceDeleted,
        ):
            work.wake(f"sequence:{sequence_id}", spread_seconds=WAKE_SPREAD_SECONDS)
        elif isinstance(event, sequence_events.SequenceReleased):
            work.wake(brake.sequence_blocker(sequence_id), spread_seconds=WAKE_SPREAD_SECONDS)
    state = work.sequence(sequence_id)
    work.result.update(sequence_id=str(sequence_id), version=state.version, status=state.status)


def _check(
    order: Order, definition: SequenceDefinition, known: sequence.Sequence | None, *, publishes: bool = False
) -> None:
    """Raises InvalidDefinition; what is only unwise is told in the answer. To be published, every message needs a
    sender and a channel that somebody serves besides.
    """
    work = order.work
    found = definition_check.judge(definition, order.facts, work.find_organization(), work.world.serves)
    errors, warnings, unready = found.errors, found.warnings, found.unready
    if publishes:
        errors += unready
    else:
        warnings += unready
    if errors:
        raise InvalidDefinition("; ".join(f"{each['field']}: {each['problem']}" for each in errors), errors=errors)
    if known is not None:
        warnings += sequence.funnel_warnings(known, definition)
    order.work.result["warnings"] = warnings


@_handles(sequence_events.DraftSequence)
def _draft(order: Order, command: sequence_events.DraftSequence) -> None:
    known = _place_for(order, command.sequence_id)
    _check(order, command.definition, known, publishes=command.activate)
    events = sequence.draft(known, command.definition, activate=command.activate)
    _record_sequence(order, command.sequence_id, events)


def _place_for(order: Order, sequence_id: UUID) -> sequence.Sequence | None:
    """The sequence that has this id already. Raises UnknownTarget when it is another organization's."""
    known = order.work.world.sequence(sequence_id)
    if known is not None and known.organization_id != order.work.organization_id:
        raise UnknownTarget("sequence", sequence_id)
    return known


@_handles(sequence_events.DuplicateSequence)
def _duplicate(order: Order, command: sequence_events.DuplicateSequence) -> None:
    source = order.work.sequence(command.source_id)
    events = sequence.duplicate(_place_for(order, command.sequence_id), source, name=command.name)
    _record_sequence(order, command.sequence_id, events)


@_handles(sequence_events.EditSequence)
def _edit(order: Order, command: sequence_events.EditSequence) -> None:
    state = order.work.sequence(command.sequence_id)
    _check(order, command.definition, state)
    _record_sequence(order, state.id, sequence.edit(state, command.definition))


@_handles(sequence_events.ChangeSequence)
def _change(order: Order, command: sequence_events.ChangeSequence) -> None:
    state = order.work.sequence(command.sequence_id)
    definition = sequence.changed(state, command)
    _check(order, definition, state)
    _record_sequence(order, state.id, sequence.edit(state, definition))


@_handles(sequence_events.RejectSequence)
def _reject(order: Order, command: sequence_events.RejectSequence) -> None:
    state = order.work.sequence(command.sequence_id)
    _record_sequence(order, state.id, sequence.reject(state, command.feedback))


@_handles(sequence_events.ActivateSequence)
def _activate(order: Order, command: sequence_events.ActivateSequence) -> None:
    state = order.work.sequence(command.sequence_id)
    events = list(sequence.activate(state, inside=command.inside, moves=command.moves, repeats=command.repeats))
    if state.draft is not None and not sequence.resumes_beside_draft(state, command.inside):
        _check(order, state.draft, state, publishes=True)
    _record_sequence(order, state.id, iter(events))


@_handles(sequence_events.DeleteSequence)
def _delete(order: Order, command: sequence_events.DeleteSequence) -> None:
    state = order.work.sequence(command.sequence_id)
    _record_sequence(order, state.id, sequence.delete(state, command.enrollments))


def _sequence_order(decide: Callable[[sequence.Sequence], Iterator[Event]]) -> Handler:
    def handler(order: Order, command: Any) -> None:
        state = order.work.sequence(command.sequence_id)
        _record_sequence(order, state.id, decide(state))

    return handler


_HANDLERS.update(
    {
        sequence_events.SubmitSequence.TOPIC: _sequence_order(sequence.submit),
        sequence_events.ApproveSequence.TOPIC: _sequence_order(sequence.approve),
        sequence_events.DeactivateSequence.TOPIC: _sequence_order(sequence.deactivate),
        sequence_events.ReleaseSequence.TOPIC: _sequence_order(sequence.release),
        sequence_events.ArchiveSequence.TOPIC: _sequence_order(sequence.archive),
        sequence_events.RestoreSequence.TOPIC: _sequence_order(sequence.restore),
    }
)


# --- organizations --------------------------------------------------------------------------------------------------


def _record_organization(order: Order, events: Iterator[Event]) -> None:
    work = order.work
    work.result["organization_id"] = work.organization_id
    for event in events:
        looser = organization.loosens_limits(work.find_organization(), event, work.now)
        work.record("organization", organization_aggregate(work.organization_id), event, None)
        if isinstance(event, organization_events.SenderSet) and event.active:
            work.wake(f"sender:{event.sender_id}", spread_seconds=WAKE_SPREAD_SECONDS)
            work.wake(f"sender:{organization.DEFAULT_SENDER}", spread_seconds=WAKE_SPREAD_SECONDS)
        elif isinstance(event, organization_events.SenderReleased):
            work.wake(brake.sender_blocker(event.sender_id), spread_seconds=WAKE_SPREAD_SECONDS)
        changed_hours = organization.changes_hours(event)
        if changed_hours:
            work.wake(NEVER_OPEN, spread_seconds=WAKE_SPREAD_SECONDS)
        if changed_hours or looser:
            work.wake(None, spread_seconds=REPLAN_SPREAD_SECONDS)


@_handles(organization_events.FoundOrganization)
def _found(order: Order, command: organization_events.FoundOrganization) -> None:
    _record_organization(order, organization.found(order.work.find_organization(), command))


@_handles(organization_events.AddMember)
def _add_member(order: Order, command: organization_events.AddMember) -> None:
    _record_organization(order, organization.add_member(order.work.organization(), command))
    order.work.result["member_id"] = str(command.member_id)


_ON_ORGANIZATION: dict[type[Any], Callable[[organization.Organization, Any], Iterator[Event]]] = {
    organization_events.ReleaseSender: organization.release_sender,
    organization_events.SetOrganization: organization.set_organization,
    organization_events.SetMember: organization.set_member,
    organization_events.IssueApiKey: organization.issue_api_key,
    organization_events.RevokeApiKey: lambda state, command: organization.revoke_api_key(state, command.key_id),
    organization_events.SetCalendar: organization.set_calendar,
    organization_events.RecordDeed: lambda _, command: organization.record_deed(command),
    attachment_events.AddAttachment: lambda state, command: attachments.add(state.attachments, command),
    template_events.RemoveTemplate: lambda state, command: templates.remove(state.templates, command),
    organization_events.RemoveSnippet: lambda state, command: snippets.remove_snippet(state.snippets, command.name),
}


def _organization_order(decide: Callable[[organization.Organization, Any], Iterator[Event]]) -> Handler:
    def handler(order: Order, command: Any) -> None:
        _record_organization(order, decide(order.work.organization(), command))

    return handler


_HANDLERS.update({cls.TOPIC: _organization_order(decide) for cls, decide in _ON_ORGANIZATION.items()})


@_handles(organization_events.SetSender)
def _set_sender(order: Order, command: organization_events.SetSender) -> None:
    _record_organization(order, organization.set_sender(order.work.organization(), command, order.work.now))


@_handles(attachment_events.RemoveAttachment)
def _remove_attachment(order: Order, command: attachment_events.RemoveAttachment) -> None:
    active = (entry.definition for entry in order.work.world.catalogue(order.work.organization_id))
    known = order.work.organization().attachments
    _record_organization(order, attachments.remove(known, command.attachment_id, active))


@_handles(template_events.SaveTemplate)
def _save_template(order: Order, command: template_events.SaveTemplate) -> None:
    source = order.work.sequence(command.sequence_id)
    _record_organization(order, templates.save(order.work.organization().templates, source, command))
    order.work.result["template_id"] = str(command.template_id)


@_handles(organization_events.SetSnippet)
def _set_snippet(order: Order, command: organization_events.SetSnippet) -> None:
    facts = order.facts.get("", definition_check.ContentFacts())
    _record_organization(order, snippets.set_snippet(order.work.organization().snippets, command, facts))


@_handles(organization_events.SuppressAddress)
def _suppress(order: Order, command: organization_events.SuppressAddress) -> None:
    work = order.work
    channel, address = _addressed(command.channel, command.address)
    key = work.world.address_hash(work.organization_id, channel, address)
    _record_organization(order, organization.suppress(work.organization(), channel, key, command.reason, work.now))
    kind: IdentityKind = "email" if channel == "email" else "phone"
    owner = work.world.lead_by_identity(work.organization_id, kind, address) if work.changes else None
    if owner is not None:
        replanning.address_suppressed(work, owner, channel, command.reason)


@_handles(organization_events.UnsuppressAddress)
def _unsuppress(order: Order, command: organization_events.UnsuppressAddress) -> None:
    work = order.work
    channel, address = _addressed(command.channel, command.address)
    key = work.world.address_hash(work.organization_id, channel, address)
    known = work.world.suppression(work.organization_id, channel, address)
    _record_organization(order, organization.unsuppress(work.organization(), channel, key, known))


def _addressed(channel: str, address: str) -> tuple[str, str]:
    contact = contact_channel(channel)
    return contact, normalise_address(contact, address)


#: Topics that ``handle`` takes.
HANDLED: frozenset[str] = frozenset(_HANDLERS)
