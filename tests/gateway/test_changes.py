from __future__ import annotations

import asyncio

from shared.events import Envelope
from shared.events.enrollment import AdvanceEnrollment, PauseEnrollment, RestartEnrollment
from shared.events.lead import LeadCreated
from shared.events.organization import ReleaseSender, SetCalendar
from shared.events.query import Answer, Problem
from shared.events.sequence import ReleaseSequence
from tests.gateway.conftest import ADMIN, ENROLLMENT, LEAD, Gateway

PAUSE = f"/api/v1/enrollments/{ENROLLMENT}/pause"
TAGS = f"/api/v1/leads/{LEAD}/tags"


async def test_an_order_carries_its_actor_and_answers_with_a_position(gateway: Gateway) -> None:
    bearer = {"Authorization": f"Bearer {await gateway.token()}"}
    answer = await gateway.http.post(PAUSE, headers=bearer)
    assert (answer.status_code, answer.headers["tendril-position"]) == (200, "03-17")
    [envelope] = gateway.write_side.seen
    assert envelope.message == PauseEnrollment(enrollment_id=ENROLLMENT)
    assert (envelope.actor, envelope.organization_id) == (f"member:{ADMIN}", "demo")


async def test_a_refusal_of_the_domain_is_a_problem_document(gateway: Gateway) -> None:
    problem = Problem(code="enrollment_closed", title="Closed", detail="it has ended", status=409)
    gateway.write_side.answer = lambda _: Answer(ok=False, problem=problem)
    answer = await gateway.http.post(PAUSE, headers=gateway.key())
    assert (answer.status_code, answer.json()["code"]) == (409, "enrollment_closed")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_lead_goes_through_the_funnels_intake(gateway: Gateway) -> None:
    gateway.write_side.answer = lambda _: Answer(ok=True, result={"lead_id": str(LEAD)}, position="01-2")
    body = {"funnel_id": "web", "lead": {"email": "new@example.com", "plan": "gold"}}
    answer = await gateway.http.post("/api/v1/leads", json=body, headers=gateway.key())
    assert (answer.status_code, answer.json()) == (201, {"lead_id": str(LEAD)})
    message = gateway.write_side.seen[0].message
    assert isinstance(message, LeadCreated)
    assert (message.organization_id, message.lead.custom_fields) == ("demo", {"plan": "gold"})


async def test_the_same_key_gets_the_same_answer_and_another_body_is_refused(gateway: Gateway) -> None:
    headers = {**gateway.key(), "Idempotency-Key": "k-1"}
    first = await gateway.http.post(TAGS, json={"add": ["a"]}, headers=headers)
    again = await gateway.http.post(TAGS, json={"add": ["a"]}, headers=headers)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["tendril-position"] == first.headers["tendril-position"]
    assert len(gateway.write_side.seen) == 1
    other = await gateway.http.post(TAGS, json={"add": ["b"]}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    elsewhere = await gateway.http.post(PAUSE, headers=headers)
    assert elsewhere.status_code == 200
    stranger = await gateway.http.post(TAGS, json={"add": ["b"]}, headers={**headers, **gateway.key("other")})
    assert stranger.status_code == 200
    assert len({envelope.id for envelope in gateway.write_side.seen}) == len(gateway.write_side.seen) == 3


async def test_the_same_key_while_the_first_runs_is_a_conflict(gateway: Gateway) -> None:
    arrived = asyncio.Event()

    def silent(_: Envelope) -> None:
        arrived.set()

    gateway.write_side.answer = silent
    headers = {**gateway.key(), "Idempotency-Key": "k-2"}
    running = asyncio.create_task(gateway.http.post(TAGS, json={"add": ["a"]}, headers=headers, timeout=20))
    await asyncio.wait_for(arrived.wait(), 5)
    second = await gateway.http.post(TAGS, json={"add": ["a"]}, headers=headers)
    assert (second.status_code, second.json()["code"]) == (409, "request_running")
    assert (await running).status_code == 503
    gateway.write_side.answer = lambda _: Answer(ok=True, result={}, position="00-1")
    third = await gateway.http.post(TAGS, json={"add": ["a"]}, headers=headers)
    assert third.status_code == 200
    ids = [envelope.id for envelope in gateway.write_side.seen]
    assert len(set(ids)) == 1, "who asks again sends the same order"


async def test_a_keys_secret_is_shown_once_and_stored_nowhere(gateway: Gateway) -> None:
    headers = {**gateway.key(), "Idempotency-Key": "k-3"}
    body = {"name": "crm", "role": "operator", "scopes": ["leads:write"]}
    answer = await gateway.http.post("/api/v1/api-keys", json=body, headers=headers)
    secret = answer.json()["key"]
    assert answer.status_code == 201
    again = await gateway.http.post("/api/v1/api-keys", json=body, headers=headers)
    assert (again.status_code, again.json()["code"]) == (409, "already_done")
    stored = await gateway.own.collection("idempotency").find().to_list()
    assert secret not in str(stored)
    assert secret not in str(gateway.write_side.seen)
    bad = await gateway.http.post("/api/v1/api-keys", json={**body, "scopes": ["all"]}, headers=gateway.key())
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "scopes")


