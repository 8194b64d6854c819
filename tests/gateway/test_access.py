"""Every route, room and query, asked by a stranger, by another organization, and by somebody without the right."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.gateway.access import EVERY_PERMISSION, PERMISSIONS, ROOM_KINDS, WIDE_ROOMS, room_for
from services.gateway.app import create_app, permissions
from shared.events.organization import RecordDeed, Role
from shared.events.query import Answer
from tests.gateway.conftest import (
    ADMIN,
    ENROLLMENT,
    LEAD,
    NOW,
    ROLES,
    SEQUENCE,
    VIEWER,
    Gateway,
    enrollment_document,
    lead_document,
)
from tests.gateway.in_process import InProcess, asked_by

OPEN = {"/api/v1/auth/token", "/api/v1/auth/refresh", "/api/v1/forms/{form_key}"}
FOR_ALL = {"/api/v1/auth/me"}
MESSAGE = f"{ENROLLMENT}-1"
LETTER = "l" * 32


class Ids(dict[str, object]):
    """What stands for a path's parameters; another thing's id for those not named here."""

    def __missing__(self, name: str) -> object:
        return UUID(int=8)


IDS = Ids(
    {
        "sequence_id": SEQUENCE,
        "enrollment_id": ENROLLMENT,
        "lead_id": LEAD,
        "task_id": UUID(int=9),
        "draft_id": UUID(int=12),
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
        "template_id": UUID(int=99),
        "bulk_id": UUID(int=11),
        "funnel_id": "webinar",
        "form_key": "k" * 22,
    }
)
SECRET = "only-for-demo"


@cache
def described() -> dict[str, Any]:
    """The API's own description."""
    return create_app(None).openapi()


def api_operations() -> list[tuple[str, str]]:
    """(method, path) of everything under /api, from the description of the API itself."""
    paths = described()["paths"]
    return [(method.upper(), path) for path, operations in paths.items() for method in operations]


#: The least role that has each permission: what a role may do is decided here, once more and by hand.
LEAST: dict[Role, set[str]] = {
    "viewer": {
        "sequences:read",
        "enrollments:read",
        "leads:read",
        "tasks:read",
        "messages:read",
        "metrics:read",
        "mailbox:read",
        "organization:read",
        "notifications:read",
    },
    "operator": {
        "sequences:write",
        "enrollments:write",
        "leads:write",
        "tasks:write",
        "messages:resolve",
        "operations:read",
    },
    "coach": {"sequences:approve", "suppressions:write", "leads:export"},
    "admin": {
        "members:read",
        "members:write",
        "api_keys:read",
        "api_keys:write",
        "organization:write",
        "leads:erase",
        "operations:write",
        "audit:read",
    },
}
TABLE = Path(__file__).resolve().parents[2] / "docs/reference/permissions.md"


def test_roles_only_grow_and_hold_what_is_decided() -> None:
    held: set[str] = set()
    for role in ROLES:
        assert not held & LEAST[role]
        held |= LEAST[role]
        assert PERMISSIONS[role] == held


def test_every_route_asks_for_a_permission_that_exists() -> None:
    for method, path, permission in permissions(create_app(None)):
        if path in OPEN | FOR_ALL:
            assert permission is None
        else:
            assert permission in EVERY_PERMISSION, f"{method} {path} asks for no permission"


#: Own marks; orders whose kind says what they need; questions that are too long for an address.
NO_CHANGE = ("/notifications/read", "/bulks", "/test", "/preview", "/simulate", "/backtest", "/validate")


def test_nothing_that_changes_is_done_with_a_permission_to_read() -> None:
    for method, path, permission in permissions(create_app(None)):
        if method != "GET" and path not in OPEN and not path.endswith(NO_CHANGE):
            assert not str(permission).endswith(":read"), f"{method} {path}"


def test_the_published_table_has_every_route_and_room() -> None:
    table = TABLE.read_text()
    for method, path, permission in permissions(create_app(None)):
        assert f"| `{method} {path}` | {permission or 'none'} |" in table, f"{method} {path}: run `make docs`"
    for kind in ROOM_KINDS:
        assert f"| `{kind}" in table


