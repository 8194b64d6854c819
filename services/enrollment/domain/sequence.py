"""Sequence: a definition with an approval life. State and decisions.

A draft goes draft → pending → approved or rejected; publishing freezes it as the next version and makes the sequence
active; active ⇄ paused → archived. A live sequence may have a draft of its own beside the running version; changed in
any way, it must be approved again. What is archived or deleted can be restored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from pydantic import ValidationError

from services.enrollment.domain.content_check import Finding, finding
from services.enrollment.domain.errors import (
    InvalidDefinition,
    InvalidMoves,
    NothingToSubmit,
    SequenceArchivedAlready,
    SequenceExists,
    SequenceNotActive,
    SequenceNotApproved,
)
from services.enrollment.domain.flow import compile_version
from services.enrollment.domain.places import wrong_moves
from shared.events.definition import SequenceDefinition
from shared.events.message import Event
from shared.events.places import reasons_of
from shared.events.sequence import (
    ChangeSequence,
    Inside,
    SequenceApproved,
    SequenceArchived,
    SequenceAssignedToFunnels,
    SequenceBraked,
    SequenceDeleted,
    SequenceDrafted,
    SequenceEdited,
    SequencePaused,
    SequencePublished,
    SequenceRejected,
    SequenceReleased,
    SequenceRestored,
    SequenceResumed,
    SequenceStatus,
    SequenceSubmitted,
    SequenceUnassignedFromFunnels,
    VariantWon,
)
from shared.events.why import Why

DraftStatus = Literal["draft", "pending", "approved", "rejected"]
Life = Literal["active", "paused", "archived"]
Leaving = Literal["finish", "exit"]
NO_FUNNEL = "the sequence has lost its funnels and takes no leads by itself: assign it to one, or set any_funnel"
MOST_NAME_CHARACTERS = 200


class Winner(NamedTuple):
    """The variant of a step that has won by a measure over contents (digests by variant); ``used`` by later leads."""

    variant: str
    measure: str
    contents: Mapping[str, str]
    used: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """``draft`` is what the next version would be, None when there is nothing new; ``published`` the running
    version's definition.

    ``version`` is its number, 0 before the first. ``life`` is None until then. ``winners`` by step id. ``deleted`` says
    what becomes of those inside, None while it is not deleted; a deleted one is archived too. ``funnels`` are those it
    takes leads of; none: of any, unless it is ``narrowed`` and its trigger does not say ``any_funnel``.
    """

    id: UUID
    organization_id: str
    draft: SequenceDefinition | None = None
    draft_status: DraftStatus = "draft"
    feedback: str | None = None
    life: Life | None = None
    version: int = 0
    published: SequenceDefinition | None = None
    winners: Mapping[str, Winner] = field(default_factory=dict)
    deleted: Leaving | None = None
    braked: Why | None = None  #: why it has stopped itself
    releases: int = 0  #: how often a person let it go on
    funnels: frozenset[str] = frozenset()
    narrowed: bool = False  #: it was assigned to a funnel at least once

    @property
    def status(self) -> SequenceStatus:
        """The one word shown: of the running version when there is one, else of the draft."""
        return self.life or self.draft_status

    @property
    def runs(self) -> bool:
        """May those inside go on? An archived sequence takes nobody new and lets those inside finish."""
        return self.life in {"active", "archived"}


def initial(sequence_id: UUID, organization_id: str) -> Sequence:
    return Sequence(sequence_id, organization_id)


_LIFE_AFTER: dict[type[Event], Life] = {
    SequencePaused: "paused",
    SequenceResumed: "active",
    SequenceArchived: "archived",
}


def _brake(state: Sequence, event: SequenceBraked | SequenceReleased) -> Sequence:
    if isinstance(event, SequenceBraked):
        return replace(state, braked=event.why)
    return replace(state, braked=None, releases=state.releases + 1)


def evolve(state: Sequence, event: Event, _at: datetime) -> Sequence:
    """The state after an event. An event it does not know leaves it as it is."""
    match event:
        case SequenceDrafted(definition=definition) | SequenceEdited(definition=definition):
            state = replace(state, draft=definition, draft_status="draft", feedback=None)
        case SequenceSubmitted():
            state = replace(state, draft_status="pending")
        case SequenceApproved():
            state = replace(state, draft_status="approved", feedback=None)
        case SequenceRejected():
            state = replace(state, draft_status="rejected", feedback=event.feedback)
        case SequencePublished():
            state = replace(
                state,
                draft=None,
                draft_status="approved",
                life="active",
                version=event.version,
                published=event.definition,
                funnels=_funnels_after(state, event.definition),
                narrowed=state.narrowed or bool(event.definition.trigger.funnels),
            )
        case SequenceAssignedToFunnels() | SequenceUnassignedFromFunnels():
            added = isinstance(event, SequenceAssignedToFunnels)
            state = replace(
                state,
                funnels=state.funnels | set(event.funnel_ids) if added else state.funnels - set(event.funnel_ids),
                narrowed=True,
            )
        case SequencePaused() | SequenceResumed() | SequenceArchived():
            state = replace(state, life=_LIFE_AFTER[type(event)])
        case VariantWon():
            winner = Winner(event.variant, event.measure, event.contents, event.used)
            state = replace(state, winners={**state.winners, event.step_id: winner})
        case SequenceDeleted():
            state = replace(state, life="archived", deleted=event.enrollments)
        case SequenceRestored():
            ran = event.to == "paused"
            again = state.draft_status if ran else "draft"
            state = replace(state, life="paused" if ran else None, draft_status=again, deleted=None)
        case SequenceBraked() | SequenceReleased():
            state = _brake(state, event)
    return state


def _funnels_after(state: Sequence, definition: SequenceDefinition) -> frozenset[str]:
    """Assignments once a version is published: its trigger's funnels come, those that only the one before named go."""
    named = frozenset(definition.trigger.funnels)
    before = frozenset(state.published.trigger.funnels) if state.published is not None else frozenset()
    return (state.funnels - (before - named)) | named


