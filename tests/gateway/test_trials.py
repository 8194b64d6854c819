"""Trying a sequence over HTTP: what is asked of the write side, and what is refused before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from services.gateway.routes.trials import TESTS_PER_CALLER
from shared.events import Envelope
from shared.events.dispatch import SendTest
from shared.events.query import Answer, QueryDryRun, QueryStartBacktest, QueryStartForecast, QueryTestMessage
from tests.dispatcher.making import dressed
from tests.gateway.conftest import ENROLLMENT, LEAD, NOW, SEQUENCE, Gateway, enrollment_document, lead_document


async def test_a_dry_run_is_asked_of_the_write_side_and_names_wrong_fields(gateway: Gateway) -> None:
    told = {"steps": [], "ends_at": None, "ended_by": "refused", "warnings": ["no"]}
    gateway.write_side.answer = lambda _: Answer(ok=True, result=told)
    route = f"/api/v1/sequences/{SEQUENCE}/test"
    body: dict[str, Any] = {
        "lead": {"email": "a@example.com"},
        "from": "2026-11-20T09:00:00+01:00",
        "signals": [{"signal": "opened", "step": "welcome", "after_minutes": 5}],
    }
    answer = await gateway.http.post(route, json=body, headers=gateway.key())
    assert (answer.status_code, answer.json()) == (200, told)
    question = gateway.write_side.seen[-1].message
    assert isinstance(question, QueryDryRun)
    assert (question.organization_id, question.from_) == ("demo", datetime(2026, 11, 20, 8, 0, tzinfo=UTC))
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({}, "body"),
        ({"lead": {}, "lead_id": str(LEAD)}, "body"),
        ({"lead": {}, "signals": [{"signal": "opened"}]}, "signals[0]"),
        ({"lead": {}, "definition": {"name": "x", "steps": []}}, "definition.steps"),
    ]
    for wrong, field in mistakes:
        refused = await gateway.http.post(route, json=wrong, headers=gateway.key())
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == field, refused.text


async def test_a_coach_reads_names_in_a_dry_run(gateway: Gateway) -> None:
    why = {"rule": "condition", "inputs": {"opened welcome": False}, "text": "…", "names": {"opened welcome": "opened"}}
    named = {"step_id": "welcome", "step_name": "Welcome", "step_number": 1, "kind": "email", "why": why}
    times = {"at": "2026-11-20T10:00:00Z", "local_at": "10:00", "outcome": "skips", "arm": None, "content": None}
    told = {"steps": [{**named, **times}], "ends_at": None, "ended_by": None, "warnings": []}
    gateway.write_side.answer = lambda _: Answer(ok=True, result=told)
    url = f"/api/v1/sequences/{SEQUENCE}/test"
    answer = await gateway.http.post(url, json={"lead": {"email": "a@example.com"}}, headers=gateway.key())
    assert (answer.status_code, answer.json()) == (200, told)


async def test_a_coach_reads_names_in_an_enrollment_of_then(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0))
    await gateway.put("enrollments", enrollment_document())
    why = {"rule": "brake", "inputs": {"blocked_on": "brake:sender:a"}, "text": "…", "names": {"blocked_on": "Ada"}}
    told = {
        "current_step": "welcome",
        "current_step_name": "Welcome",
        "current_step_number": 1,
        "waiting_for": {"kind": "brake", "until": None, "why": why},
        "next": {"step_id": "welcome", "at": None, "step_number": 1, "step_name": "Welcome"},
    }
    gateway.write_side.answer = lambda _: Answer(ok=True, result=told)
    url = f"/api/v1/enrollments/{ENROLLMENT}"
    answer = await gateway.http.get(url, params={"version": 1}, headers=gateway.key())
    assert answer.status_code == 200, answer.text
    assert {name: answer.json()[name] for name in told} == told


async def begun(gateway: Gateway, what: str, body: dict[str, Any]) -> Any:
    return await gateway.http.post(f"/api/v1/sequences/{SEQUENCE}/{what}", json=body, headers=gateway.key())


async def test_a_forecast_is_put_down_as_a_job_and_can_be_cancelled(gateway: Gateway) -> None:
    await gateway.put("sequences", {"_id": str(SEQUENCE), "name": "S", "created_at": NOW, "status": "active"})
    await gateway.put("leads", *(lead_document(number, status="New", erased=number == 3) for number in range(4)))
    answer = await begun(gateway, "simulate", {"cohort": {"filter": {"status": "New"}}, "seed": 5})
    assert answer.status_code == 202
    job_id = answer.json()["job_id"]
    question = gateway.write_side.seen[-1].message
    assert isinstance(question, QueryStartForecast)
    assert (question.job_id, question.size, question.seed) == (job_id, None, 5)
    assert len(await gateway.service.parts.trials.targets(job_id)) == 3
    url = f"/api/v1/jobs/{job_id}"
    shown = (await gateway.http.get(url, headers=gateway.key())).json()
    assert (shown["kind"], shown["state"], shown["asked"]["seed"]) == ("forecast", "queued", 5)
    for method in ("GET", "DELETE"):
        assert (await gateway.http.request(method, url, headers=gateway.key("other"))).status_code == 404
    assert (await gateway.http.delete(url, headers=gateway.key())).status_code == 204
    assert (await gateway.http.get(url, headers=gateway.key())).json()["state"] == "cancelled"


async def test_a_backtest_names_the_enrollments_of_its_time_and_pages_what_it_found(gateway: Gateway) -> None:
    await gateway.put("sequences", {"_id": str(SEQUENCE), "name": "S", "created_at": NOW, "status": "active"})
    await gateway.put("enrollments", enrollment_document(sequence_id=str(SEQUENCE), started_at=NOW))
    body = {"version": 1, "enrolled_from": NOW.isoformat()}
    job_id = (await begun(gateway, "backtest", body)).json()["job_id"]
    assert isinstance(gateway.write_side.seen[-1].message, QueryStartBacktest)
    trials = gateway.service.parts.trials
    assert await trials.targets(job_id) == [str(ENROLLMENT)]
    await trials.keep_rows(job_id, 0, [{"n": number} for number in range(5)], NOW)
    seen, cursor = [], None
    while True:
        asked = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await gateway.http.get(f"/api/v1/jobs/{job_id}/leads", params=asked, headers=gateway.key())).json()
        seen += [each["n"] for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [0, 1, 2, 3, 4]


async def test_what_cannot_be_run_is_refused_before_it_is_put_down(gateway: Gateway) -> None:
    await gateway.put("sequences", {"_id": str(SEQUENCE), "name": "S", "created_at": NOW, "status": "active"})
    await gateway.put("leads", lead_document(1, status="Gone", erased=True))
    for what, body in (
        ("simulate", {"cohort": {}}),
        ("simulate", {"cohort": {"filter": {"status": "Gone"}}}),
        ("simulate", {"cohort": {"filter": {}}}),
        ("simulate", {"cohort": {"size": 0}}),
        ("simulate", {"cohort": {"size": 5}, "rates": {"open": 2}}),
        ("simulate", {"cohort": {"filter": {"status": "Nobody"}}}),
        ("backtest", {}),
        ("backtest", {"version": 1, "enrolled_from": "2030-01-01T00:00:00Z"}),
    ):
        answer = await begun(gateway, what, body)
        assert (answer.status_code, bool(answer.json()["errors"])) == (422, True), answer.text
    assert gateway.write_side.seen == []


async def test_a_time_in_which_nobody_can_have_begun_is_named_by_its_field(gateway: Gateway) -> None:
    await gateway.put("sequences", {"_id": str(SEQUENCE), "name": "S", "created_at": NOW, "status": "active"})
    turned = {"version": 1, "enrolled_from": "2026-12-01T00:00:00Z", "enrolled_to": "2026-09-01T00:00:00Z"}
    for body, field in (({**turned, "enrolled_to": None}, "enrolled_from"), (turned, "enrolled_to")):
        refused = await begun(gateway, "backtest", body)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
        assert field in refused.json()["detail"]


async def test_a_test_message_is_made_then_ordered_and_limited_in_rate(gateway: Gateway) -> None:
    step = dressed(address="coach@demo.example")

    def answer(envelope: Envelope) -> Answer:
        if isinstance(envelope.message, SendTest):
            return Answer(ok=True, result={"message_id": "<1@x>", "answer": "250"})
        return Answer(ok=True, result={"step": step.model_dump(mode="json")})

    gateway.write_side.answer = answer
    url = f"/api/v1/sequences/{SEQUENCE}/send-test"
    body = {"step_id": "welcome", "to": "Coach@demo.example", "lead": {"first_name": "Ada"}}
    sent = await gateway.http.post(url, json=body, headers=gateway.key())
    assert (sent.status_code, sent.json()) == (200, {"to": "coach@demo.example", "message_id": "<1@x>"})
    question, order = (each.message for each in gateway.write_side.seen)
    assert isinstance(question, QueryTestMessage)
    assert (question.organization_id, question.to, question.step_id) == ("demo", "Coach@demo.example", "welcome")
    assert isinstance(order, SendTest)
    assert order.step == step
    for wrong, field in (({**body, "to": ""}, "to"), ({**body, "to": "x" * 321}, "to"), ({"to": "a@b.c"}, "step_id")):
        refused = await gateway.http.post(url, json=wrong, headers=gateway.key())
        assert refused.status_code == 422
        assert field in [each["field"] for each in refused.json()["errors"]]
    key = {**gateway.key(), "Idempotency-Key": "once"}
    before = len(gateway.write_side.seen)
    first, again = [await gateway.http.post(url, json=body, headers=key) for _ in range(2)]
    assert (first.json(), again.headers["Idempotency-Replayed"]) == (again.json(), "true")
    assert len(gateway.write_side.seen) == before + 2
    answers = [await gateway.http.post(url, json=body, headers=gateway.key()) for _ in range(TESTS_PER_CALLER)]
    assert [each.status_code for each in answers[:-2]] == [200] * (TESTS_PER_CALLER - 2)
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) > 0
