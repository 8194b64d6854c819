"""Every route, room and query, asked by a stranger, by another organization, and by somebody without the right."""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import UUID

import pytest

from services.gateway.access import EVERY_PERMISSION, PERMISSIONS, room_for
from services.gateway.app import create_app
from services.gateway.context import PERMISSION_OF
from shared.events.query import Answer
from tests.gateway.conftest import ENROLLMENT, LEAD, NOW, SEQUENCE, Gateway, enrollment_document, lead_document

OPEN = {"/api/v1/auth/token", "/api/v1/auth/refresh"}
FOR_ALL = {"/api/v1/auth/me"}
MESSAGE = f"{ENROLLMENT}-1"
LETTER = "l" * 32
IDS = {
    "sequence_id": SEQUENCE,
    "enrollment_id": ENROLLMENT,
    "lead_id": LEAD,
    "task_id": UUID(int=9),
    "message_id": MESSAGE,
    "mail_id": "m1",
    "letter_id": LETTER,
    "version": 1,
    "member_id": UUID(int=4),
    "key_id": UUID(int=7),
    "sender_id": "default",
    "calendar": "organization",
    "name": "leads",
    "job_id": "j1",
    "bulk_id": UUID(int=11),
}
SECRET = "only-for-demo"


@cache
def described() -> dict[str, Any]:
    """The API's own description."""
    return create_app(None).openapi()


def api_operations() -> list[tuple[str, str]]:
    """(method, path) of everything under /api, from the description of the API itself."""
    paths = described()["paths"]
    return [(method.upper(), path) for path, operations in paths.items() for method in operations]


def test_every_permission_asked_for_exists_and_roles_only_grow() -> None:
    assert set(PERMISSION_OF.values()) <= EVERY_PERMISSION
    assert PERMISSIONS["viewer"] < PERMISSIONS["operator"] < PERMISSIONS["coach"] < PERMISSIONS["admin"]


@pytest.mark.parametrize(("method", "path"), api_operations())
def test_nothing_is_open_by_accident(method: str, path: str) -> None:
    security = described()["paths"][path][method.lower()].get("security")
    assert (security is None) == (path in OPEN)


async def test_strangers_get_nothing(gateway: Gateway) -> None:
    for method, path in api_operations():
        if path not in OPEN:
            answer = await gateway.http.request(method, path.format(**IDS), json={})
            assert answer.status_code == 401, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"


async def test_another_organization_sees_nothing_of_ours(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0, name=SECRET))
    await gateway.put("enrollments", enrollment_document(reason=SECRET))
    await gateway.put("sequences", {"_id": str(SEQUENCE), "name": SECRET, "created_at": NOW, "status": "active"})
    await gateway.put("sequence_versions", {"_id": f"{SEQUENCE}-1", "note": SECRET})
    await gateway.put("timeline", {"_id": 1, "lead_id": str(LEAD), "at": NOW, "kind": SECRET, "detail": {}})
    await gateway.put("tasks", {"_id": str(IDS["task_id"]), "title": SECRET, "due_at": NOW, "status": "open"})
    await gateway.put("messages", {"_id": MESSAGE, "error": SECRET, "due_at": NOW, "status": "in_doubt"})
    mail = {"_id": "m1", "organization_id": "demo", "subject": SECRET, "to": "a@b.c", "from": "x", "at": NOW}
    await gateway.own.collection("mailbox").insert_one(mail)
    letter = {"_id": LETTER, "organization_id": "demo", "body": SECRET.encode(), "died_at": NOW, "queue": "q"}
    await gateway.own.collection("dead_letters").insert_one(letter)
    gateway.write_side.answer = lambda _: Answer(ok=True, result={"events": []})
    reading = [path for method, path in api_operations() if method == "GET"]
    shown = 0
    for path in reading:
        url = path.format(**IDS)
        ours = await gateway.http.get(url, headers=gateway.key())
        theirs = await gateway.http.get(url, headers=gateway.key("other"))
        assert SECRET not in theirs.text, path
        assert ours.status_code < 500, (path, ours.text)
        shown += SECRET in ours.text
    assert shown >= 12, "the check must be able to see what it looks for"
    for method, path in (("DELETE", "ops/dead-letters/"), ("POST", "ops/dead-letters/")):
        url = f"/api/v1/{path}{LETTER}" + ("/requeue" if method == "POST" else "")
        assert (await gateway.http.request(method, url, headers=gateway.key("other"))).status_code == 404
    sent_by_others = [each for each in gateway.write_side.seen if each.organization_id == "other"]
    assert all(each.topic.startswith("query.") for each in sent_by_others)


async def test_a_viewer_changes_nothing(gateway: Gateway) -> None:
    bearer = {"Authorization": f"Bearer {await gateway.token('vera@example.com')}"}
    for method, path in api_operations():
        if method == "GET" or path in OPEN:
            continue
        answer = await gateway.http.request(method, path.format(**IDS), headers=bearer, json={})
        assert answer.status_code in {403, 422}, (method, path, answer.status_code)
        if answer.status_code == 403:
            assert answer.json()["code"] == "forbidden"
    assert gateway.write_side.seen == []


@pytest.mark.parametrize(
    "asked", [None, 5, "", "sequence", "sequence:x", "organization:other", "org:other", "lead:*", "operations:1"]
)
def test_a_room_that_is_none_is_refused(asked: object) -> None:
    assert room_for("demo", asked) is None


def test_every_room_is_within_the_organization() -> None:
    for asked in (
        "organization",
        "tasks",
        "operations",
        f"sequence:{SEQUENCE}",
        f"enrollment:{ENROLLMENT}",
        f"lead:{LEAD}",
    ):
        room = room_for("demo", asked)
        assert room is not None
        assert room.name == "org:demo" or room.name.startswith("org:demo:")
        assert room.permission in EVERY_PERMISSION