def taken_away(state: Sequence, definition: SequenceDefinition) -> list[str]:
    """Funnels that a next version names as the running one does, and that were taken away by hand since."""
    before = state.published.trigger.funnels if state.published is not None else []
    return [each for each in dict.fromkeys(definition.trigger.funnels) if each in before and each not in state.funnels]


def funnel_warnings(state: Sequence, definition: SequenceDefinition) -> list[Finding]:
    """What is odd about the funnels it would have with this definition published."""
    away = taken_away(state, definition)
    found = [
        finding("trigger.funnels", f"names {each}, from which the sequence was unassigned: assign it there again")
        for each in away
    ]
    if state.narrowed and not (_funnels_after(state, definition) - set(away)) and not definition.trigger.any_funnel:
        found.append(finding("trigger.funnels", NO_FUNNEL))
    return found


def draft(state: Sequence | None, definition: SequenceDefinition, *, activate: bool) -> Iterator[Event]:
    """Raises SequenceExists when the id is taken by another definition."""
    if state is not None:
        if definition not in (state.draft, state.published):
            raise SequenceExists(f"sequence {state.id} exists with another definition")
        return
    yield SequenceDrafted(definition=definition)
    if activate:
        yield SequenceSubmitted()
        yield SequenceApproved()
        yield SequencePublished(version=1, definition=definition)


def duplicate(state: Sequence | None, source: Sequence, *, name: str | None) -> Iterator[Event]:
    """What the source says now, its draft before its running version, as a draft of its own. A repeat is nothing."""
    definition = source.draft or source.published
    if state is not None or definition is None:
        return
    copied = definition.model_copy(update={"name": name or f"Copy of {definition.name}"[:MOST_NAME_CHARACTERS]})
    yield SequenceDrafted(definition=copied, copied_from=source.id)


def edit(state: Sequence, definition: SequenceDefinition) -> Iterator[Event]:
    """Raises SequenceArchivedAlready. The running version stays as it is."""
    _not_archived(state)
    if definition == (state.draft or state.published):
        return
    yield SequenceEdited(definition=definition)


