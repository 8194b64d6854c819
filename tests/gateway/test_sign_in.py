from __future__ import annotations

import asyncio

from services.gateway import signin
from tests.gateway.conftest import ADMIN, PASSWORD, Gateway
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
