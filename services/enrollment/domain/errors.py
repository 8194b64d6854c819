"""What an order may be refused with.

DomainError
├── UnknownTarget          what the order or fact names does not exist (404)
├── Conflict               the state does not allow it (409)
│   ├── EnrollmentClosed
│   ├── EnrollmentNotActive
│   ├── HeldWithoutEnd
│   ├── StepInFlight
│   ├── NothingToAdvance
│   ├── AdvanceNotAllowed
│   ├── AlreadyEnrolled
│   ├── Exclusive
│   ├── LeadErasedAlready
│   ├── TaskClosed
│   ├── NotATask
│   ├── NotADraft
│   ├── SequenceExists
│   ├── SequenceNotActive
│   ├── SequenceNotApproved
│   ├── SequenceArchivedAlready
│   ├── NothingToSubmit
│   ├── TooManyAttachments
│   ├── AttachmentInUse
│   ├── TooManyTemplates
│   ├── MigrationRepeats
│   ├── NoPlaceInVersion
│   ├── MemberExists
│   ├── BulkNotReady
│   ├── BulkOver
│   ├── SomeTargetsMissing
│   ├── NotUndoable
│   ├── AlreadySent
│   └── LastAdmin
└── Invalid                the content is wrong (422), field by field
    ├── InvalidDefinition
    ├── InvalidLead
    ├── InvalidOutcome
    ├── InvalidDraft
    ├── InvalidSnippet
    ├── InvalidSettings
    ├── InvalidMoment
    ├── BulkTooLarge
    ├── InvalidMoves
    └── Unreachable
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.enrollment.domain.handling import Decision
    from shared.events.why import Why


class DomainError(Exception):
    """The order was refused.

    ``code`` is stable and meant for programs, ``title`` says the kind of refusal, ``str(error)`` this one. ``status``
    is the HTTP status it
    becomes. ``errors`` holds ``{"field", "problem"}`` pairs where single fields are at fault. ``why`` is the rule that
    said no, where a lead was refused. ``told``: what its handler has recorded is to be kept all the same, and is in
    ``recorded`` then.
    """

    code: ClassVar[str] = "refused"
    title: ClassVar[str] = "The order was refused"
    status: ClassVar[int] = 409

    def __init__(
        self, detail: str | None = None, *, errors: Sequence[dict[str, str]] = (), why: Why | None = None
    ) -> None:
        self.errors = list(errors)
        self.why = why
        self.told = False
        self.recorded: Decision | None = None
        super().__init__(detail or (self.__doc__ or self.title).strip())


class UnknownTarget(DomainError):
    """What the message names does not exist."""

    code = "unknown_target"
    title = "Not found"
    status = 404

    def __init__(self, kind: str, target: object) -> None:
        self.kind = kind
        self.target = str(target)
        super().__init__(f"there is no {kind} {target}")


class Conflict(DomainError):
    """The state does not allow it."""

    code = "conflict"
    title = "The state does not allow it"


class EnrollmentClosed(Conflict):
    """The enrollment has ended."""

    code = "enrollment_closed"
    title = "The enrollment has ended"


class EnrollmentNotActive(Conflict):
    """The enrollment is held, or has not begun."""

    code = "enrollment_not_active"
    title = "The enrollment is not active"


class HeldWithoutEnd(Conflict):
    """The enrollment is held until a person resumes it: no pause with an end takes the place of that."""

    code = "held_without_end"
    title = "The enrollment is held until it is resumed"


class StepInFlight(Conflict):
    """A step is on its way: only its answer tells whether it went out."""

    code = "step_in_flight"
    title = "A step is on its way"


class NothingToAdvance(Conflict):
    """The enrollment waits for something that no order can bring about."""

    code = "nothing_to_advance"
    title = "There is no wait to pass over"


class AdvanceNotAllowed(Conflict):
    """The sequence's settings do not let its steps be advanced by hand."""

    code = "advance_not_allowed"
    title = "The sequence does not allow it"


class AlreadyEnrolled(Conflict):
    """The lead is or was in this sequence, and its rules allow no further enrollment."""

    code = "already_enrolled"
    title = "The lead is already enrolled"


class Exclusive(Conflict):
    """The lead is in another sequence, or in as many as it may be in."""

    code = "exclusive"
    title = "The lead is in another sequence"


class LeadErasedAlready(Conflict):
    """The lead was erased."""

    code = "lead_erased"
    title = "The lead was erased"


class TaskClosed(Conflict):
    """The task is no longer open."""

    code = "task_closed"
    title = "The task is no longer open"


class NotATask(Conflict):
    """A draft is approved or rejected, not completed."""

    code = "not_a_task"
    title = "A draft is approved or rejected"