def changed(state: Sequence, command: ChangeSequence) -> SequenceDefinition:
    """What the sequence says now, its draft before its running version, with the order's changes. Raises
    SequenceArchivedAlready, InvalidDefinition.
    """
    _not_archived(state)
    now = state.draft or state.published
    said: dict[str, Any] = now.model_dump(mode="json", by_alias=True) if now is not None else {}
    steps = [step.model_dump(mode="json", by_alias=True) for step in command.steps] if command.steps else said["steps"]
    for name, value in command.changes.items():
        old = said.get(name)
        said[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    try:
        return SequenceDefinition.model_validate({**said, "steps": steps})
    except ValidationError as error:
        wrong = reasons_of(error, {**said, "steps": steps})
        detail = "; ".join(f"{each['field']}: {each['problem']}" for each in wrong)
        raise InvalidDefinition(detail, errors=wrong) from None


def submit(state: Sequence) -> Iterator[Event]:
    """Raises NothingToSubmit or SequenceArchivedAlready."""
    _not_archived(state)
    if state.draft is None:
        raise NothingToSubmit("nothing has changed since the running version")
    if state.draft_status in {"draft", "rejected"}:
        yield SequenceSubmitted()


def approve(state: Sequence) -> Iterator[Event]:
    """Raises NothingToSubmit unless the draft is pending (or approved already)."""
    _not_archived(state)
    if state.draft_status == "approved":
        return
    if state.draft is None or state.draft_status != "pending":
        raise NothingToSubmit("only a pending draft can be approved")
    yield SequenceApproved()


def reject(state: Sequence, feedback: str) -> Iterator[Event]:
    """Raises NothingToSubmit unless the draft is pending (or rejected with the same words already)."""
    _not_archived(state)
    if state.draft_status == "rejected" and state.feedback == feedback:
        return
    if state.draft is None or state.draft_status != "pending":
        raise NothingToSubmit("only a pending draft can be rejected")
    yield SequenceRejected(feedback=feedback)


#: What a draft that is not approved waits for.
_NEXT = {
    "draft": "the draft is not submitted yet: submit it, then have it approved",
    "pending": "the draft waits for approval",
    "rejected": "the draft was rejected: edit it, submit it again, then have it approved",
}


def activate(
    state: Sequence, *, inside: Inside = "stay", moves: Mapping[str, str] | None = None, repeats: bool = False
) -> Iterator[Event]:
    """A paused sequence whose draft is not approved goes on with the version it has, and keeps the draft, unless those
    inside were to move to the new one. Raises SequenceNotApproved, SequenceArchivedAlready or InvalidMoves.
    """
    _not_archived(state)
    if state.draft is None or resumes_beside_draft(state, inside):
        if state.life == "paused":
            yield SequenceResumed()
        return
    if state.draft_status != "approved":
        raise SequenceNotApproved(_NEXT[state.draft_status])
    if inside == "stay" or state.published is None:
        yield SequencePublished(version=state.version + 1, definition=state.draft)
        return
    moves = dict(moves or {}) if inside == "move" else {}
    wrong = wrong_moves(
        compile_version(state.id, state.version, state.published),
        compile_version(state.id, state.version + 1, state.draft),
        moves,
        repeats=repeats,
    )
    if wrong:
        raise InvalidMoves("; ".join(f"{each['field']} {each['problem']}" for each in wrong), errors=wrong)
    yield SequencePublished(
        version=state.version + 1, definition=state.draft, inside=inside, moves=moves, repeats=repeats
    )


def resumes_beside_draft(state: Sequence, inside: Inside) -> bool:
    """Is it paused with a draft that nobody approved, which can wait?"""
    return state.life == "paused" and state.draft_status != "approved" and inside == "stay"


def deactivate(state: Sequence) -> Iterator[Event]:
    """Raises SequenceNotActive or SequenceArchivedAlready."""
    _not_archived(state)
    if state.life == "paused":
        return
    if state.life != "active":
        raise SequenceNotActive(f"the sequence is {state.status}")
    yield SequencePaused()


def archive(state: Sequence) -> Iterator[Event]:
    if state.life != "archived":
        yield SequenceArchived()


def delete(state: Sequence, enrollments: Leaving) -> Iterator[Event]:
    """One that is deleted already is deleted anew only to let those inside leave who were to finish."""
    if state.deleted is None or (state.deleted, enrollments) == ("finish", "exit"):
        yield SequenceDeleted(enrollments=enrollments)


def restore(state: Sequence) -> Iterator[Event]:
    """Nothing to do for one that is neither archived nor deleted."""
    if state.life == "archived":
        yield SequenceRestored(to="paused" if state.version else "draft")


def release(state: Sequence) -> Iterator[Event]:
    if state.braked is not None:
        yield SequenceReleased()


def _not_archived(state: Sequence) -> None:
    if state.life == "archived":
        raise SequenceArchivedAlready(f"sequence {state.id} is archived")
