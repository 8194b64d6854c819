"""Orders to leads: what is logged, what is refused, and which field is at fault."""

from __future__ import annotations

from typing import Any

import pytest

from shared.events.activity import LogCall, LogEmail, LogMeeting, LogNote
from shared.events.lead import AssignLead, ConvertLead, EditLead
from shared.events.query import Answer, Problem
from tests.gateway.conftest import ADMIN, LEAD, Gateway

PATH = f"/api/v1/leads/{LEAD}"
AT = "2026-11-20T09:00:00Z"

GOOD: list[tuple[str, dict[str, Any], type[Any]]] = [
    ("calls", {"outcome": "connected", "duration_seconds": 60, "recording_url": "https://x.example/r"}, LogCall),
    ("meetings", {"at": AT, "place": "Office", "attendees": ["Ada"], "duration_minutes": 30}, LogMeeting),
    ("emails", {"subject": "Hi", "body": "…", "to": ["a@example.com"], "metadata": {"crm": 7}}, LogEmail),
    ("notes", {"text": "Likes tea"}, LogNote),
    ("convert", {"value": 10.5, "currency": "EUR"}, ConvertLead),
    ("assign", {"owner": str(ADMIN)}, AssignLead),
]


async def test_each_activity_is_one_order_that_holds_what_was_sent(gateway: Gateway) -> None:
    for path, body, cls in GOOD:
        answer = await gateway.http.post(f"{PATH}/{path}", json=body, headers=gateway.key())
        assert answer.status_code in {200, 201}, answer.text
        message = gateway.write_side.seen[-1].message
        assert isinstance(message, cls)
        sent = message.model_dump(mode="json")
        assert {name: sent[name] for name in body} == body
    assert len(gateway.write_side.seen) == len(GOOD)


async def test_the_same_key_logs_once(gateway: Gateway) -> None:
    headers = {**gateway.key(), "Idempotency-Key": "call-1"}
    for _ in range(2):
        await gateway.http.post(f"{PATH}/calls", json={"outcome": "busy"}, headers=headers)
    assert len(gateway.write_side.seen) == 1


BAD: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "calls", {}, "outcome"),
    ("POST", "calls", {"outcome": "great"}, "outcome"),
    ("POST", "calls", {"outcome": "busy", "duration_seconds": -1}, "duration_seconds"),
    ("POST", "calls", {"outcome": "busy", "at": "2026-01-01T00:00:00"}, "at"),
    ("POST", "calls", {"outcome": "busy", "recording_url": "javascript:alert(1)"}, "recording_url"),
    ("POST", "calls", {"outcome": "busy", "metadata": {"n": 2**70}}, "metadata"),
    ("POST", "meetings", {"place": "x"}, "at"),
    ("POST", "meetings", {"at": AT, "duration_minutes": 100_000}, "duration_minutes"),
    ("POST", "meetings", {"at": AT, "attendees": [""]}, "attendees.0"),
    ("POST", "emails", {"subject": ""}, "subject"),
    ("POST", "emails", {"subject": "x", "to": ["nobody"]}, "to.0"),
    ("POST", "notes", {"text": ""}, "text"),
    ("POST", "notes", {"text": "x" * 10_001}, "text"),
    ("POST", "convert", {"currency": "euro"}, "currency"),
    ("POST", "assign", {}, "owner"),
    ("POST", "assign", {"owner": "me"}, "owner"),
    ("POST", "score", {}, "add"),
    ("POST", "score", {"add": 1, "set": 1}, "add"),
    ("POST", "score", {"add": 101}, "add"),
    ("POST", "tags", {"add": [""]}, "add.0"),
    ("PATCH", "", {"email": "nobody"}, "email"),
    ("PATCH", "", {"phone": "12"}, "phone"),
    ("PATCH", "", {"phone": "0151 12345678"}, "phone"),
    ("PATCH", "", {"timezone": "Mars/Olympus"}, "timezone"),
    ("PATCH", "", {"timezone": "../etc/passwd"}, "timezone"),
    ("PATCH", "", {"locale": "not a locale"}, "locale"),
    ("PATCH", "", {"tags": [" "]}, "tags.0"),
    ("PATCH", "", {"score": 101}, "score"),
    ("PATCH", "", {"custom_fields": []}, "custom_fields"),
]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_wrong_field_is_named_and_nothing_is_sent(gateway: Gateway, method: str) -> None:
    for each, path, body, field in BAD:
        if each != method:
            continue
        url = f"{PATH}/{path}" if path else PATH
        answer = await gateway.http.request(method, url, json=body, headers=gateway.key())
        assert answer.status_code == 422, (path, body, answer.text)
        assert field in [error["field"] for error in answer.json()["errors"]], (path, body, answer.text)
    assert gateway.write_side.seen == []


async def test_every_wrong_field_is_named_at_once(gateway: Gateway) -> None:
    lead = {"email": "x", "phone": "y", "timezone": "z", "locale": "?"}
    answer = await gateway.http.post("/api/v1/leads", json={"lead": lead}, headers=gateway.key())
    assert [each["field"] for each in answer.json()["errors"]] == [
        "lead.email",
        "lead.phone",
        "lead.timezone",
        "lead.locale",
    ]


async def test_identities_are_spelled_in_one_way_and_a_taken_one_is_named_as_it_was_sent(gateway: Gateway) -> None:
    body = {"email": " ADA@Example.COM ", "phone": "+49 151 12345678", "locale": "de-CH", "timezone": "Europe/Zurich"}
    assert (await gateway.http.patch(PATH, json=body, headers=gateway.key())).status_code == 200
    message = gateway.write_side.seen[0].message
    assert isinstance(message, EditLead)
    assert (message.lead.email, message.lead.phone) == ("ada@example.com", "+4915112345678")
    taken = [{"field": "lead.email", "problem": "names another lead"}]
    problem = Problem(code="invalid_lead", title="x", detail="x", status=422, errors=taken)
    gateway.write_side.answer = lambda _: Answer(ok=False, problem=problem)
    answer = await gateway.http.patch(PATH, json=body, headers=gateway.key())
    assert answer.json()["errors"] == [{"field": "email", "problem": "names another lead"}]
