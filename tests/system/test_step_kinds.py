"""People's steps, webhooks and invitations on the real stack: what a coach does over HTTP, and what goes out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from icalendar import Calendar

from tests.dispatcher.test_webhook import Receiver
from tests.support.waiting import eventually
from tests.system.checking import nothing_is_stuck, verify_all
from tests.system.sequences import sequence
from tests.system.stack import Stack, lead, running_stack

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    env = {"TENDRIL_ALLOW_PRIVATE_WEBHOOKS": "true"}
    async with running_stack(tmp_path_factory.mktemp("kinds"), env=env) as running:
        yield running


def steps(url: str) -> list[dict[str, Any]]:
    title = "Ring {{ first_name }}"
    return [
        {"step_id": "hook", "kind": "webhook", "config": {"url": url}},
        {"step_id": "draft", "kind": "email_manual", "config": {"subject": "Hi {{ first_name }}", "text": "Hello"}},
        {"step_id": "call", "kind": "call", "config": {"title": title}},
        {"step_id": "note", "kind": "note", "config": {"text": "Spoke with {{ first_name }}"}},
        {"step_id": "tell", "kind": "notification", "config": {"text": "{{ first_name }} is warm", "to": "all"}},
        {"step_id": "invite", "kind": "appointment", "config": {
            "subject": "Demo", "text": "See you", "title": "Demo", "start": {"amount": 2, "unit": "days"},
        }},
        {"step_id": "goal", "kind": "goal", "config": {"name": "demo"}},
    ]  # fmt: skip


async def one_of(stack: Stack, path: str, **params: Any) -> dict[str, Any]:
    """The only item of a list, once it is there."""

    async def find() -> dict[str, Any] | None:
        found = await stack.items(path, **params)
        return found[0] if len(found) == 1 else None

    found = await eventually(find, timeout_seconds=20, message=f"nothing in {path} {params}")
    assert isinstance(found, dict)
    return found


async def test_a_lead_is_called_written_to_and_invited_as_people_say(stack: Stack) -> None:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    await stack.api("POST", "snippets", json={"name": "bye", "text": "Bye, {{ first_name }}"})
    secret = (await stack.api("GET", "webhooks/secret"))["secret"]
    async with server:
        await stack.api("POST", "sequences?activate=true", json=sequence("Kinds", steps(receiver.url)))
        await stack.publish_leads([lead(1)])
        draft = await one_of(stack, "drafts")
        [(_, headers, body)] = receiver.got
    assert json.loads(body)["lead"]["first_name"] == "Ada1"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()

    hi = "Hi {{ first_name }}"
    assert (draft["title"], draft["subject"], draft["step_name"]) == ("Hi Ada1", hi, hi)
    unknown = await stack.request("PATCH", f"drafts/{draft['id']}", json={"text": "{{ nobody_knows }}"})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "text")
    await stack.api("PATCH", f"drafts/{draft['id']}", json={"text": "Edited by hand. {{ snippets.bye }}"})
    await stack.api("POST", f"drafts/{draft['id']}/approve")
    [mail] = await stack.sink.wait_for(1, to="lead1@example.com")
    assert (mail.subject, mail.part("plain").splitlines()[0]) == ("Hi Ada1", "Edited by hand. Bye, Ada1")

    call = await one_of(stack, "tasks")
    assert (call["title"], call["kind"]) == ("Ring Ada1", "call")
    wrong = await stack.request("POST", f"tasks/{call['id']}/complete", json={"outcome": "maybe"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_outcome")
    await stack.api("POST", f"tasks/{call['id']}/complete", json={"outcome": "connected"})

    invitation = (await stack.sink.wait_for(2, to="lead1@example.com"))[1]
    [part] = [each for each in invitation.message.walk() if each.get_content_type() == "text/calendar"]
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    [event] = Calendar.from_ical(payload).walk("VEVENT")
    assert isinstance(event.decoded("dtstart"), datetime)

    enrollment = await one_of(stack, "enrollments", status="completed")
    assert enrollment["counts"]["sent"] == 2
    timeline = await stack.items(f"leads/{enrollment['lead_id']}/timeline")
    [note] = [each for each in timeline if each["kind"] == "enrollment.note_left"]
    assert note["detail"]["text"] == "Spoke with Ada1"


async def test_a_channel_that_is_not_set_up_is_named(stack: Stack) -> None:
    texted = sequence("Text", [{"step_id": "text", "kind": "sms", "config": {"text": "Hi"}}])
    answer = await stack.request("POST", "sequences?activate=true", json=texted)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "steps.text.config.channel", "problem": "channel sms is not set up"}]


async def test_every_view_equals_a_replay(stack: Stack) -> None:
    await nothing_is_stuck(stack)
    await verify_all(stack)
