"""Bad input, missing servers, and what surrounds the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from services.gateway.app import create_app
from services.gateway.deadletters import EXCERPT
from services.gateway.erasure import Erasure
from services.gateway.openapi import document
from services.gateway.parameters import known_parameters
from services.gateway.wiring import build
from shared.clock import SystemClock
from shared.events.organization import RecordDeed
from shared.messaging.publisher import Publisher
from shared.persistence.erasure import KEPT_BY_GATEWAY
from shared.settings import load_settings
from tendril.embedded.ports import free_port
from tests.gateway.conftest import LEAD, NOW, SEQUENCE, Gateway
from tests.support.waiting import eventually


async def _endless() -> AsyncIterator[bytes]:
    for _ in range(200):
        yield b" " * 10_000


REFUSALS = [
    ("POST", "/api/v1/leads", b"{", 400, "malformed_json"),
    ("POST", "/api/v1/leads", b"\xff\xfe", 400, "malformed"),
    ("POST", "/api/v1/leads", b"[]", 422, "invalid"),
    ("POST", "/api/v1/leads", b'{"lead": {"email": 5}}', 422, "invalid"),
    ("POST", "/api/v1/leads", b'{"lead": {"company": "x"}}', 422, "invalid"),
    ("POST", "/api/v1/leads", b" " * ((1 << 20) + 1), 413, "too_large"),
    ("POST", "/api/v1/leads", None, 413, "too_large"),
    ("GET", "/api/v1/nothing", b"", 404, "not_found"),
    ("PUT", "/api/v1/leads", b"", 405, "method_not_allowed"),
    ("GET", "/api/v1/leads/not-a-uuid", b"", 422, "invalid"),
    ("GET", "/api/v1/leads?limit=0", b"", 422, "invalid"),
    ("GET", f"/api/v1/leads/{LEAD}", b"", 404, "not_found"),
    ("POST", "/api/v1/sequences", b'{"name": "x", "steps": [{"kind": "email", "config": {}}]}', 422, "invalid"),
]


async def test_every_refusal_is_a_problem_document(gateway: Gateway) -> None:
    for method, path, content, status, code in REFUSALS:
        headers = {**gateway.key(), "Content-Type": "application/json"}
        sent = _endless() if content is None else content
        answer = await gateway.http.request(method, path, content=sent, headers=headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["code"].startswith(code)
        assert problem["status"] == status
        assert problem["type"] == f"urn:tendril:problem:{problem['code']}"
        if status == 422:
            assert all(error["field"] and error["problem"] for error in problem["errors"])
    assert gateway.write_side.seen == []


async def test_a_misspelled_parameter_is_refused_by_name_and_not_passed_over(gateway: Gateway) -> None:
    for path, takes in (("/api/v1/enrollments", "lead_id"), ("/api/v1/organization", "min_position")):
        answer = await gateway.http.get(path, params={"stauts": "active", "limits": 5}, headers=gateway.key())
        assert answer.status_code == 422, answer.text
        assert [each["field"] for each in answer.json()["errors"]] == ["limits", "stauts"]
        assert takes in answer.json()["errors"][0]["problem"]
    assert (await gateway.http.get("/healthz", params={"whatever": 1})).status_code == 200


def test_what_a_request_takes_is_what_its_description_says() -> None:
    app = create_app(None)
    described = {
        operation["operationId"]: {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
        for operations in app.openapi()["paths"].values()
        for operation in operations.values()
    }
    known = {
        f"{each.__module__.rpartition('.')[2]}_{each.__name__}": names for each, names in known_parameters(app).items()
    }
    assert {name: known[name] for name in described} == described


async def test_without_servers_it_answers_503_and_when_to_come_back(tmp_path: Path, stack: AsyncExitStack) -> None:
    settings = load_settings(
        {},
        amqp_url=f"amqp://guest:guest@127.0.0.1:{free_port()}/",
        mongo_url=f"mongodb://127.0.0.1:{free_port()}/test",
        home=tmp_path,
        gateway_port=free_port(),
        secret_keys="a-secret-key-of-some-length",
    )
    service = await build(settings, SystemClock(), dist=tmp_path)
    await service.start()
    stack.push_async_callback(service.close)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.gateway_port}", timeout=20) as http:
        answer = await http.get("/api/v1/leads", headers={"X-API-Key": "k"})
        assert (answer.status_code, answer.json()["code"]) == (503, "database_away")
        assert int(answer.headers["retry-after"]) > 0
        assert (await http.get("/healthz")).status_code == 200
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"] == {"rabbitmq": False, "mongodb": False}


async def test_the_web_app_its_pages_and_headers(gateway: Gateway) -> None:
    page = await gateway.http.get("/")
    assert page.text.startswith("<!doctype html>")
    assert page.headers["cache-control"] == "no-cache"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    deep = await gateway.http.get("/mailbox/5f3")
    assert deep.text == page.text
    asset = await gateway.http.get("/assets/index-abc123.js")
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["x-content-type-options"] == "nosniff"
    for path in ("/assets/gone-1.js", "/../secret.txt", "/%2e%2e/%2e%2e/etc/passwd.txt", "/api/nothing"):
        assert (await gateway.http.get(path)).status_code == 404, path
    assert (await gateway.http.get("/readyz")).json()["status"] == "ready"
    assert "tendril_http_seconds" in (await gateway.http.get("/metrics")).text
    docs = await gateway.http.get("/docs")
    assert "<title>API</title>" in docs.text
    assert docs.headers["content-security-policy"] == page.headers["content-security-policy"]
    assert (await gateway.http.get("/openapi.json")).json()["info"]["title"] == "Tendril"


def test_the_description_is_the_same_at_every_run() -> None:
    assert document() == document()


async def test_dead_letters_are_drained_shown_requeued_and_dropped(
    gateway: Gateway, amqp_url: str, stack: AsyncExitStack
) -> None:
    publisher = Publisher(amqp_url, name="funnel")
    await publisher.start()
    stack.push_async_callback(publisher.close)
    body = b'{"organization_id": "demo", "lead": {"email": 5}}'
    await publisher.publish_body(
        "tendril.leads", "lead.created", body, content_type="application/json", message_id="m-1"
    )
    path = "/api/v1/ops/dead-letters"

    async def letters() -> list[dict[str, object]]:
        items: list[dict[str, object]] = (await gateway.http.get(path, headers=gateway.key())).json()["items"]
        return items

    [letter] = await eventually(letters)
    assert (letter["message_id"], letter["queue"], letter["reason"]) == ("m-1", "enrollment.leads", "invalid")
    assert letter["reasons"] == [{"field": "lead.email", "problem": "Input should be a valid string"}]
    assert letter["body"] == body.decode()
    first_id = letter["id"]
    assert (await gateway.http.post(f"{path}/{first_id}/requeue", headers=gateway.key())).status_code == 200

    async def again() -> list[dict[str, object]]:
        return [each for each in await letters() if each["id"] != first_id]

    [second] = await eventually(again)
    assert second["message_id"] == "m-1"
    assert (await gateway.http.delete(f"{path}/{second['id']}", headers=gateway.key())).status_code == 200
    assert (await gateway.http.get(f"{path}/{second['id']}", headers=gateway.key())).status_code == 404
    deeds = [each.message for each in gateway.write_side.seen]
    requeued = RecordDeed(deed="dead_letter_requeued", target=str(first_id))
    assert deeds == [requeued, RecordDeed(deed="dead_letter_dropped", target=str(second["id"]))]


async def test_a_list_of_dead_letters_holds_beginnings_only(gateway: Gateway) -> None:
    body = b"x" * 100_000
    letter = {"_id": "l1", "organization_id": "demo", "body": body, "excerpt": "x" * EXCERPT, "size": len(body)}
    await gateway.own.collection("dead_letters").insert_one({**letter, "died_at": NOW, "queue": "q"})
    path = "/api/v1/ops/dead-letters"
    [listed] = (await gateway.http.get(path, headers=gateway.key())).json()["items"]
    assert (len(listed["body"]), listed["size"]) == (EXCERPT, len(body))
    whole = (await gateway.http.get(f"{path}/l1", headers=gateway.key())).json()
    assert len(whole["body"]) == len(body)


async def test_queues_views_and_jobs(gateway: Gateway) -> None:
    queues = (await gateway.http.get("/api/v1/ops/queues", headers=gateway.key())).json()["items"]
    assert {"name": "enrollment.commands", "messages": 0, "consumers": 1} in queues
    views = (await gateway.http.get("/api/v1/ops/views", headers=gateway.key())).json()["items"]
    assert "leads" in [view["name"] for view in views]
    begun = await gateway.http.post("/api/v1/ops/views/leads/verify", headers=gateway.key())
    assert begun.status_code == 202
    job = (await gateway.http.get(f"/api/v1/jobs/{begun.json()['job_id']}", headers=gateway.key())).json()
    assert (job["kind"], job["view"], job["state"]) == ("verify", "leads", "queued")
    assert (await gateway.http.post("/api/v1/ops/views/x/verify", headers=gateway.key())).status_code == 404
    assert (await gateway.http.post("/api/v1/ops/views/x/rebuild", headers=gateway.key())).status_code == 404
    assert not gateway.write_side.seen
    assert (await gateway.http.post("/api/v1/ops/views/leads/rebuild", headers=gateway.key())).status_code == 202
    assert [each.message for each in gateway.write_side.seen] == [RecordDeed(deed="view_rebuilt", target="leads")]


async def test_a_client_that_leaves_breaks_nothing(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /api/v1/leads HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
    await writer.drain()
    writer.close()
    assert reader is not None
    assert (await gateway.http.get("/healthz")).status_code == 200


async def test_what_is_kept_of_an_erased_lead_goes(gateway: Gateway) -> None:
    other = str(SEQUENCE)
    await gateway.put("leads", {"_id": str(LEAD), "erased": True}, {"_id": other, "erased": False})
    database = gateway.service.parts.database
    for name in KEPT_BY_GATEWAY:
        kept = [{"_id": f"{name}{number}", "lead_id": of} for number, of in enumerate((str(LEAD), other, None))]
        await database.collection(name).insert_many(kept)
    assert await Erasure(database, gateway.service.parts.views).sweep() == len(KEPT_BY_GATEWAY)
    for name in KEPT_BY_GATEWAY:
        assert [each["lead_id"] for each in await database.collection(name).find({}).to_list()] == [other, None]
