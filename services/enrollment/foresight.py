"""Answers "what would come of it": a definition that would be saved, enrollments that would move to another version."""

from __future__ import annotations

from collections import Counter
from typing import Any
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
from services.enrollment.states import States
from shared.clock import Clock
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import EnrollmentMigrated, MigrationAwaited
from shared.events.envelope import Envelope
from shared.events.places import reasons_of
from shared.events.query import GroupInside, QueryDefinitionCheck, QueryMigration, QueryMigrationPlan
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
        facts = read_content(definition)
        errors, warnings, unready = definition_check.judge(definition, facts, known, SERVED_CHANNELS.__contains__)
        return {"errors": errors, "warnings": [*warnings, *unready]}

    def migration_plan(self, question: QueryMigrationPlan) -> dict[str, Any]:
        """Raises UnknownTarget."""
        sequence = self._states.get(question.sequence_id).state
        if not isinstance(sequence, Sequence) or sequence.organization_id != question.organization_id:
            raise UnknownTarget("sequence", question.sequence_id)
        new = self._new(sequence, question.version)
        rows: Counter[tuple[int, str | None, str | None, str | None, str]] = Counter()
        for group in question.groups:
            if group.version == new.version:
                continue
            old = self._version(sequence.id, group.version)
            goes, to_step, why = _fate(old, new, group, question)
            rows[group.version, group.step_id, goes, to_step, why] += group.count
        current = self._versions.get(sequence.id, sequence.version)
        wrong = wrong_moves(current, new, question.moves, repeats=question.repeats) if current is not None else []
        names = ("version", "step_id", "goes", "to_step", "why")
        return {
            "version": new.version,
            "errors": wrong,
            "moves": sum(count for row, count in rows.items() if row[2] != "stays"),
            "stays": sum(count for row, count in rows.items() if row[2] == "stays"),
            "steps": [
                {**dict(zip(names, row, strict=True)), "count": count}
                for row, count in sorted(rows.items(), key=lambda each: (each[0][0], each[0][1] or "", -each[1]))
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
        for change in handle(envelope, world).changes:
            match change.event:
                case EnrollmentMigrated() as event:
                    plan = event.plan.model_dump(mode="json") if event.plan is not None else None
                    steps = {"from_step": event.from_step, "to_step": event.to_step}
                    return {"event": "migrated", **steps, "plan": plan, "why": event.why.model_dump(mode="json")}
                case MigrationAwaited() as event:
                    return {"event": "awaited", "from_step": event.step_id, "to_step": None, "plan": None, "why": None}
        return {"event": None, "from_step": None, "to_step": None, "plan": None, "why": None}

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


def _fate(old: Version, new: Version, group: GroupInside, question: QueryMigrationPlan) -> tuple[str, str | None, str]:
    """What becomes of a group: it goes ``moves`` to a step (or ``ends``), or ``stays``, and by which rule."""
    standing = Standing(group.step_id, group.concluded, done=frozenset(group.done))
    found = place(old, new, standing, question.moves, repeats=question.repeats)
    if isinstance(found, NoPlace):
        return "stays", None, found.rule
    return ("moves" if found.step_id is not None else "ends"), found.step_id, found.rule
