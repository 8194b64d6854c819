"""Names of what a reason speaks of by its id (sequences, steps, senders, people, tasks, funnels): from the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import NamedTuple
from uuid import UUID

from services.enrollment.domain.funnel import Funnel, funnel_aggregate
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.sequence import Sequence as SequenceState
from services.enrollment.domain.work import organization_aggregate
from services.enrollment.states import fold
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import EnrollmentStarted
from shared.events.envelope import Envelope
from shared.events.naming import StepName, Thing, named_inputs, named_steps, thing_called
from shared.events.sequence import SequencePublished
from shared.events.task import TaskOpened
from shared.events.why import Why
from shared.persistence.eventstore import UnreadableLog

#: Reads an aggregate's events, in order; none for one that does not exist.
Read = Callable[[UUID], Sequence[Envelope]]


class Place(NamedTuple):
    """Where a reason was recorded: steps are numbered as in this version. None outside of every sequence."""

    sequence_id: UUID | None = None
    version: int | None = None


class Names:
    """Of one organization. What cannot be found (any more) has no name."""

    def __init__(self, read: Read, organization_id: str) -> None:
        self._read = partial(_readable, read)
        self._organization_id = organization_id
        self._sequences: dict[UUID, str | None] = {}
        self._steps: dict[UUID, dict[int, dict[str, StepName]]] = {}

    def learn(self, sequence_id: UUID, version: int, definition: SequenceDefinition) -> None:
        """A version that may not be in the log: one that is only tried."""
        self._versions(sequence_id)[version] = named_steps(definition)

    def sequence(self, sequence_id: UUID | None) -> str | None:
        """Of the version that runs, else of the draft."""
        if sequence_id is None:
            return None
        if sequence_id not in self._sequences:
            state = fold(self._read(sequence_id)).state
            definition = None
            if isinstance(state, SequenceState) and state.organization_id == self._organization_id:
                definition = state.published or state.draft
            self._sequences[sequence_id] = definition.name if definition is not None else None
        return self._sequences[sequence_id]

    def step(self, place: Place, step_id: str | None) -> StepName | None:
        """As that version has it, else the newest that has it."""
        if step_id is None or place.sequence_id is None:
            return None
        versions = self._versions(place.sequence_id)
        own = versions.get(place.version or 0, {}).get(step_id)
        return own or next((steps[step_id] for steps in reversed(versions.values()) if step_id in steps), None)

    def actor(self, actor: str | None) -> str | None:
        """A member or an API key, as events name them (``member:<id>``, ``api_key:<id>``); None for anything else."""
        kind, _, name = (actor or "").partition(":")
        try:
            key = UUID(name)
        except ValueError:
            return None
        if kind == "api_key":
            known = self._organization.api_keys.get(key)
            return known.name if known is not None else None
        member = self._organization.members.get(key) if kind == "member" else None
        return (member.name or member.email) if member is not None else None

    def inputs(self, why: Why, place: Place) -> dict[str, str]:
        """Words for those inputs of a reason that are ids, by the input's name."""
        return named_inputs(why, partial(self._called, place))

    def _called(self, place: Place, thing: Thing, name: str) -> str | None:
        match thing:
            case "step":
                return _text(self.step(place, name))
            case "sequence":
                return self._sequence(name)
            case "enrollment":
                return self._enrollment(name)
            case "task":
                return self._task(name)
            case "actor":
                return self.actor(name)
            case "scope":
                return self.scope(name)
            case "funnel":
                return self._funnel(name)

    def scope(self, named: str) -> str | None:
        """``sequence:<id>``, ``sender:<id>``, ``task:<id>``; of what a brake holds too."""
        kind, _, name = named.removeprefix("brake:").partition(":")
        match kind:
            case "sequence":
                return self._sequence(name)
            case "sender":
                sender = self._organization.senders.get(name)
                return thing_called("sender", sender.name if sender is not None else name)
            case "task":
                return self._task(name)
        return None

    def _sequence(self, sequence_id: str) -> str | None:
        return thing_called("sequence", self.sequence(_id(sequence_id)))

    def _enrollment(self, enrollment_id: str) -> str | None:
        known = _id(enrollment_id)
        events = self._read(known) if known is not None else ()
        began = events[0].message if events else None
        return (
            thing_called("sequence", self.sequence(began.sequence_id)) if isinstance(began, EnrollmentStarted) else None
        )

    def _task(self, task_id: str) -> str | None:
        known = _id(task_id)
        events = self._read(known) if known is not None else ()
        opened = events[0].message if events else None
        return thing_called("task", opened.title) if isinstance(opened, TaskOpened) else None

    def _funnel(self, funnel_id: str) -> str:
        state = fold(self._read(funnel_aggregate(self._organization_id, funnel_id))).state
        return (state.name if isinstance(state, Funnel) else "") or funnel_id

    def _versions(self, sequence_id: UUID) -> dict[int, dict[str, StepName]]:
        if sequence_id not in self._steps:
            published = [
                each.message for each in self._read(sequence_id) if isinstance(each.message, SequencePublished)
            ]
            self._steps[sequence_id] = {each.version: named_steps(each.definition) for each in published}
        return self._steps[sequence_id]

    @cached_property
    def _organization(self) -> Organization:
        state = fold(self._read(organization_aggregate(self._organization_id))).state
        return state if isinstance(state, Organization) else Organization(self._organization_id)


class Here(NamedTuple):
    """The names as one place has them: what simulations ask (``telling.Naming``)."""

    names: Names
    place: Place

    def step(self, step_id: str | None) -> StepName | None:
        return self.names.step(self.place, step_id)

    def inputs(self, why: Why) -> dict[str, str]:
        return self.names.inputs(why, self.place)

    def words(self, ids: Iterable[str]) -> dict[str, str]:
        """Of steps, and of limits' scopes (``sequence:<id>``, ``sender:<id>``); by id, where there is a name."""
        found = {each: _text(self.step(each)) or self.names.scope(each) for each in ids}
        return {each: words for each, words in found.items() if words is not None}


def _readable(read: Read, aggregate_id: UUID) -> Sequence[Envelope]:
    """None where one of them cannot be read: an answer does not fail for want of a name."""
    try:
        return read(aggregate_id)
    except UnreadableLog:
        return ()


def _text(name: StepName | None) -> str | None:
    return str(name) if name is not None else None


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
