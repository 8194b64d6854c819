"""Orders to leads: what is logged, what is refused, and which field is at fault."""

from __future__ import annotations

import csv
import io
from typing import Any
from uuid import UUID

import pytest

from shared.events import Envelope
from shared.events.activity import LogCall, LogEmail, LogMeeting, LogNote
from shared.events.lead import AssignLead, ConvertLead, EditLead, LeadBody
from shared.events.organization import RecordDeed
from shared.events.query import Answer, Problem, QueryAggregateEvents
from shared.ids import derived_id
from tests.gateway.conftest import ADMIN, ENROLLMENT, LEAD, Gateway, enrollment_document, lead_document

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
    ("POST", "meetings", {"at": AT, "attendees": [""]}, "attendees[0]"),
    ("POST", "emails", {"subject": ""}, "subject"),
    ("POST", "emails", {"subject": "x", "to": ["nobody"]}, "to[0]"),
    ("POST", "notes", {"text": ""}, "text"),
    ("POST", "notes", {"text": "x" * 10_001}, "text"),
    ("POST", "convert", {"currency": "euro"}, "currency"),
    ("POST", "assign", {}, "owner"),
    ("POST", "assign", {"owner": "me"}, "owner"),
    ("POST", "score", {}, "add"),
    ("POST", "score", {"add": 1, "set": 1}, "add"),
    ("POST", "score", {"add": 101}, "add"),
    ("POST", "tags", {"add": [""]}, "add[0]"),
    ("PATCH", "", {"email": "nobody"}, "email"),
    ("PATCH", "", {"phone": "12"}, "phone"),
    ("PATCH", "", {"phone": "0151 12345678"}, "phone"),
    ("PATCH", "", {"timezone": "Mars/Olympus"}, "timezone"),
    ("PATCH", "", {"timezone": "../etc/passwd"}, "timezone"),
    ("PATCH", "", {"locale": "not a locale"}, "locale"),
    ("PATCH", "", {"tags": [" "]}, "tags[0]"),
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


async def test_a_patch_clears_what_is_null_and_leaves_what_is_absent(gateway: Gateway) -> None:
    body = {"title": None, "phone": None, "status": "Won", "tags": None, "custom_fields": {"budget": None, "size": 3}}
    answer = await gateway.http.patch(PATH, json={**body, "shoe": None}, headers=gateway.key())
    assert answer.status_code == 200, answer.text
    message = gateway.write_side.seen[0].message
    lead = LeadBody(status="Won", tags=[], custom_fields={"size": 3})
    assert message == EditLead(lead_id=LEAD, lead=lead, clear=["phone", "title"], clear_custom=["shoe", "budget"])
    for kept in ("score", "consent"):
        refused = await gateway.http.patch(PATH, json={kept: None}, headers=gateway.key())
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, kept)
    assert len(gateway.write_side.seen) == 1


async def test_leads_are_exported_as_a_file_without_formulas(gateway: Gateway) -> None:
    await gateway.put(
        "leads",
        lead_document(0, first_name="=1+1", status="New"),
        lead_document(1, status="Old"),
        lead_document(2, erased=True),
        lead_document(3, organization_id="other"),
    )
    answer = await gateway.http.get("/api/v1/leads/export", headers=gateway.key())
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["email"] for row in rows} == {"lead0@example.com", "lead1@example.com"}
    assert "'=1+1" in [row["first_name"] for row in rows]
    narrowed = await gateway.http.get("/api/v1/leads/export", params={"status": "Old"}, headers=gateway.key())
    assert len(narrowed.text.splitlines()) == 2
    deeds = [each.message for each in gateway.write_side.seen]
    assert deeds == [RecordDeed(deed="leads_exported"), RecordDeed(deed="leads_exported", by=["status"])]


async def test_an_export_that_cannot_be_recorded_is_not_given(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0))
    problem = Problem(code="unavailable", title="Unavailable", detail="the store is away", status=503)
    gateway.write_side.answer = lambda _: Answer(ok=False, problem=problem)
    for path in ("export", f"{LEAD}/data"):
        answer = await gateway.http.get(f"/api/v1/leads/{path}", headers=gateway.key())
        assert (answer.status_code, "lead0@" in answer.text) == (503, False)


async def test_a_persons_own_data_is_gathered_from_everywhere(gateway: Gateway) -> None:
    own = {"lead_id": str(LEAD), "position": 1}
    await gateway.put("leads", lead_document(0))
    await gateway.put("enrollments", enrollment_document())
    await gateway.put("tasks", {"_id": str(UUID(int=9)), "title": "Call", **own})
    await gateway.put("messages", {"_id": "m", "enrollment_id": str(ENROLLMENT), "execution": 1, **own})
    await gateway.put("timeline", {"_id": 1, "kind": "lead.replied", "personal": {"text": "Yes"}, **own})
    ledger = gateway.service.parts.ledger.collection("dispatches")
    await ledger.insert_one({"_id": UUID(int=5), "organization_id": "demo", "lead_id": LEAD, "message": {"text": "Hi"}})
    mail = {"_id": "mail", "organization_id": "demo", "lead_id": str(LEAD), "subject": "Hello"}
    await gateway.own.collection("mailbox").insert_one(mail)

    def answer(envelope: Envelope) -> Answer:
        if envelope.message == RecordDeed(deed="person_exported", target=str(LEAD)):
            return Answer(ok=True)
        assert isinstance(envelope.message, QueryAggregateEvents)
        of = str(envelope.message.aggregate_id)
        theirs = [{"subject": of, "organizationid": each} for each in ("demo", "other")]
        return Answer(ok=True, result={"events": theirs})

    gateway.write_side.answer = answer
    held = (await gateway.http.get(f"{PATH}/data", headers=gateway.key())).json()
    assert held["lead"]["email"] == "lead0@example.com"
    assert held["as_sent"][0]["message"] == {"text": "Hi"}
    assert held["timeline"][0]["personal"] == {"text": "Yes"}
    assert held["mailbox"][0]["subject"] == "Hello"
    streams = [str(LEAD), str(ENROLLMENT), str(UUID(int=9)), str(derived_id("engagement", ENROLLMENT, 1))]
    assert [event["subject"] for event in held["events"]] == streams
    assert {event["organizationid"] for event in held["events"]} == {"demo"}
    assert (await gateway.http.get(f"{PATH}/data", headers=gateway.key("other"))).status_code == 404


async def test_an_erasure_says_what_is_still_held(gateway: Gateway) -> None:
    await gateway.put("leads", lead_document(0, erased=False))
    await gateway.own.collection("mailbox").insert_one({"organization_id": "demo", "lead_id": str(LEAD)})
    state = (await gateway.http.get(f"{PATH}/erasure", headers=gateway.key())).json()
    assert (state["erased"], state["complete"]) == (False, False)
    assert (await gateway.http.post(f"{PATH}/erase", headers=gateway.key())).status_code == 200
    gone = {"email": None, "name": None, "erased": True}
    await gateway.views.collection("leads.g1").update_one({"_id": str(LEAD)}, {"$set": gone})
    state = (await gateway.http.get(f"{PATH}/erasure", headers=gateway.key())).json()
    assert state["complete"], state
    assert {each["place"] for each in state["places"]} >= {"ledger", "mailbox", "dead_letters", "view leads"}