async def test_a_password_never_travels(gateway: Gateway) -> None:
    body = {"email": "new@example.com", "role": "coach", "password": "long enough"}
    assert (await gateway.http.post("/api/v1/members", json=body, headers=gateway.key())).status_code == 201
    assert "long enough" not in str(gateway.write_side.seen)


async def test_going_on_by_hand_and_beginning_again_are_orders(gateway: Gateway) -> None:
    url = f"/api/v1/enrollments/{ENROLLMENT}"
    plain = await gateway.http.post(f"{url}/advance", headers=gateway.key())
    said = await gateway.http.post(f"{url}/advance", json={"skip": "step", "force_window": True}, headers=gateway.key())
    again = await gateway.http.post(f"{url}/restart", headers=gateway.key())
    assert (plain.status_code, said.status_code, again.status_code) == (200, 200, 201)
    assert [envelope.message for envelope in gateway.write_side.seen] == [
        AdvanceEnrollment(enrollment_id=ENROLLMENT),
        AdvanceEnrollment(enrollment_id=ENROLLMENT, skip="step", force_window=True),
        RestartEnrollment(enrollment_id=ENROLLMENT),
    ]
    wrong = await gateway.http.post(f"{url}/advance", json={"skip": "all"}, headers=gateway.key())
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "skip")


async def test_days_off_are_set_by_an_admin_and_listed(gateway: Gateway) -> None:
    body = {"holidays": "DE-BY", "days_off": [{"first": "2026-12-24", "last": "2026-12-31", "name": "Closed"}]}
    answer = await gateway.http.put("/api/v1/calendars/sender:default", json=body, headers=gateway.key())
    assert answer.status_code == 200
    message = gateway.write_side.seen[-1].message
    assert isinstance(message, SetCalendar)
    assert (message.calendar, message.holidays, message.days_off[0].name) == ("sender:default", "DE-BY", "Closed")
    await gateway.http.delete("/api/v1/calendars/sender:default", headers=gateway.key())
    assert gateway.write_side.seen[-1].message == SetCalendar(calendar="sender:default")
    listed = await gateway.http.get("/api/v1/calendars", headers=gateway.key())
    assert (listed.status_code, listed.json()) == (200, {"items": []})
    for path, wrong, field in (
        ("everybody", {}, "calendar"),
        ("organization", {"days_off": [{"first": "2026-12-24", "last": "2026-12-01"}]}, "days_off[0]"),
        ("organization", {"days_off": [{"first": "soon"}]}, "days_off[0].first"),
    ):
        refused = await gateway.http.put(f"/api/v1/calendars/{path}", json=wrong, headers=gateway.key())
        assert refused.status_code == 422
        assert any(field in error["field"] for error in refused.json()["errors"])


async def test_what_has_stopped_itself_is_released_by_an_order(gateway: Gateway) -> None:
    for url in (f"sequences/{LEAD}", "senders/default"):
        answer = await gateway.http.post(f"/api/v1/{url}/release", headers=gateway.key())
        assert answer.status_code == 200
    assert [envelope.message for envelope in gateway.write_side.seen] == [
        ReleaseSequence(sequence_id=LEAD),
        ReleaseSender(sender_id="default"),
    ]
