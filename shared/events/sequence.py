"""Sequence: a definition with an approval life. Only its active version takes new leads."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from shared.events.definition import SequenceDefinition, Step, StepId
from shared.events.message import Command, Event, Instant
from shared.events.variants import Measure
from shared.events.why import Why

Inside = Literal["stay", "follow", "move"]
SequenceStatus = Literal["draft", "pending", "approved", "rejected", "active", "paused", "archived"]


class DraftSequence(Command):
    """Make a sequence. ``activate`` (by an approver) submits, approves and publishes in the same act."""

    TOPIC = "sequence.draft.v1"
    sequence_id: UUID
    definition: SequenceDefinition
    activate: bool = False


class EditSequence(Command):
    """Replace the draft; a live sequence's running version stays as it is."""

    TOPIC = "sequence.edit.v1"
    sequence_id: UUID
    definition: SequenceDefinition


class ChangeSequence(Command):
    """Change fields of the draft; what is left out stays as the draft has it when the order is decided. ``changes`` are
    top-level fields of a definition but for its steps, ``settings``, ``trigger`` and ``ai`` merged field by field; null
    clears ``owner`` and ``ai``. ``steps`` None: they stay."""

    TOPIC = "sequence.change.v1"
    sequence_id: UUID
    changes: dict[str, Any] = Field(default={}, max_length=20)
    steps: list[Step] | None = Field(default=None, min_length=1, max_length=500)


class DuplicateSequence(Command):
    """Make a new sequence, a draft, from what another one says now. ``name`` None: "Copy of …"."""

    TOPIC = "sequence.duplicate.v1"
    sequence_id: UUID
    source_id: UUID
    name: str | None = Field(default=None, min_length=1, max_length=200)


class SubmitSequence(Command):
    TOPIC = "sequence.submit.v1"
    sequence_id: UUID


class ApproveSequence(Command):
    TOPIC = "sequence.approve.v1"
    sequence_id: UUID


class RejectSequence(Command):
    TOPIC = "sequence.reject.v1"
    sequence_id: UUID
    feedback: str = Field(min_length=1, max_length=4_000)


class ActivateSequence(Command):
    """Freeze the approved draft as the next version, or take a paused sequence up again when there is no draft, or one
    that nobody approved yet: that stays a draft. ``inside``, ``moves`` and ``repeats`` say what becomes of those inside
    (see SequencePublished)."""

    TOPIC = "sequence.activate.v1"
    sequence_id: UUID
    inside: Inside = "stay"
    moves: dict[StepId, StepId] = Field(default={}, max_length=500)
    repeats: bool = False


class DeactivateSequence(Command):
    """Pause: takes no new leads and holds those inside; gives up nobody."""

    TOPIC = "sequence.deactivate.v1"
    sequence_id: UUID


class ReleaseSequence(Command):
    """A person lets a sequence go on that has stopped itself; what was counted until then counts no more."""

    TOPIC = "sequence.release.v1"
    sequence_id: UUID


class ArchiveSequence(Command):
    TOPIC = "sequence.archive.v1"
    sequence_id: UUID


class DeleteSequence(Command):
    """Hide it and keep it. Those inside finish, or leave at once."""

    TOPIC = "sequence.delete.v1"
    sequence_id: UUID
    enrollments: Literal["finish", "exit"] = "finish"


class RestoreSequence(Command):
    """Take an archived or deleted sequence back: paused when it has run, else a draft again."""

    TOPIC = "sequence.restore.v1"
    sequence_id: UUID


class SequenceDrafted(Event):
    """``copied_from`` names the sequence it was made from."""

    TOPIC = "sequence.drafted.v1"
    definition: SequenceDefinition
    copied_from: UUID | None = None


class SequenceEdited(Event):
    TOPIC = "sequence.edited.v1"
    definition: SequenceDefinition


class SequenceSubmitted(Event):
    TOPIC = "sequence.submitted.v1"


class SequenceApproved(Event):
    TOPIC = "sequence.approved.v1"


class SequenceRejected(Event):
    TOPIC = "sequence.rejected.v1"
    feedback: str


class SequencePublished(Event):
    """The draft became version ``version`` (1, 2, …), frozen for ever, and the sequence is active.

    ``inside``: those in earlier versions ``stay`` there, ``follow`` to the same step of this one, or ``move`` as
    ``moves`` (old step to new step) says; with ``repeats`` even to what they have done."""

    TOPIC = "sequence.published.v1"
    version: int
    definition: SequenceDefinition
    inside: Inside = "stay"
    moves: dict[str, str] = {}
    repeats: bool = False


class SequenceAssignedToFunnels(Event):
    """It takes leads of these funnels. Publishing a version assigns it to the funnels of its trigger without this;
    those that were unassigned by hand before are unassigned again by an event of their own."""

    TOPIC = "sequence.assigned_to_funnels.v1"
    funnel_ids: list[str]


class SequenceUnassignedFromFunnels(Event):
    TOPIC = "sequence.unassigned_from_funnels.v1"
    funnel_ids: list[str]


class SequencePaused(Event):
    TOPIC = "sequence.paused.v1"


class SequenceResumed(Event):
    TOPIC = "sequence.resumed.v1"


class SequenceBraked(Event):
    """Its bounces, complaints or volume left their band: it sends nothing more until a person releases it. ``why``
    says which, and what was counted."""

    TOPIC = "sequence.braked.v1"
    why: Why
    at: Instant


class SequenceReleased(Event):
    TOPIC = "sequence.released.v1"


class SequenceArchived(Event):
    TOPIC = "sequence.archived.v1"


class VariantWon(Event):
    """One variant of a step met the winner rule. ``counts`` holds [sent, hits] and ``contents`` the digest of what each
    variant said; with ``used`` later leads get it, as long as the variants say the same."""

    TOPIC = "sequence.variant_won.v1"
    version: int
    step_id: str
    variant: str
    measure: Measure
    probability: float
    counts: dict[str, list[int]]
    contents: dict[str, str]
    used: bool


class SequenceDeleted(Event):
    """Hidden from lists and kept. ``enrollments``: those inside finish, or leave."""

    TOPIC = "sequence.deleted.v1"
    enrollments: Literal["finish", "exit"]


class SequenceRestored(Event):
    """``to``: what it is now."""

    TOPIC = "sequence.restored.v1"
    to: Literal["paused", "draft"]
