"""Publishing, previews and moves between versions at the API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.events.bulk import NameBulkTargets, OrderBulk
from shared.events.enrollment import MigrateEnrollment
from shared.events.query import Answer, GroupInside, QueryDefinitionCheck, QueryMigration, QueryMigrationPlan
from shared.events.sequence import ActivateSequence, DeleteSequence, DuplicateSequence, RestoreSequence
from tests.gateway.conftest import ENROLLMENT, NOW, SEQUENCE, Gateway, enrollment_document

PATH = f"/api/v1/sequences/{SEQUENCE}"


def inside(number: int, **more: Any) -> dict[str, Any]:
    runs = {"1": {"step_id": "a", "kind": "email", "status": "sent"}}
    return enrollment_document(_id=f"{number:032x}", current_step="b", steps=runs, next={"step_id": "b"}, **more)


async def put_sequence(gateway: Gateway) -> None:
    steps = [{"step_id": "a", "kind": "email", "config": {"subject": "A"}}]
    await gateway.put(
        "sequences",
        {"_id": str(SEQUENCE), "name": "W", "status": "active", "version": 2, "has_draft": False, "created_at": NOW},
    )
    for version, extra in ((1, []), (2, [{"step_id": "b", "kind": "sms", "config": {}}])):
        definition = {"name": "W", "steps": [*steps, *extra], "settings": {}, "trigger": {}}
        await gateway.put(
            "sequence_versions",
            {
                "_id": f"{SEQUENCE}-{version}",
                "sequence_id": str(SEQUENCE),
                "version": version,
                "definition": definition,
            },
        )


async def test_a_preview_counts_those_who_stand_alike(gateway: Gateway) -> None:
    await put_sequence(gateway)
    flight = {"1": {"step_id": "a", "kind": "email", "status": "due"}, "2": {"step_id": "t", "status": "done"}}
    fork = {"1": {"step_id": "c", "kind": "condition", "status": "taken"}}
    await gateway.put(
        "enrollments",
        inside(1),
        inside(2, status="paused"),
        inside(3, status="completed"),
        enrollment_document(_id="f", current_step="a", steps=flight, next=None),
        enrollment_document(_id="p", current_step=None, steps={}, status="pending"),
        enrollment_document(_id="k", current_step="b", steps=fork, next={"step_id": "b"}),
    )
    plan = {"version": 3, "errors": [], "moves": 1, "stays": 0, "steps": []}
    gateway.write_side.answer = lambda _: Answer(ok=True, result=plan)
    body = {"inside": "move", "moves": {"b": "c"}, "dry_run": True}
    answer = await gateway.http.post(f"{PATH}/activate", json=body, headers=gateway.key())
    assert answer.json() == {"dry_run": True, **plan}
    question = gateway.write_side.seen[0].message
    assert isinstance(question, QueryMigrationPlan)
    assert (question.version, question.moves, question.organization_id) == (None, {"b": "c"}, "demo")
    assert sorted(question.groups, key=lambda each: (each.count, str(each.step_id), each.done)) == [
        GroupInside(version=1, step_id=None, count=1),
        GroupInside(version=1, step_id="a", concluded=True, done=["t"], count=1),
        GroupInside(version=1, step_id="b", count=1),
        GroupInside(version=1, step_id="b", done=["a"], count=2),
    ]
    answer = await gateway.http.post(f"{PATH}/migrate", json={"version": 2, "dry_run": True}, headers=gateway.key())
    assert (answer.status_code, answer.json()["moves"]) == (200, 1)


async def test_who_does_not_stay_is_moved_by_a_bulk_of_the_write_side(gateway: Gateway) -> None:
    result = {"version": 3, "bulk_id": str(UUID(int=7))}
    gateway.write_side.answer = lambda _: Answer(ok=True, result=result, position="03-17")
    body = {"inside": "follow", "moves": {"b": "c"}}
    answer = await gateway.http.post(f"{PATH}/activate", json=body, headers=gateway.key())
    assert (answer.status_code, answer.json()) == (200, result)
    assert [each.message for each in gateway.write_side.seen] == [
        ActivateSequence(sequence_id=SEQUENCE, inside="follow")
    ]


async def test_everybody_can_be_moved_to_a_version_by_a_bulk(gateway: Gateway) -> None:
    await put_sequence(gateway)
    await gateway.put("enrollments", inside(1), inside(2, status="completed"))
    answer = await gateway.http.post(f"{PATH}/migrate", json={"version": 2}, headers=gateway.key())
    assert (answer.status_code, "bulk_id" in answer.json()) == (202, True)
    ordered, named, _begun = [each.message for each in gateway.write_side.seen]
    assert isinstance(ordered, OrderBulk)
    assert (ordered.kind, ordered.order) == ("migrate", {"version": 2, "moves": {}, "repeats": False})
    assert isinstance(named, NameBulkTargets)
    assert [each.int for each in named.targets] == [1]
    answer = await gateway.http.post(f"{PATH}/migrate", json={"version": 9}, headers=gateway.key())
    assert answer.status_code == 404


async def test_one_enrollment_is_moved_or_only_asked_about(gateway: Gateway) -> None:
    path = f"/api/v1/enrollments/{ENROLLMENT}/migrate"
    order = MigrateEnrollment(enrollment_id=ENROLLMENT, version=2, moves={"a": "b"})
    body = {"version": 2, "moves": {"a": "b"}}
    assert (await gateway.http.post(path, json=body, headers=gateway.key())).status_code == 200
    assert (await gateway.http.post(path, json={**body, "dry_run": True}, headers=gateway.key())).json()["dry_run"]
    assert [each.message for each in gateway.write_side.seen] == [
        order,
        QueryMigration(organization_id="demo", order=order),
    ]


async def test_versions_and_what_differs(gateway: Gateway) -> None:
    await put_sequence(gateway)
    found = (await gateway.http.get(f"{PATH}/versions/1/diff", params={"to": 2}, headers=gateway.key())).json()
    assert (found["from"], found["to"], [each["step_id"] for each in found["steps"]["added"]]) == (1, 2, ["b"])
    for to in ("draft", 7):
        answer = await gateway.http.get(f"{PATH}/versions/1/diff", params={"to": to}, headers=gateway.key())
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_sequence_with_leads_inside_is_deleted_only_with_a_word_about_them(gateway: Gateway) -> None:
    await put_sequence(gateway)
    await gateway.put("enrollments", inside(1))
    refused = await gateway.http.delete(PATH, headers=gateway.key())
    assert (refused.status_code, refused.json()["code"]) == (409, "leads_inside")
    for word in ("finish", "exit"):
        answer = await gateway.http.delete(PATH, params={"enrollments": word}, headers=gateway.key())
        assert answer.status_code == 200
    assert [each.message for each in gateway.write_side.seen] == [
        DeleteSequence(sequence_id=SEQUENCE, enrollments=word) for word in ("finish", "exit")
    ]


async def test_who_has_not_begun_counts_as_inside_too(gateway: Gateway) -> None:
    await put_sequence(gateway)
    await gateway.put("enrollments", enrollment_document(_id=f"{1:032x}", status="pending"))
    refused = await gateway.http.delete(PATH, headers=gateway.key())
    assert (refused.status_code, refused.json()["code"]) == (409, "leads_inside")
    assert gateway.write_side.seen == []


async def test_copying_restoring_and_checking(gateway: Gateway) -> None:
    answer = await gateway.http.post(f"{PATH}/duplicate", json={"name": "Mine"}, headers=gateway.key())
    assert answer.status_code == 201
    assert (await gateway.http.post(f"{PATH}/restore", headers=gateway.key())).status_code == 200
    gateway.write_side.answer = lambda _: Answer(ok=True, result={"errors": [], "warnings": []})
    answer = await gateway.http.post("/api/v1/sequences/validate", json={"name": 5}, headers=gateway.key())
    assert answer.json() == {"errors": [], "warnings": []}
    copied, restored, checked = [each.message for each in gateway.write_side.seen]
    assert isinstance(copied, DuplicateSequence)
    assert (copied.source_id, copied.name) == (SEQUENCE, "Mine")
    assert restored == RestoreSequence(sequence_id=SEQUENCE)
    assert checked == QueryDefinitionCheck(organization_id="demo", definition={"name": 5})


async def test_an_error_of_form_names_the_step(gateway: Gateway) -> None:
    body = {"name": "N", "steps": [{"step_id": "hello", "kind": "email", "config": {"subject": "", "text": "x"}}]}
    answer = await gateway.http.post("/api/v1/sequences", json=body, headers=gateway.key())
    assert [each["field"] for each in answer.json()["errors"]] == ["steps.hello.config.subject"]