class NotADraft(Conflict):
    """Only a draft is edited, approved or rejected."""

    code = "not_a_draft"
    title = "This is no draft"


class SequenceExists(Conflict):
    """A sequence with this id and other content exists."""

    code = "sequence_exists"
    title = "The sequence exists"


class SnippetExists(Conflict):
    """A new snippet has the name of another."""

    code = "snippet_exists"
    title = "The snippet exists"


class SequenceNotActive(Conflict):
    """Only an active sequence takes leads or can be paused."""

    code = "sequence_not_active"
    title = "The sequence is not active"


class SequenceNotApproved(Conflict):
    """Only an approved draft can be made active."""

    code = "sequence_not_approved"
    title = "The sequence is not approved"


class SequenceArchivedAlready(Conflict):
    """The sequence is archived."""

    code = "sequence_archived"
    title = "The sequence is archived"


class NothingToSubmit(Conflict):
    """The sequence has no draft waiting for this step."""

    code = "nothing_to_submit"
    title = "There is no such draft"


class TooManyAttachments(Conflict):
    """The organization has as many attachments as it may."""

    code = "too_many_attachments"
    title = "Too many attachments"


class AttachmentInUse(Conflict):
    """Active sequences send the attachment."""

    code = "attachment_in_use"
    title = "The attachment is in use"


class TooManyTemplates(Conflict):
    """The organization has as many templates as it may."""

    code = "too_many_templates"
    title = "Too many templates"


class MigrationRepeats(Conflict):
    """The move leads to a step that was done already."""

    code = "migration_repeats"
    title = "The step was done already"


class NoPlaceInVersion(Conflict):
    """The version has no step where the enrollment stands."""

    code = "migration_no_place"
    title = "There is no place in that version"


class MemberExists(Conflict):
    """Another member has this e-mail address."""

    code = "member_exists"
    title = "The member exists"


class LastAdmin(Conflict):
    """The organization would be left without an admin."""

    code = "last_admin"
    title = "The last admin stays"


class BulkNotReady(Conflict):
    """The bulk still runs."""

    code = "bulk_not_ready"
    title = "The bulk still runs"


class BulkOver(Conflict):
    """The bulk takes no such order any more."""

    code = "bulk_over"
    title = "The bulk is over"


class SomeTargetsMissing(Conflict):
    """Not every page of targets has come."""

    code = "targets_missing"
    title = "Some targets are missing"


class NotUndoable(Conflict):
    """What the bulk did cannot be undone as a whole."""

    code = "not_undoable"
    title = "This cannot be undone"


class AlreadySent(Conflict):
    """Messages have gone out already: they cannot be undone."""

    code = "already_sent"
    title = "Messages have gone out already"


class Invalid(DomainError):
    """The content is wrong."""

    code = "invalid"
    title = "The content is wrong"
    status = 422


class InvalidDefinition(Invalid):
    """The sequence's definition does not hold together."""

    code = "invalid_definition"
    title = "The definition has errors"


class BadTestMessage(Invalid):
    """A test message cannot be made or must not be sent there."""

    code = "bad_test_message"
    title = "No test message"


class NoTestForKind(Invalid):
    """Steps of this kind end as no e-mail, and only an e-mail can be sent as a test."""

    code = "no_test_for_kind"
    title = "No test message of this kind of step"


class InvalidLead(Invalid):
    """The lead's fields do not hold together."""

    code = "invalid_lead"
    title = "The lead has errors"


class InvalidAssignee(Invalid):
    """The task would be nobody's: no active member is named so."""

    code = "invalid_assignee"
    title = "There is no such member"


class InvalidOutcome(Invalid):
    """The outcome is none that this kind of task can have."""

    code = "invalid_outcome"
    title = "The outcome is wrong"


class InvalidDraft(Invalid):
    """What the draft says cannot be sent."""

    code = "invalid_draft"
    title = "The draft has errors"


class InvalidSnippet(Invalid):
    """What the snippet says cannot be sent."""

    code = "invalid_snippet"
    title = "The snippet has errors"


class InvalidSettings(Invalid):
    """A setting has a value that cannot be used."""

    code = "invalid_settings"
    title = "A setting is wrong"


class InvalidMoment(Invalid):
    """A moment lies on the wrong side of now."""

    code = "invalid_moment"
    title = "The moment is wrong"


class BulkTooLarge(Invalid):
    """A bulk has too many targets."""

    code = "bulk_too_large"
    title = "The bulk is too large"


class InvalidMoves(Invalid):
    """A move names a step that does not exist, or leads round in a circle."""

    code = "invalid_moves"
    title = "The moves do not make sense"


class Unreachable(Invalid):
    """The lead lacks what the sequence's first message needs."""

    code = "unreachable"
    title = "The lead cannot be reached"