async def test_every_route_is_open_to_the_roles_that_the_table_names_and_to_no_other() -> None:
    gateway = InProcess()
    for method, path, permission in permissions(gateway.app):
        if path in OPEN:
            continue
        for role in ROLES:
            url = path.format_map(gateway.domain.ids)
            answer = await gateway.http.request(method, url, headers=asked_by("demo", role), json={})
            if permission is None or permission in PERMISSIONS[role]:
                assert answer.status_code not in {401, 403}, (method, path, role)
                assert answer.status_code < 500, (method, path, role, answer.text)
            else:
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path, role)
    await gateway.http.aclose()


async def test_a_key_may_do_what_its_scopes_say_and_gives_away_no_more(gateway: Gateway) -> None:
    scopes = {f"api_keys.{IDS['key_id']}.scopes": ["leads:read", "api_keys:write", "members:write"]}
    await gateway.views.collection("organizations.g1").update_one({"_id": "demo"}, {"$set": scopes})
    headers = gateway.key()
    assert (await gateway.http.get("/api/v1/leads", headers=headers)).status_code == 200
    assert (await gateway.http.get("/api/v1/tasks", headers=headers)).status_code == 403
    for path, body, status in (
        ("api-keys", {"name": "all", "role": "admin"}, 403),
        ("api-keys", {"name": "more", "role": "admin", "scopes": ["leads:read", "tasks:read"]}, 403),
        ("api-keys", {"name": "less", "role": "admin", "scopes": ["leads:read"]}, 201),
        ("members", {"email": "new@example.com", "role": "viewer"}, 403),
    ):
        answer = await gateway.http.post(f"/api/v1/{path}", json=body, headers=headers)
        assert answer.status_code == status, (path, body, answer.text)
    mightier = await gateway.http.patch(f"/api/v1/members/{ADMIN}", json={"password": "a new one"}, headers=headers)
    assert mightier.status_code == 403
    assert len(gateway.write_side.seen) == 1


async def test_who_may_give_tasks_and_leads_away_sees_to_whom(gateway: Gateway) -> None:
    organizations = gateway.views.collection("organizations.g1")
    await organizations.update_one({"_id": "demo"}, {"$set": {f"members.{VIEWER}.active": False}})
    short = {"id", "name", "active"}
    for role in ROLES:
        answer = await gateway.http.get("/api/v1/members", headers=gateway.key_of(role))
        assert answer.status_code == 200, answer.text
        found = {each["id"]: each for each in answer.json()["items"]}
        assert {each: row["active"] for each, row in found.items()} == {str(ADMIN): True, str(VIEWER): False}
        fields = {name for row in found.values() for name in row}
        assert fields == short if role != "admin" else fields > short
    for scope, status in (("members:read", 200), ("tasks:read", 200), ("leads:read", 403)):
        scopes = {f"api_keys.{IDS['key_id']}.scopes": [scope]}
        await organizations.update_one({"_id": "demo"}, {"$set": scopes})
        assert (await gateway.http.get("/api/v1/members", headers=gateway.key())).status_code == status


async def test_the_feed_says_no_personal_word_to_who_may_not_read_leads(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0, name=SECRET))
    entry = {"_id": 1, "lead_id": str(LEAD), "at": NOW, "kind": "lead.email_logged", "detail": {"direction": "inbound"}}
    await gateway.put("timeline", {**entry, "personal": {"subject": SECRET, "body": SECRET}})
    feed = "/api/v1/activities"
    assert SECRET in (await gateway.http.get(feed, headers=gateway.key_of("viewer"))).text
    scopes = {f"api_keys.{IDS['key_id']}.scopes": ["metrics:read"]}
    await gateway.views.collection("organizations.g1").update_one({"_id": "demo"}, {"$set": scopes})
    shown = await gateway.http.get(feed, headers=gateway.key())
    [item] = shown.json()["items"]
    assert SECRET not in shown.text
    assert (item["title"], item["lead_name"], item["detail"]) == ("E-mail", None, {"direction": "inbound"})
    searched = await gateway.http.get(feed, params={"q": SECRET}, headers=gateway.key())
    assert searched.status_code == 403


@pytest.mark.parametrize(("method", "path"), api_operations())
def test_nothing_is_open_by_accident(method: str, path: str) -> None:
    security = described()["paths"][path][method.lower()].get("security")
    assert (security is None) == (path in OPEN)


