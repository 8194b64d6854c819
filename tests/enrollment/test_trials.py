"""Dry run and preview on a real store, asked over the broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from shared.events.attachment import AddAttachment, FileFacts, RemoveAttachment
from shared.events.definition import SequenceDefinition
from shared.events.dispatch import DressedStep
from shared.events.lead import LeadBody
from shared.events.organization import SuppressAddress
from shared.events.query import Answer, PlayedSignal, QueryDryRun, QueryPreview, QueryTestMessage
from shared.events.sequence import ArchiveSequence
from shared.ids import derived_id
from tests.enrollment.service import Bench, running_service

NOON = "2026-11-20T12:00:00+00:00"
MAIL = {
    "step_id": "hello",
    "kind": "email",
    "config": {
        "subject": "Hi {{ first_name | default: 'you' }}",
        "html": "<p>See <a href='https://example.com/a'>this</a>, {{ company }}</p>",
    },
}


@pytest.fixture
async def bench(tmp_path: Path, amqp_url: str) -> AsyncIterator[Bench]:
    async with running_service(tmp_path, amqp_url) as running:
        yield running


async def asked(bench: Bench, sequence_id: UUID, **more: Any) -> dict[str, Any]:
    question = QueryDryRun.model_validate(
        {"organization_id": "demo", "sequence_id": sequence_id, "from_": NOON, **more}
    )
    return (await bench.done(question)).result


async def test_a_dry_run_shows_the_content_and_leaves_no_trace(bench: Bench) -> None:
    waits = {"step_id": "later", "kind": "wait", "delay": {"amount": 3, "unit": "days"}, "config": {}}
    sequence_id = await bench.sequence([MAIL, waits], trigger={"start": "manual"})
    before = len(bench.topics())
    lead = LeadBody(email="ada@example.com", first_name="Ada", company="Engines & Co")
    found = await asked(bench, sequence_id, lead=lead)
    [hello, later] = found["steps"]
    assert (hello["at"], hello["content"]["subject"]) == (NOON, "Hi Ada")
    assert 'href="https://example.com/a"' in hello["content"]["html"]
    assert "Engines &amp; Co" in hello["content"]["html"]
    assert (later["at"], later["content"]) == ("2026-11-23T12:00:00+00:00", None)
    called = [(each["step_number"], each["step_name"]) for each in found["steps"]]
    assert called == [(1, "Hi {{ first_name | default: 'you' }}"), (2, "Wait 2")]
    assert found["ended_by"] == "completed"
    nameless = await asked(bench, sequence_id, lead=LeadBody(email="ada@example.com"))
    assert (nameless["steps"], nameless["ended_by"]) == ([], "missing_value")
    replied = PlayedSignal(signal="replied", step="hello", after_minutes=30)
    assert (await asked(bench, sequence_id, lead=lead, signals=[replied]))["ended_by"] == "replied"
    assert len(bench.topics()) == before


async def test_unsaved_content_can_be_tried_on_a_known_lead(bench: Bench) -> None:
    sequence_id = await bench.sequence([MAIL], trigger={"start": "manual"})
    await bench.lead(1, company="Engines")
    await bench.until(lambda: "lead.captured.v1" in bench.topics())
    event = next(each for each in bench.service.store.page_events(0, 100) if each["type"] == "lead.captured.v1")
    changed = SequenceDefinition.model_validate(
        {"name": "New", "steps": [{**MAIL, "config": {"subject": "New for {first_name}", "text": "x"}}]}
    )
    found = await asked(bench, sequence_id, lead_id=event["leadid"], definition=changed)
    assert found["steps"][0]["content"]["subject"] == "New for L1"
    assert found["steps"][0]["step_name"].startswith("New for ")
    question = QueryPreview(
        organization_id="demo", sequence_id=sequence_id, step_id="hello", lead_id=UUID(event["leadid"])
    )
    assert (await bench.done(question)).result["content"]["subject"] == "Hi L1"


async def test_what_does_not_exist_or_is_wrong_is_said(bench: Bench) -> None:
    sequence_id = await bench.sequence([MAIL, {"step_id": "t", "kind": "tag", "config": {"add": ["x"]}}])
    foreign = QueryDryRun(organization_id="other", sequence_id=sequence_id, lead=LeadBody(email="a@example.com"))
    nobody = QueryDryRun(organization_id="demo", sequence_id=sequence_id, lead_id=UUID(int=7))
    for question in (foreign, nobody):
        problem = (await bench.order(question)).problem
        assert problem is not None
        assert problem.status == 404
    body = LeadBody(email="a@example.com")
    silent = QueryPreview(organization_id="demo", sequence_id=sequence_id, step_id="t", lead=body)
    problem = (await bench.order(silent)).problem
    assert problem is not None
    assert problem.errors == [{"field": "step_id", "problem": "names a step that sends nothing"}]
    unmade = QueryPreview(organization_id="demo", sequence_id=sequence_id, step_id="hello", lead=body)
    assert (await bench.done(unmade)).result["missing"] == ["company"]


async def test_what_a_mail_carries_is_listed_and_removed_files_go_on_in_what_was_published(bench: Bench) -> None:
    file = FileFacts(name="prices.pdf", content_type="application/pdf", size=3, sha256="0" * 64)
    file_id = derived_id("attachment", 1)
    await bench.done(AddAttachment(attachment_id=file_id, file=file))
    mail = {**MAIL, "config": {"subject": "Hi", "text": "See the file", "attachments": [str(file_id)]}}
    sequence_id = await bench.sequence([mail], trigger={"start": "manual"})
    await bench.done(ArchiveSequence(sequence_id=sequence_id))
    await bench.done(RemoveAttachment(attachment_id=file_id))
    listed = [{"name": "prices.pdf", "content_type": "application/pdf", "size": 3}]
    body = LeadBody(email="a@example.com")
    preview = QueryPreview(organization_id="demo", sequence_id=sequence_id, step_id="hello", lead=body)
    assert (await bench.done(preview)).result["content"]["attachments"] == listed
    assert (await asked(bench, sequence_id, lead=body))["steps"][0]["content"]["attachments"] == listed


VARIED = {
    **MAIL,
    "step_id": "varied",
    "variants": [
        {"variant_id": "a", "config": {"subject": "A for {{ first_name | default: 'you' }}"}},
        {"variant_id": "b", "config": {"subject": "B for {{ first_name | default: 'you' }}"}},
    ],
}
SMS = {"step_id": "text", "kind": "sms", "config": {"text": "Hi", "channel": "null"}}


async def test_a_test_message_is_made_for_its_reader_and_wrong_fields_are_named(bench: Bench) -> None:
    sequence_id = await bench.sequence([VARIED, SMS], trigger={"start": "manual"})
    before = len(bench.topics())

    async def made(**asked: Any) -> Answer:
        about = {"organization_id": "demo", "sequence_id": sequence_id, "step_id": "varied", "to": "Coach@demo.example"}
        lead = {"company": "Engines", "phone": "+4915112345678"}
        return await bench.order(QueryTestMessage.model_validate({**about, "lead": lead, **asked}))

    for variant, subject in (("a", "A for {{"), ("b", "B for {{"), (None, "Hi {{")):
        step = DressedStep.model_validate((await made(variant=variant)).result["step"])
        assert (step.content["subject"] or "").startswith(subject)
        assert (step.address, step.lead["email"], step.track_opens) == (
            "coach@demo.example",
            "coach@demo.example",
            False,
        )
    preview = QueryPreview(
        organization_id="demo", sequence_id=sequence_id, step_id="varied", variant="b",
        lead=LeadBody(email="ada@example.com", first_name="Ada", company="Engines"),
    )  # fmt: skip
    assert (await bench.done(preview)).result["content"]["subject"] == "B for Ada"
    await bench.done(SuppressAddress(address="left@demo.example"))
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"to": "nobody"}, "to"),
        ({"to": "left@demo.example"}, "to"),
        ({"variant": "c"}, "variant"),
        ({"lead": {}}, "lead.company"),
    ]
    for asked, field in wrong:
        problem = (await made(**asked)).problem
        assert problem is not None, asked
        assert (problem.status, [each["field"] for each in problem.errors]) == (422, [field])
    assert bench.topics()[before:] == ["organization.address_suppressed.v1"]


async def test_whatever_ends_as_an_e_mail_can_be_tested_and_the_rest_says_its_kind(bench: Bench) -> None:
    start = {"amount": 0, "unit": "minutes", "from": "field", "field": "event_date"}
    invitation = {
        "step_id": "meet", "kind": "appointment",
        "config": {"subject": "Come", "text": "Hi", "title": "Talk with {{ first_name }}", "start": start},
    }  # fmt: skip
    draft = {
        "step_id": "draft",
        "kind": "email_manual",
        "config": {"subject": "By hand", "text": "Hi {{ first_name }}"},
    }
    call = {"step_id": "call", "kind": "call", "config": {"title": "Call"}}
    hook = {"step_id": "hook", "kind": "webhook", "config": {"url": "https://example.com/x"}}
    wait = {"step_id": "wait", "kind": "wait", "config": {}}
    sequence_id = await bench.sequence([invitation, draft, SMS, call, hook, wait], trigger={"start": "manual"})

    async def made(step_id: str, **lead: Any) -> Answer:
        about = {"organization_id": "demo", "sequence_id": sequence_id, "step_id": step_id, "to": "coach@demo.example"}
        return await bench.order(QueryTestMessage.model_validate({**about, "lead": {"first_name": "Ada", **lead}}))

    answer = await made("meet", custom_fields={"event_date": "2026-12-01T09:00:00Z"})
    step = DressedStep.model_validate(answer.result["step"])
    assert step.appointment is not None
    assert step.appointment.starts_at.isoformat() == "2026-12-01T09:00:00+00:00"
    assert (step.content["title"], step.kind) == ("Talk with {{ first_name }}", "appointment")
    dateless = (await made("meet")).problem
    assert dateless is not None
    assert [each["field"] for each in dateless.errors] == ["lead.event_date"]
    step = DressedStep.model_validate((await made("draft")).result["step"])
    assert (step.kind, step.content["subject"], step.address) == ("email_manual", "By hand", "coach@demo.example")
    for step_id, kind in (("text", "sms"), ("call", "call"), ("hook", "webhook"), ("wait", "wait")):
        problem = (await made(step_id)).problem
        assert problem is not None, step_id
        assert (problem.code, problem.status) == ("no_test_for_kind", 422)
        assert f"of kind {kind}" in problem.detail
        assert [each["field"] for each in problem.errors] == ["step_id"]
