"""What a live enrollment waits for, in words and with names, as the views have them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.gateway.conftest import (
    ADMIN,
    ENROLLMENT,
    NOW,
    SEQUENCE,
    Gateway,
    enrollment_document,
    lead_document,
)

OTHER_SEQUENCE = UUID(int=SEQUENCE.int + 1)
OTHER_ENROLLMENT = UUID(int=ENROLLMENT.int + 1)
TASK = UUID("44444444-0000-4000-8000-000000000001")
STEPS: list[dict[str, Any]] = [
    {"step_id": "welcome", "kind": "email", "name": "Welcome", "config": {"subject": "Hello"}},
    {
        "step_id": "opened",
        "kind": "condition",
        "config": {},
        "then": [{"step_id": "thanks", "kind": "email", "config": {"subject": "Thanks"}}],
        "else": [],
    },
    {"step_id": "pause", "kind": "wait", "config": {}},
    {"step_id": "text", "kind": "sms", "config": {}},
]


@pytest.fixture
async def furnished(gateway: Gateway) -> Gateway:
    """With the enrollment, and everything around it that a reason can speak of."""
    await gateway.views.collection("organizations.g1").update_one(
        {"_id": "demo"}, {"$set": {"senders": {"desk": {"name": "Ada's desk"}}}}
    )
    await gateway.put("leads", lead_document(0))
    await gateway.put("tasks", {"_id": str(TASK), "title": "Call Ada"})
    await gateway.put("funnels", {"_id": "f", "funnel_id": "spring", "name": "Spring webinar"})
    changed = [{**STEPS[0], "name": "Renamed"}]
    await gateway.put(
        "sequences",
        {"_id": str(SEQUENCE), "name": "Webinar", "version": 2, "published": {"steps": changed}},
        {"_id": str(OTHER_SEQUENCE), "name": "Onboarding", "version": 1},
    )
    await gateway.put(
        "sequence_versions",
        {"_id": f"{SEQUENCE}-1", "sequence_id": str(SEQUENCE), "version": 1, "definition": {"steps": STEPS}},
    )
    other = {"_id": str(OTHER_ENROLLMENT), "sequence_id": str(OTHER_SEQUENCE)}
    await gateway.put("enrollments", enrollment_document(), enrollment_document(**other))
    return gateway


async def shown(gateway: Gateway, waiting: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """The enrollment as the API shows it when it waits for this."""
    fields = {"waiting_for": waiting, **more}
    await gateway.views.collection("enrollments.g1").update_one({"_id": str(ENROLLMENT)}, {"$set": fields})
    answer = await gateway.http.get(f"/api/v1/enrollments/{ENROLLMENT}", headers=gateway.key())
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


NAMED: list[tuple[dict[str, Any], dict[str, str], str]] = [
    (
        {"rule": "brake", "inputs": {"blocked_on": f"brake:sequence:{SEQUENCE}"}},
        {"blocked_on": "the sequence “Webinar”"},
        "The brake of the sequence “Webinar” holds it.",
    ),
    (
        {"rule": "sender_not_active", "inputs": {"blocked_on": "sender:desk"}},
        {"blocked_on": "the sender “Ada's desk”"},
        "No active sender is set up for it.",
    ),
    (
        {"rule": "failure", "inputs": {"step": "welcome", "reason": "unknown address"}},
        {"step": "step 1 “Welcome”"},
        "Step 1 “Welcome” failed: unknown address.",
    ),
    (
        {"rule": "condition", "inputs": {"opened opened within 2 days": False}},
        {"opened opened within 2 days": "opened step 2 “Condition 2” within 2 days"},
        "The condition looked at: opened step 2 “Condition 2” within 2 days is false.",
    ),
    (
        {"rule": "overdue", "inputs": {"task": str(TASK)}},
        {"task": "the task “Call Ada”"},
        "Nobody did the task “Call Ada” in time.",
    ),
    (
        {"rule": "owner_not_active", "inputs": {"owner": str(ADMIN)}},
        {"owner": "ada@example.com"},
        "The owner ada@example.com is not active.",
    ),
    (
        {"rule": "settled_sent", "inputs": {"by": f"api_key:{UUID(int=7)}"}},
        {"by": "admin"},
        "It went out, as admin showed.",
    ),
    (
        {"rule": "company", "inputs": {"enrollment": str(OTHER_ENROLLMENT)}},
        {"enrollment": "the sequence “Onboarding”"},
        "Somebody of the same company did what stops the sequence “Onboarding”.",
    ),
    (
        {"rule": "funnel_off", "inputs": {"funnel": "spring"}},
        {"funnel": "Spring webinar"},
        "The lead's funnel Spring webinar is switched off.",
    ),
    (
        {"rule": "exclusive", "inputs": {"sequence_id": str(UUID(int=99))}},
        {},
        "The lead is in another sequence, which excludes this one.",
    ),
]


async def test_a_wait_is_told_with_names(furnished: Gateway) -> None:
    for why, names, text in NAMED:
        found = await shown(furnished, {"kind": "time", "until": None, "why": why})
        assert found["waiting_for"]["why"] == {**why, "names": names, "text": text}


async def test_a_wait_with_an_end_says_when(furnished: Gateway) -> None:
    waits = {"kind": "time", "until": NOW, "why": {"rule": "delay", "inputs": {}}}
    following = {"step_id": "text", "execution": 3, "at": NOW}
    found = await shown(furnished, waits, current_step="text", next=following)
    assert found["waiting_for"]["why"]["text"] == "It waits out its delay. Planned for 2026-11-20 09:00 UTC."
    assert (found["current_step_name"], found["current_step_number"]) == ("SMS 5", 5)
    assert (found["next"]["step_name"], found["next"]["step_number"]) == ("SMS 5", 5)


BY_HAND = {"kind": "pause", "until": None, "why": {"rule": "by_hand", "inputs": {}}}
UNRECORDED: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "start", "until": None, "why": None}, "pending_by_hand", "It begins when somebody starts it."),
    (
        {"kind": "dispatch", "until": NOW, "why": None},
        "outcome",
        "It is on its way; the answer of the channel is awaited.",
    ),
    (
        {"kind": "pause", "until": None, "why": {"rule": "by_hand", "inputs": {}}},
        "by_hand",
        "It was held: by hand.",
    ),
]


async def test_a_wait_without_a_recorded_rule_has_words_too(furnished: Gateway) -> None:
    for waits, rule, text in UNRECORDED:
        why = (await shown(furnished, waits))["waiting_for"]["why"]
        assert (why["rule"], why["text"]) == (rule, text)


async def test_steps_are_called_as_in_the_version_that_the_enrollment_is_in(furnished: Gateway) -> None:
    found = await shown(furnished, None, current_step="welcome")
    assert (found["current_step_name"], found["waiting_for"], found["next"]) == ("Welcome", None, None)
    [listed, _] = (await furnished.http.get("/api/v1/enrollments", headers=furnished.key())).json()["items"]
    assert listed["current_step_name"] == "Renamed"