async def test_strangers_get_nothing(gateway: Gateway) -> None:
    for method, path in api_operations():
        if path not in OPEN:
            answer = await gateway.http.request(method, path.format_map(IDS), json={})
            assert answer.status_code == 401, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"


async def test_another_organization_sees_nothing_of_ours(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0, name=SECRET))
    await gateway.put("enrollments", enrollment_document(reason=SECRET))
    await gateway.put("sequences", {"_id": str(SEQUENCE), "name": SECRET, "created_at": NOW, "status": "active"})
    definition = {"name": SECRET, "steps": []}
    await gateway.put("sequence_versions", {"_id": f"{SEQUENCE}-1", "note": SECRET, "definition": definition})
    await gateway.put("timeline", {"_id": 1, "lead_id": str(LEAD), "at": NOW, "kind": SECRET, "detail": {}})
    task = {"title": SECRET, "due_at": NOW, "status": "open"}
    await gateway.put("tasks", {"_id": str(IDS["task_id"]), "draft": False, **task})
    await gateway.put("tasks", {"_id": str(IDS["draft_id"]), "draft": True, **task})
    message = {"_id": MESSAGE, "error": SECRET, "due_at": NOW, "status": "in_doubt", "position": "00-1"}
    sent = {"enrollment_id": str(IDS["enrollment_id"]), "execution": 1, "step_id": "welcome", "attempts": []}
    whose = {"lead_id": str(LEAD), "sequence_id": str(SEQUENCE), "channel": "email"}
    await gateway.put("messages", {**message, **sent, **whose})
    mail = {"_id": "m1", "organization_id": "demo", "subject": SECRET, "to": "a@b.c", "from": "x", "at": NOW}
    await gateway.own.collection("mailbox").insert_one(mail)
    letter = {"_id": LETTER, "organization_id": "demo", "body": SECRET.encode(), "died_at": NOW, "queue": "q"}
    await gateway.own.collection("dead_letters").insert_one(letter)
    why: dict[str, Any] = {"lead_id": str(LEAD), "sequence_id": None, "step_id": None, "answers": [], "items": []}
    gateway.write_side.answer = lambda _: Answer(ok=True, result={"events": [], **why})
    facts = {"content_type": "text/plain", "size": 1, "sha256": "0" * 64, "removed": False, "added_at": NOW}
    await gateway.put("attachments", {"_id": str(IDS["attachment_id"]), "name": SECRET, **facts})
    reading = [path for method, path in api_operations() if method == "GET"]
    shown = 0
    for path in reading:
        url = path.format_map(IDS)
        ours = await gateway.http.get(url, headers=gateway.key())
        theirs = await gateway.http.get(url, headers=gateway.key("other"))
        assert SECRET not in theirs.text, path
        assert ours.status_code < 500, (path, ours.text)
        shown += SECRET in ours.text
    assert shown >= 13, "the check must be able to see what it looks for"
    for method, path in (("DELETE", "ops/dead-letters/"), ("POST", "ops/dead-letters/")):
        url = f"/api/v1/{path}{LETTER}" + ("/requeue" if method == "POST" else "")
        assert (await gateway.http.request(method, url, headers=gateway.key("other"))).status_code == 404
    sent_by_others = [each for each in gateway.write_side.seen if each.organization_id == "other"]
    asked = [each for each in sent_by_others if not isinstance(each.message, RecordDeed)]  # their own export is theirs
    assert all(each.topic.startswith("query.") for each in asked)


@pytest.mark.parametrize(
    "asked", [None, 5, "", "sequence", "sequence:x", "organization:other", "org:other", "lead:*", "operations:1"]
)
def test_a_room_that_is_none_is_refused(asked: object) -> None:
    assert room_for("demo", asked) is None


def test_every_room_is_within_the_organization() -> None:
    for kind in ROOM_KINDS:
        asked = kind if kind in WIDE_ROOMS else f"{kind}:{LEAD}"
        room = room_for("demo", asked)
        assert room is not None
        assert room.name == "org:demo" or room.name.startswith("org:demo:")
        assert room.permission in EVERY_PERMISSION
