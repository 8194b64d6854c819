"""Looking back and ahead on the real stack: why a lead got something or did not, what would have come next, and a
message sent to oneself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.waiting import eventually
from tests.system.sequences import email, sequence
from tests.system.stack import Stack, lead, running_stack

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("looking")) as running:
        yield running


async def test_why_a_lead_got_one_message_and_not_another(stack: Stack) -> None:
    switched_off = {"step_id": "text", "kind": "webhook", "active": False, "config": {"url": "https://example.com/x"}}
    steps = [email("welcome"), switched_off, email("later", amount=3, unit="days")]
    taken = await stack.api("POST", "sequences?activate=true", json=sequence("Taken", steps))
    refused = sequence("Refused", [email("only")])
    refused["trigger"]["sources"] = ["Fair"]
    refused = await stack.api("POST", "sequences?activate=true", json=refused)
    await stack.publish_leads([lead(1)])
    await stack.sink.wait_for(1, to="lead1@example.com")

    async def waiting() -> dict[str, object] | None:
        found = await stack.items("enrollments")
        return found[0] if found and found[0]["current_step"] == "later" else None

    enrollment = await eventually(waiting, timeout_seconds=20)
    assert isinstance(enrollment, dict)

    async def why(**about: str) -> dict[str, object]:
        answer = await stack.api("GET", f"leads/{enrollment['lead_id']}/why", params=about)
        [one] = answer["answers"]
        assert isinstance(one, dict)
        return one

    sent = await why(sequence_id=taken["sequence_id"], step_id="welcome")
    assert (sent["standing"], sent["text"]) == ("sent", "The lead was sent it. It was sent by email.")
    assert (sent["sequence_name"], sent["version"], sent["current_step_number"]) == ("Taken", 1, 3)
    skipped = await why(sequence_id=taken["sequence_id"], step_id="text")
    assert (skipped["standing"], skipped["rule"]) == ("skipped", "inactive")
    never = await why(sequence_id=refused["sequence_id"])
    assert (never["standing"], never["rule"], never["inputs"]) == (
        "not_enrolled",
        "source",
        {"value": None, "wanted": ["Fair"]},
    )
    answer = await stack.api("GET", f"enrollments/{enrollment['id']}/why", params={"step_id": "later"})
    [later] = answer["answers"]
    assert (later["standing"], later["rule"], later["current_step"]) == ("waiting", "delay", "later")
    assert [each["rule"] for each in answer["items"] if each["kind"] == "skipped"] == []
    nothing = await stack.request("GET", f"enrollments/{enrollment['id']}/why", params={"step_id": "none"})
    assert (nothing.status_code, nothing.json()["code"]) == (404, "unknown_target")


async def test_a_past_enrollment_says_what_it_would_have_done(stack: Stack) -> None:
    [enrollment] = await stack.items("enrollments")
    then = await stack.api("GET", f"enrollments/{enrollment['id']}", params={"version": 1})
    steps = [(each["step_id"], each["outcome"]) for each in then["would_do"]["steps"]]
    assert steps == [("welcome", "sends"), ("text", "skips"), ("later", "sends")]
    now = await stack.api("GET", f"enrollments/{enrollment['id']}", params={"at": "2100-01-01T00:00:00Z"})
    [later] = now["would_do"]["steps"]
    assert (later["step_id"], later["at"]) == ("later", now["next"]["at"])


async def test_a_message_is_sent_to_oneself_and_counted_nowhere(stack: Stack) -> None:
    [taken] = await stack.items("sequences", q="Taken")
    before = await stack.api("GET", f"sequences/{taken['id']}/stats")
    body = {"step_id": "welcome", "to": "coach@demo.example", "lead": {"first_name": "Grace"}}
    answer = await stack.api("POST", f"sequences/{taken['id']}/send-test", json=body)
    [mail] = await stack.sink.wait_for(1, to="coach@demo.example")
    assert (mail.subject, mail.message["Message-ID"]) == ("[Test] welcome for Grace", answer["message_id"])
    assert mail.message["X-Tendril-Test"] == f"{taken['id']}/welcome"
    assert "/t/" not in mail.part("html")
    wrong = await stack.request("POST", f"sequences/{taken['id']}/send-test", json={**body, "to": "nobody"})
    assert (wrong.status_code, [each["field"] for each in wrong.json()["errors"]]) == (422, ["to"])
    assert len(stack.sink.to("coach@demo.example")) == 1
    assert await stack.api("GET", f"sequences/{taken['id']}/stats") == before
    assert len(await stack.items("messages")) == 1
