"""Moving those inside a real store to another version: asked about first, then carried out by a bulk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from shared.events.bulk import BeginBulk, NameBulkTargets, OrderBulk
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import MigrateEnrollment
from shared.events.query import GroupInside, QueryDefinitionCheck, QueryMigration, QueryMigrationPlan
from shared.events.sequence import ActivateSequence, ApproveSequence, DeleteSequence, EditSequence, SubmitSequence
from tests.enrollment.service import Bench, running_service

BULK = UUID(int=31)
HI = "Hi {{ first_name }}"


@pytest.fixture
async def bench(tmp_path: Path, amqp_url: str) -> AsyncIterator[Bench]:
    async with running_service(tmp_path, amqp_url) as running:
        yield running


def mail(step_id: str, wait_days: int = 0) -> dict[str, Any]:
    delay = {"amount": wait_days, "unit": "days"}
    return {"step_id": step_id, "kind": "email", "delay": delay, "config": {"subject": "Hi {first_name}", "text": "x"}}


async def edit(bench: Bench, sequence_id: UUID, *steps: dict[str, Any]) -> None:
    definition = SequenceDefinition.model_validate({"name": "Test", "steps": list(steps)})
    answer = await bench.done(EditSequence(sequence_id=sequence_id, definition=definition))
    assert answer.result["warnings"] == []
    await bench.done(SubmitSequence(sequence_id=sequence_id))
    await bench.done(ApproveSequence(sequence_id=sequence_id))


async def test_those_inside_are_counted_asked_about_and_moved(bench: Bench) -> None:
    await bench.play_dispatcher()
    sequence_id = await bench.sequence([mail("first"), mail("second", 3)])
    for number in range(3):
        await bench.lead(number)
    await bench.until(lambda: bench.topics().count("enrollment.step_sent.v1") == 3)
    events = bench.service.store.page_events(0, 5_000)
    inside = [UUID(each["subject"]) for each in events if each["type"] == "enrollment.started.v1"]
    await edit(bench, sequence_id, mail("first"), mail("second", 9))
    groups = [GroupInside(version=1, step_id=step, done=["first"], count=3) for step in ("second", "gone")]
    question = QueryMigrationPlan(
        organization_id="demo", sequence_id=sequence_id, moves={"gone": "first"}, groups=groups
    )
    plan = (await bench.done(question)).result
    assert (plan["version"], plan["moves"], plan["stays"]) == (2, 3, 3)
    assert [(row["step_id"], row["goes"], row["to_step"], row["why"]) for row in plan["steps"]] == [
        ("gone", "stays", None, "repeats"),
        ("second", "moves", "second", "same_step"),
    ]
    assert [(row["step_name"], row["step_number"], row["to_step_name"], row["text"]) for row in plan["steps"]] == [
        (None, None, None, "It cannot be moved: step 1 “Hi {{ first_name }}” was done already."),
        (HI, 2, HI, "Moved to another version: it goes on at the same step."),
    ]
    assert [each["field"] for each in plan["errors"]] == ["moves.gone"]
    await bench.done(ActivateSequence(sequence_id=sequence_id))
    order = MigrateEnrollment(enrollment_id=inside[0], version=2)
    before = len(bench.topics())
    asked = (await bench.done(QueryMigration(organization_id="demo", order=order))).result
    assert (asked["event"], asked["to_step"], len(bench.topics())) == ("migrated", "second", before)
    assert (asked["from_step_name"], asked["to_step_name"], asked["to_step_number"]) == (HI, HI, 2)
    assert asked["why"] == {
        "rule": "same_step",
        "inputs": {"step": "second"},
        "names": {"step": f"step 2 “{HI}”"},
        "text": "Moved to another version: it goes on at the same step.",
    }
    wrong = await bench.order(QueryMigration(organization_id="demo", order=order.model_copy(update={"version": 9})))
    assert wrong.problem is not None
    assert wrong.problem.status == 404
    await bench.done(OrderBulk(bulk_id=BULK, kind="migrate", order={"version": 2}))
    await bench.done(NameBulkTargets(bulk_id=BULK, page=1, targets=inside))
    await bench.done(BeginBulk(bulk_id=BULK, pages=1))
    await bench.until(lambda: bench.topics().count("bulk.finished.v1") == 1)
    assert bench.topics().count("enrollment.migrated.v1") == 3
    again = (await bench.done(QueryMigration(organization_id="demo", order=order))).result
    assert (again["event"], again["why"]["text"]) == (None, "It is in version 2.")


async def test_a_definition_is_checked_without_being_saved(bench: Bench) -> None:
    async def check(**definition: Any) -> dict[str, Any]:
        question = QueryDefinitionCheck(organization_id="demo", definition={"name": "N", **definition})
        return (await bench.done(question)).result

    assert await check(steps=[mail("a")]) == {"errors": [], "warnings": []}
    found = await check(steps=[{**mail("a"), "config": {"subject": "{{ nobody }}!!", "text": "x"}}])
    assert [each["field"] for each in found["errors"]] == ["steps.a.config.subject"]
    assert [each["field"] for each in found["warnings"]] == ["steps.a.config.subject"]
    found = await check(steps=[{**mail("a"), "config": {"subject": "x"}}])
    assert found["errors"][0]["field"] == "steps.a.config"


async def test_a_check_says_what_saving_would_say_of_snippets_files_and_channels(bench: Bench) -> None:
    content = {"subject": "x", "text": "{{ snippets.gone }}", "attachments": [str(UUID(int=5))]}
    steps = [{**mail("a"), "config": content}, {"step_id": "b", "kind": "sms", "config": {"text": "Hello"}}]
    definition = {"name": "N", "steps": steps}
    checked = (await bench.done(QueryDefinitionCheck(organization_id="demo", definition=definition))).result
    assert [each["field"] for each in checked["errors"]] == ["steps.a.config.text", "steps.a.config.attachments"]
    assert {"field": "steps.b.config.channel", "problem": "channel sms is not set up"} in checked["warnings"]


async def test_a_publishing_moves_those_inside_and_a_deletion_lets_them_leave(bench: Bench) -> None:
    await bench.play_dispatcher()
    sequence_id = await bench.sequence([mail("first"), mail("second", 3)])
    for number in range(3):
        await bench.lead(number)
    await bench.until(lambda: bench.topics().count("enrollment.step_sent.v1") == 3)
    await edit(bench, sequence_id, mail("first"), mail("second", 9))
    published = await bench.done(ActivateSequence(sequence_id=sequence_id, inside="follow"))
    await bench.until(lambda: bench.topics().count("bulk.finished.v1") == 1)
    assert bench.topics().count("enrollment.migrated.v1") == 3
    deleted = await bench.done(DeleteSequence(sequence_id=sequence_id, enrollments="exit"))
    await bench.until(lambda: bench.topics().count("bulk.finished.v1") == 2)
    assert bench.topics().count("enrollment.exited.v1") == 3
    assert published.result["bulk_id"] != deleted.result["bulk_id"]
    events = bench.service.store.load(UUID(published.result["bulk_id"]))
    assert [each.topic for each in events] == [
        "bulk.ordered.v1",
        "bulk.targets_named.v1",
        "bulk.begun.v1",
        "bulk.advanced.v1",
        "bulk.finished.v1",
    ]
