from __future__ import annotations

import asyncio

import pytest

from services.gateway import signin
from shared.events.query import Answer
from tests.gateway.conftest import ADMIN, PASSWORD, VIEWER, Gateway
from tests.support.waiting import eventually

TOKEN = "/api/v1/auth/token"


async def test_a_member_signs_in_and_is_told_what_they_may_do(gateway: Gateway) -> None:
    token = await gateway.token(" Ada@Example.com ")
    me = (await gateway.http.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})).json()
    assert (me["id"], me["kind"], me["organization_id"], me["role"]) == (str(ADMIN), "member", "demo", "admin")
    assert "leads:erase" in me["permissions"]


async def test_strangers_and_wrong_passwords_are_refused_alike(gateway: Gateway) -> None:
    answers = [
        await gateway.http.post(TOKEN, data={"username": name, "password": "wrong"})
        for name in ("ada@example.com", "nobody@example.com")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["www-authenticate"] == "Bearer"


async def test_too_many_tries_are_refused_by_every_gateway(gateway: Gateway) -> None:
    tries = {"username": "ada@example.com", "password": "wrong"}
    answers = await asyncio.gather(*(gateway.http.post(TOKEN, data=tries) for _ in range(signin.TRIES_PER_ADDRESS + 3)))
    assert sorted(answer.status_code for answer in answers) == [401] * signin.TRIES_PER_ADDRESS + [429] * 3
    late = await gateway.http.post(TOKEN, data={"username": "ada@example.com", "password": PASSWORD})
    assert late.status_code == 429
    assert 0 < int(late.headers["retry-after"]) <= signin.WINDOW_SECONDS
    other = await gateway.http.post(TOKEN, data={"username": "vera@example.com", "password": PASSWORD})
    assert other.status_code == 200


async def test_a_refresh_token_is_used_once_and_reuse_ends_the_session(gateway: Gateway) -> None:
    first = (await gateway.http.post(TOKEN, data={"username": "ada@example.com", "password": PASSWORD})).json()
    refresh = "/api/v1/auth/refresh"
    second = await gateway.http.post(refresh, json={"refresh_token": first["refresh_token"]})
    assert second.status_code == 200
    # Long after, the used one turns up again: somebody else has it.
    tokens = gateway.own.collection("refresh_tokens")
    await tokens.update_many({"used_at": {"$ne": None}}, [{"$set": {"used_at": {"$subtract": ["$used_at", 60_000]}}}])
    stolen = await gateway.http.post(refresh, json={"refresh_token": first["refresh_token"]})
    after = await gateway.http.post(refresh, json={"refresh_token": second.json()["refresh_token"]})
    assert [stolen.status_code, after.status_code] == [401, 401]


async def test_only_hashes_of_tokens_are_stored(gateway: Gateway) -> None:
    pair = (await gateway.http.post(TOKEN, data={"username": "ada@example.com", "password": PASSWORD})).json()
    stored = await gateway.own.collection("refresh_tokens").find().to_list()
    assert pair["refresh_token"] not in str(stored)


async def test_tokens_that_are_not_ours_are_refused(gateway: Gateway) -> None:
    token = await gateway.token()
    head, body, _ = token.split(".")
    for wrong in ("x", f"{head}.{body}.", f"{head}.{body}.AAAA", "eyJhbGciOiJub25lIn0." + body + "."):
        answer = await gateway.http.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {wrong}"})
        assert answer.status_code == 401, wrong
    for headers in ({}, {"X-API-Key": "tendril_unknown"}):
        assert (await gateway.http.get("/api/v1/auth/me", headers=headers)).status_code == 401


async def test_a_revoked_key_and_a_member_put_out_are_out_within_a_second(gateway: Gateway) -> None:
    token = await gateway.token()
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await gateway.http.get("/api/v1/auth/me", headers=bearer)).status_code == 200
    organizations = gateway.views.collection("organizations.g1")
    out = {f"members.{ADMIN}.active": False, "api_keys.00000000-0000-0000-0000-000000000007.revoked": True}
    await organizations.update_one({"_id": "demo"}, {"$set": out})

    async def is_out() -> bool:
        return (await gateway.http.get("/api/v1/auth/me", headers=bearer)).status_code == 401

    await eventually(is_out, 3)
    assert (await gateway.http.get("/api/v1/auth/me", headers=gateway.key())).status_code == 401


