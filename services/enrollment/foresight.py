"""Answers "what would come of it": a definition that would be saved, enrollments that would move to another version."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import ValidationError

from services.enrollment.batch_world import BatchWorld, Versions
from services.enrollment.content_facts import in_new_form, read_content
from services.enrollment.domain import definition_check
from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.errors import UnknownTarget
from services.enrollment.domain.flow import Version, compile_version
from services.enrollment.domain.full_slots import FullSlots
from services.enrollment.domain.handling import handle
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.places import NoPlace, Standing, place, wrong_moves
from services.enrollment.domain.sequence import Sequence
from services.enrollment.domain.work import organization_aggregate
from services.enrollment.naming import Names, Place
from services.enrollment.states import States
from shared.clock import Clock
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import EnrollmentMigrated, MigrationAwaited
from shared.events.envelope import Envelope
from shared.events.places import reasons_of
from shared.events.query import GroupInside, QueryDefinitionCheck, QueryMigration, QueryMigrationPlan
from shared.events.why import Why
from shared.events.wording import in_words
from shared.messaging.topology import SERVED_CHANNELS
from shared.persistence.eventstore import EventStore


class Foresight:
    """Reads the store; changes nothing. Any thread may ask."""

    def __init__(self, store: EventStore, states: States, clock: Clock) -> None:
        self._store = store
        self._states = states
        self._clock = clock
        self._versions = Versions(store)

    def check(self, question: QueryDefinitionCheck) -> dict[str, Any]:
        """Errors of form come alone: the rest cannot be judged before they are mended."""
        try:
            definition = in_new_form(SequenceDefinition.model_validate(question.definition))
        except ValidationError as error:
            return {"errors": reasons_of(error, question.definition), "warnings": []}
        found = self._states.get(organization_aggregate(question.organization_id)).state
        known = found if isinstance(found, Organization) else None
        facts = read_content(definition.steps)
        errors, warnings, unready = definition_check.judge(definition, facts, known, SERVED_CHANNELS.__contains__)
        return {"errors": errors, "warnings": [*warnings, *unready]}

    def migration_plan(self, question: QueryMigrationPlan) -> dict[str, Any]:
        """Raises UnknownTarget."""
        sequence = self._states.get(question.sequence_id).state
        if not isinstance(sequence, Sequence) or sequence.organization_id != question.organization_id:
            raise UnknownTarget("sequence", question.sequence_id)
        new = self._new(sequence, question.version)
        names = Names(self._store.load, question.organization_id)
        names.learn(sequence.id, new.version, new.definition)
        rows: Counter[_Row] = Counter()
        for group in question.groups:
            if group.version == new.version:
                continue
            old = self._version(sequence.id, group.version)
            rows[_fate(old, new, group, question)] += group.count
        current = self._versions.get(sequence.id, sequence.version)
        wrong = wrong_moves(current, new, question.moves, repeats=question.repeats) if current is not None else []
        return {
            "version": new.version,
            "errors": wrong,
            "moves": sum(count for row, count in rows.items() if row.goes != "stays"),
            "stays": sum(count for row, count in rows.items() if row.goes == "stays"),
            "steps": [
                {**row.in_words(names, sequence.id, new.version), "count": count}
                for row, count in sorted(
                    rows.items(), key=lambda each: (each[0].version, each[0].step_id or "", -each[1])
                )
            ],
        }

    def migration(self, question: QueryMigration) -> dict[str, Any]:
        """Raises what the order itself would be refused with."""
        order = question.order
        known = self._states.get(order.enrollment_id).state
        if not isinstance(known, Enrollment):
            raise UnknownTarget("enrollment", order.enrollment_id)
        world = BatchWorld(self._store, self._states, self._versions, self._clock, lambda _: True, FullSlots())
        envelope = Envelope(
            id="", message=order, source="reader", time=world.now, organization_id=question.organization_id
        )
        names = Names(self._store.load, question.organization_id)
        before, after = Place(known.sequence_id, known.version), Place(known.sequence_id, order.version)
        what, from_step, to_step, plan = None, None, None, None
        why = Why(rule="version", inputs={"version": known.version})
        for change in handle(envelope, world).changes:
            match change.event:
                case EnrollmentMigrated() as event:
                    what, from_step, to_step, why = "migrated", event.from_step, event.to_step, event.why
                    plan = event.plan.model_dump(mode="json") if event.plan is not None else None
                    break
                case MigrationAwaited() as event:
                    what, from_step = "awaited", event.step_id
                    why = Why(rule="migration_awaited", inputs={"to_version": event.to_version})
                    break
        named = names.inputs(why, after)
        return {
            "event": what,
            **_step("from_step", from_step, names, before),
            **_step("to_step", to_step, names, after),
            "plan": plan,
            "why": {**why.model_dump(mode="json"), "names": named, "text": in_words(why, named)},
        }

    def _new(self, sequence: Sequence, version: int | None) -> Version:
        if version is not None:
            return self._version(sequence.id, version)
        if sequence.draft is not None:
            return compile_version(sequence.id, sequence.version + 1, sequence.draft)
        return self._version(sequence.id, sequence.version)

    def _version(self, sequence_id: UUID, version: int) -> Version:
        found = self._versions.get(sequence_id, version)
        if found is None:
            raise UnknownTarget("version", version)
        return found


class _Row(NamedTuple):
    """What becomes of those who stand alike: they go ``moves`` to a step (or ``ends``), or ``stays``, and by which
    rule, which speaks of ``about``."""

    version: int
    step_id: str | None
    goes: str
    to_step: str | None
    why: str
    about: str | None

    def in_words(self, names: Names, sequence_id: UUID, to_version: int) -> dict[str, Any]:
        before, after = Place(sequence_id, self.version), Place(sequence_id, to_version)
        why = Why(rule=self.why, inputs={"step": self.about} if self.about is not None else {})
        return {
            "version": self.version,
            **_step("step_id", self.step_id, names, before),
            "goes": self.goes,
            **_step("to_step", self.to_step, names, after),
            "why": self.why,
            "text": in_words(why, names.inputs(why, after)),
        }


def _step(field: str, step_id: str | None, names: Names, place: Place) -> dict[str, Any]:
    """A step with its name and number, ``step_name`` for ``step_id``."""
    step, called = names.step(place, step_id), field.removesuffix("_id")
    named = {} if step is None else {f"{called}_name": step.name, f"{called}_number": step.number}
    return {field: step_id, f"{called}_name": None, f"{called}_number": None, **named}


def _fate(old: Version, new: Version, group: GroupInside, question: QueryMigrationPlan) -> _Row:
    standing = Standing(group.step_id, group.concluded, done=frozenset(group.done))
    found = place(old, new, standing, question.moves, repeats=question.repeats)
    if isinstance(found, NoPlace):
        return _Row(group.version, group.step_id, "stays", None, found.rule, found.step_id)
    goes = "moves" if found.step_id is not None else "ends"
    return _Row(group.version, group.step_id, goes, found.step_id, found.rule, found.step_id)
