"""The execution log and the upcoming sends over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.persistence.search import tokens
from tests.gateway.conftest import ENROLLMENT, LEAD, NOW, SEQUENCE, Gateway, enrollment_document


def message(number: int, **more: Any) -> dict[str, Any]:
    return {
        "_id": f"{ENROLLMENT}-{number}",
        "enrollment_id": str(ENROLLMENT),
        "lead_id": str(LEAD),
        "sequence_id": str(SEQUENCE),
        "execution": number,
        "step_id": "hello",
        "channel": "email",
        "status": "sent",
        "due_at": NOW + timedelta(minutes=number),
        "log": {"1": {"due_at": NOW, "ended_at": NOW, "outcome": "sent", "error": None}},
        **more,
    }


async def ask(gateway: Gateway, path: str, **params: Any) -> list[dict[str, Any]]:
    answer = await gateway.http.get(f"/api/v1/{path}", params=params, headers=gateway.key())
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


@pytest.fixture
async def logged(gateway: Gateway) -> Gateway:
    reason = "Mailbox unavailable: quota exceeded"
    troubled = {"status": "failed", "error": reason, "error_tokens": tokens(reason), "troubled": True}
    retried = {
        "2": {"due_at": NOW + timedelta(minutes=15), "ended_at": NOW, "outcome": "failed", "error": reason},
        "1": {"due_at": NOW, "ended_at": NOW, "outcome": "deferred", "error": "busy"},
    }
    skipped = {
        "status": "skipped",
        "channel": None,
        "step_id": "later",
        "why": {"rule": "condition", "inputs": {}},
        "log": {},
    }
    await gateway.put(
        "messages",
        message(1, variant="b", answer="250 ok", sender="eve"),
        message(2, **troubled, log=retried),
        message(3, **skipped),
    )
    return gateway


async def test_every_execution_with_attempts_answer_variant_and_why(logged: Gateway) -> None:
    found = await ask(logged, "executions")
    assert [(each["execution"], each["status"]) for each in found] == [(3, "skipped"), (2, "failed"), (1, "sent")]
    assert (found[2]["variant"], found[2]["answer"], found[2]["sender"]) == ("b", "250 ok", "eve")
    assert [(each["attempt"], each["outcome"]) for each in found[1]["attempts"]] == [(1, "deferred"), (2, "failed")]
    assert found[0]["why"]["rule"] == "condition"


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"status": "failed"}, [2]),
        ({"sequence_id": str(SEQUENCE), "step_id": "later"}, [3]),
        ({"sequence_id": str(SEQUENCE), "variant": "b"}, [1]),
        ({"channel": "email"}, [2, 1]),
        ({"lead_id": str(LEAD)}, [3, 2, 1]),
        ({"error": "quota mailb"}, [2]),
        ({"error": "nothing"}, []),
        ({"from": (NOW + timedelta(minutes=2)).isoformat(), "to": (NOW + timedelta(minutes=3)).isoformat()}, [2]),
    ],
)
async def test_the_log_is_filtered(logged: Gateway, asked: dict[str, str], wanted: list[int]) -> None:
    assert [each["execution"] for each in await ask(logged, "executions", **asked)] == wanted


async def test_what_was_passed_over_is_no_message(logged: Gateway) -> None:
    assert [each["execution"] for each in await ask(logged, "messages")] == [2, 1]
    assert [each["execution"] for each in await ask(logged, "messages", enrollment_id=str(ENROLLMENT))] == [2, 1]


@pytest.mark.parametrize("asked", [{"step_id": "hello"}, {"variant": "a"}, {"from": "2026-11-20T09:00:00"}])
async def test_a_filter_that_cannot_be_is_refused(gateway: Gateway, asked: dict[str, str]) -> None:
    answer = await gateway.http.get("/api/v1/executions", params=asked, headers=gateway.key())
    assert answer.status_code == 400
    assert answer.json()["code"] in {"sequence_wanted", "bad_time"}


async def test_upcoming_sends_come_in_order_of_time(gateway: Gateway) -> None:
    def waiting(number: int, channel: str | None, minutes: int | None) -> dict[str, Any]:
        at = None if minutes is None else NOW + timedelta(minutes=minutes)
        return {
            "_id": f"e{number}",
            "lead_id": str(LEAD),
            "sequence_id": str(SEQUENCE),
            "status": "active",
            "next": {"step_id": "hello", "execution": 2, "at": at},
            "waiting_for": {"kind": "time", "until": at, "why": {"rule": "window", "inputs": {}}},
            "upcoming": at is not None,
            "upcoming_on": channel,
            "upcoming_at": at,
        }

    await gateway.put(
        "enrollments", waiting(1, "email", 30), waiting(2, "sms", 10), waiting(3, None, None), waiting(4, "email", 20)
    )
    found = await ask(gateway, "enrollments/upcoming")
    assert [each["enrollment_id"] for each in found] == ["e2", "e4", "e1"]
    assert (found[0]["channel"], found[0]["why"]["rule"], found[0]["step_id"]) == ("sms", "window", "hello")
    assert [each["enrollment_id"] for each in await ask(gateway, "enrollments/upcoming", channel="email")] == [
        "e4",
        "e1",
    ]
    until = (NOW + timedelta(minutes=25)).isoformat()
    assert [each["enrollment_id"] for each in await ask(gateway, "enrollments/upcoming", to=until)] == ["e2", "e4"]


@pytest.mark.parametrize("held", [{"status": "paused"}, {"status": "active", "braked": {"at": NOW, "why": {}}}])
async def test_nothing_is_upcoming_of_a_sequence_that_waits(gateway: Gateway, held: dict[str, Any]) -> None:
    waits = {"lead_id": str(LEAD), "status": "active", "upcoming": True, "upcoming_on": "email", "upcoming_at": NOW}
    waits["next"] = {"step_id": "hello", "execution": 2, "at": NOW}
    other = str(UUID(int=9))
    await gateway.put("sequences", {"_id": str(SEQUENCE), **held}, {"_id": other, "status": "active", "braked": None})
    await gateway.put(
        "enrollments",
        {**waits, "_id": "e1", "sequence_id": str(SEQUENCE)},
        {**waits, "_id": "e2", "sequence_id": other},
    )
    assert [each["enrollment_id"] for each in await ask(gateway, "enrollments/upcoming")] == ["e2"]


async def test_who_is_inside_an_archived_sequence_finishes_and_what_comes_is_shown(gateway: Gateway) -> None:
    waits = {"lead_id": str(LEAD), "status": "active", "upcoming": True, "upcoming_on": "email", "upcoming_at": NOW}
    waits["next"] = {"step_id": "hello", "execution": 2, "at": NOW}
    await gateway.put("sequences", {"_id": str(SEQUENCE), "status": "archived", "braked": None})
    await gateway.put("enrollments", {**waits, "_id": "e1", "sequence_id": str(SEQUENCE)})
    assert [each["enrollment_id"] for each in await ask(gateway, "enrollments/upcoming")] == ["e1"]


#: Not in the calendar once they are in UTC, at its edges, and without a zone.
BEYOND = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-20T09:00:00")
EDGES = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")


async def test_times_beyond_the_calendar_are_refused_by_name(gateway: Gateway) -> None:
    await gateway.put("enrollments", enrollment_document())
    routes = {"executions": "from", "enrollments/upcoming": "to", "metrics/timeseries": "to"}
    for route, field in {**routes, f"enrollments/{ENROLLMENT}": "at"}.items():
        for given in BEYOND:
            answer = await gateway.http.get(f"/api/v1/{route}", params={field: given}, headers=gateway.key())
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_time"), answer.text
            assert [each["field"] for each in answer.json()["errors"]] == [field]
        for given in EDGES:
            answer = await gateway.http.get(f"/api/v1/{route}", params={field: given}, headers=gateway.key())
            assert answer.status_code < 500, answer.text
    assert gateway.write_side.seen != []


async def test_times_in_bodies_are_refused_by_name(gateway: Gateway) -> None:
    for path, field in (
        (f"enrollments/{ENROLLMENT}/pause", "until"),
        (f"tasks/{ENROLLMENT}/snooze", "until"),
        (f"sequences/{ENROLLMENT}/test", "from"),
    ):
        for given in BEYOND:
            body = {field: given, **({"lead": {}} if field == "from" else {})}
            answer = await gateway.http.post(f"/api/v1/{path}", json=body, headers=gateway.key())
            assert answer.status_code == 422, answer.text
            assert field in [each["field"] for each in answer.json()["errors"]]
    for given in EDGES:
        body = {"lead": {}, "from": given}
        answer = await gateway.http.post(f"/api/v1/sequences/{ENROLLMENT}/test", json=body, headers=gateway.key())
        [error] = answer.json()["errors"]
        assert error["field"] == "from"
        assert error["problem"].endswith("must lie in the years 2000 to 2200")