async def pair(gateway: Gateway, email: str) -> dict[str, str]:
    answer = await gateway.http.post(TOKEN, data={"username": email, "password": PASSWORD})
    return dict(answer.json())


async def let_in(gateway: Gateway, tokens: dict[str, str]) -> tuple[int, int]:
    """Statuses of a request with the access token, and of a refresh."""
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = await gateway.http.get("/api/v1/auth/me", headers=bearer)
    again = await gateway.http.post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    return me.status_code, again.status_code


@pytest.mark.parametrize("change", [{"password": "another one"}, {"role": "viewer"}, {"active": False}])
async def test_what_was_changed_of_a_member_ends_their_sign_ins(gateway: Gateway, change: dict[str, object]) -> None:
    """The view writes ``epoch`` with each change (tests/projector); activating again brings no old sign-in back."""
    before, other = await pair(gateway, "vera@example.com"), await pair(gateway, "ada@example.com")
    organizations = gateway.views.collection("organizations.g1")
    fields = {f"members.{VIEWER}.{name}": value for name, value in change.items() if name != "password"}
    await organizations.update_one({"_id": "demo"}, {"$set": {**fields, f"members.{VIEWER}.epoch": 17}})
    if "active" in change:
        again = {f"members.{VIEWER}.active": True, f"members.{VIEWER}.epoch": 18}
        await organizations.update_one({"_id": "demo"}, {"$set": again})

    async def is_out() -> bool:
        bearer = {"Authorization": f"Bearer {before['access_token']}"}
        return (await gateway.http.get("/api/v1/auth/me", headers=bearer)).status_code == 401

    await eventually(is_out)
    assert await let_in(gateway, before) == (401, 401)
    assert await let_in(gateway, await pair(gateway, "vera@example.com")) == (200, 200)
    assert await let_in(gateway, other) == (200, 200)


async def test_who_changes_their_own_password_goes_on_with_new_tokens(gateway: Gateway) -> None:
    before = await pair(gateway, "ada@example.com")
    bearer = {"Authorization": f"Bearer {before['access_token']}"}
    gateway.write_side.answer = lambda _: Answer(ok=True, result={"organization_id": "demo"}, position="03-17")
    answer = await gateway.http.patch(f"/api/v1/members/{ADMIN}", json={"password": "a new one"}, headers=bearer)
    assert answer.status_code == 200, answer.text
    own = answer.json()
    assert own["organization_id"] == "demo"
    # Good before the view has the change, and after it.
    assert (await gateway.http.get("/api/v1/auth/me", headers=bearer)).status_code == 200
    fresh = await gateway.http.post("/api/v1/auth/refresh", json={"refresh_token": own["refresh_token"]})
    assert fresh.status_code == 200
    changed = {f"members.{ADMIN}.epoch": 17}
    await gateway.views.collection("organizations.g1").update_one({"_id": "demo"}, {"$set": changed})

    async def is_out() -> bool:
        return (await gateway.http.get("/api/v1/auth/me", headers=bearer)).status_code == 401

    await eventually(is_out)
    assert await let_in(gateway, fresh.json()) == (200, 200)
    assert await let_in(gateway, before) == (401, 401)
    another = await gateway.http.patch(
        f"/api/v1/members/{VIEWER}", json={"active": True}, headers={"Authorization": f"Bearer {own['access_token']}"}
    )
    assert another.status_code == 200
    assert "access_token" not in another.json()
