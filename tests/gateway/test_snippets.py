from __future__ import annotations

from typing import Any

import pytest

from shared.events.organization import RemoveSnippet, SetSnippet
from shared.webhook_signing import secret_of
from tests.gateway.conftest import ROLES, Gateway

SNIPPETS = "/api/v1/snippets"


async def have(gateway: Gateway, **snippets: dict[str, Any]) -> None:
    await gateway.views.collection("organizations.g1").update_one({"_id": "demo"}, {"$set": {"snippets": snippets}})


async def test_snippets_are_listed_made_changed_and_removed(gateway: Gateway) -> None:
    headers = gateway.key()
    assert (await gateway.http.get(SNIPPETS, headers=headers)).json() == {"items": []}
    await have(gateway, footer={"text": "Bye", "html": "<p>Bye</p>"})
    listed = await gateway.http.get(SNIPPETS, headers=headers)
    assert listed.json()["items"] == [{"id": "footer", "name": "footer", "text": "Bye", "html": "<p>Bye</p>"}]
    made = await gateway.http.post(SNIPPETS, json={"name": "greeting", "text": "Hi"}, headers=headers)
    assert (made.status_code, made.json()["id"]) == (201, "greeting")
    await gateway.http.patch(f"{SNIPPETS}/footer", json={"text": "Good bye"}, headers=headers)
    await gateway.http.patch(f"{SNIPPETS}/footer", json={"html": None}, headers=headers)
    await gateway.http.delete(f"{SNIPPETS}/footer", headers=headers)
    assert [envelope.message for envelope in gateway.write_side.seen] == [
        SetSnippet(name="greeting", text="Hi", new=True),
        SetSnippet(name="footer", text="Good bye", html="<p>Bye</p>"),
        SetSnippet(name="footer", text="Bye"),
        RemoveSnippet(name="footer"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("POST", "", {"name": "footer", "text": "x"}, 409, "name"),
        ("POST", "", {"name": "Two Words", "text": "x"}, 422, "name"),
        ("POST", "", {"name": "empty", "text": ""}, 422, "text"),
        ("PATCH", "/footer", {}, 422, "body"),
        ("PATCH", "/footer", {"text": None}, 422, "body"),
        ("PATCH", "/nothing", {"text": "x"}, 404, None),
    ],
)
async def test_bad_input_names_its_field(
    gateway: Gateway, method: str, path: str, body: dict[str, Any], status: int, field: str | None
) -> None:
    await have(gateway, footer={"text": "Bye", "html": None})
    answer = await gateway.http.request(method, SNIPPETS + path, json=body, headers=gateway.key())
    assert answer.status_code == status
    assert [error["field"] for error in answer.json()["errors"]] == ([field] if field else [])
    assert gateway.write_side.seen == []


async def test_what_approved_messages_say_is_changed_by_an_approver_alone(gateway: Gateway) -> None:
    await have(gateway, footer={"text": "Bye", "html": None})
    for role in ROLES:
        status = 200 if role in {"coach", "admin"} else 403
        headers = gateway.key_of(role)
        changed = await gateway.http.patch(f"{SNIPPETS}/footer", json={"text": role}, headers=headers)
        removed = await gateway.http.delete(f"{SNIPPETS}/footer", headers=headers)
        assert (changed.status_code, removed.status_code) == (status, status), role
    said = [envelope.message for envelope in gateway.write_side.seen]
    assert said == [
        SetSnippet(name="footer", text="coach"),
        RemoveSnippet(name="footer"),
        SetSnippet(name="footer", text="admin"),
        RemoveSnippet(name="footer"),
    ]
    made = await gateway.http.post(SNIPPETS, json={"name": "new", "text": "x"}, headers=gateway.key_of("operator"))
    assert made.status_code == 201


async def test_an_organization_learns_the_secret_of_its_own_webhooks(gateway: Gateway) -> None:
    answers = [await gateway.http.get("/api/v1/webhooks/secret", headers=gateway.key(o)) for o in ("demo", "other")]
    newest = "first-secret-key-0123456789"
    assert [answer.json()["secret"] for answer in answers] == [secret_of(newest, o) for o in ("demo", "other")]
