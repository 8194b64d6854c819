"""Given events, then documents."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.activities import described
from services.projector.announcer import activity_of
from services.projector.event import Event as ViewEvent
from services.projector.views import ALL_VIEWS
from services.projector.views.timeline import group_of
from shared.events.message import Event, registered
from shared.ids import derived_id
from shared.persistence.search import tokens
from shared.persistence.views import TIMELINE_GROUPS, VIEW_NAMES
from tests.projector.log import DEFINITION, SEQUENCE, START, Log, due_step, nurture, plan, publish_sequence, sent_step
from tests.projector.projecting import Documents, events_of, projected

NOON = START.isoformat()
TASK = derived_id("task", 1)
MEMBER, KEY = derived_id("member", 1), derived_id("key", 1)
ORG = derived_id("organization", "demo")
WHY = {"rule": "condition", "inputs": {}}
STEP = {"execution": 2, "step_id": "step2", "channel": "email"}


class Story:
    """One lead in one enrollment, and what happens next."""

    def __init__(self, number: int = 1) -> None:
        self.log = Log()
        publish_sequence(self.log)
        self.lead, self.enrollment = nurture(self.log, number, steps=0)
        self.log.events.pop()  # it is not completed yet

    def add(self, topic: str, data: dict[str, Any] | None = None, subject: UUID | None = None, **more: Any) -> Story:
        """An event of the lead's."""
        own = {
            "lead": self.lead,
            "enrollment": self.enrollment,
            "task": TASK,
            "engagement": derived_id("engagement", 1),
        }
        own |= {"sequence": SEQUENCE, "organization": ORG}
        aggregate = topic.partition(".")[0]
        lead = None if aggregate in {"sequence", "organization"} else self.lead
        self.log.add(topic, subject or own[aggregate], data or {}, lead_id=lead, **more)
        return self

    def due(self, execution: int = 2, attempt: int = 1) -> Story:
        due_step(self.log, self.lead, self.enrollment, execution, attempt)
        return self

    def sent(self, execution: int = 2, following: dict[str, Any] | None = None) -> Story:
        sent_step(self.log, self.lead, self.enrollment, execution, following)
        return self

    def views(self) -> Documents:
        return projected(events_of(self.log.events))

    def document(self, view: str, document_id: object) -> dict[str, Any]:
        return self.views()[view][str(document_id)]

    @property
    def of_enrollment(self) -> dict[str, Any]:
        return self.document("enrollments", self.enrollment)

    @property
    def of_lead(self) -> dict[str, Any]:
        return self.document("leads", self.lead)

    @property
    def of_message(self) -> dict[str, Any]:
        return self.document("messages", f"{self.enrollment}-2")

    def figures(self, scope: str = "organization") -> dict[str, int]:
        documents = self.views()["statistics"].values()
        total: dict[str, int] = {}
        for document in documents:
            if document["scope"] == scope and document["bucket"] == "all":
                for figure, count in document["n"].items():
                    total[figure] = total.get(figure, 0) + count
        return total


def test_every_event_is_handled_or_ignored_by_every_view() -> None:
    topics = {topic for topic, message in registered().items() if issubclass(message, Event)}
    for view in ALL_VIEWS:
        assert set(view.handlers) | view.ignored == topics, view.name
        assert not set(view.handlers) & view.ignored, view.name


def test_the_views_are_those_that_readers_know() -> None:
    assert tuple(view.name for view in ALL_VIEWS) == VIEW_NAMES


def pending_story() -> Story:
    """An enrollment that waits for its sequence's start."""
    story = Story()
    started = story.log.events[-1]
    started["data"] = {**started["data"], "plan": None}
    return story


ENROLLMENT_CASES: dict[str, tuple[Story, dict[str, Any]]] = {
    "started": (Story(), {"status": "active", "current_step": "step1", "ended_at": None, "version": 1}),
    "pending": (
        pending_story(),
        {"status": "pending", "waiting_for": {"kind": "start", "until": None, "why": None}, "next": None},
    ),
    "activated": (
        Story().add("enrollment.activated", {"plan": plan("step1", 1)}),
        {"status": "active", "current_step": "step1"},
    ),
    "postponed": (
        Story().add("enrollment.step_postponed", {"execution": 1, "step_id": "step1", "plan": plan("step1", 1)}),
        {"next": {"step_id": "step1", "execution": 1, "at": START}},
    ),
    "advanced": (
        Story().add("enrollment.advanced", {"execution": 1, "step_id": "step1", "plan": plan("step1", 1)}),
        {"status": "active", "next": {"step_id": "step1", "execution": 1, "at": START}},
    ),
    "due": (Story().due(), {"current_step": "step2", "next": None}),
    "sent": (
        Story().due().sent(following=plan("step3", 3)),
        {"current_step": "step3", "next": {"step_id": "step3", "execution": 3, "at": START}},
    ),
    "paused": (
        Story().due().add("enrollment.paused", {"reason": "by_hand", "why": None, "until": None}),
        {"status": "paused", "reason": "by_hand", "next": None},
    ),
    "sent in spite of a pause": (
        Story().due().add("enrollment.paused", {"reason": "by_hand", "until": None}).sent(),
        {"status": "paused", "waiting_for": {"kind": "pause", "until": None, "why": {"rule": "by_hand", "inputs": {}}}},
    ),
    "resumed": (
        Story().add("enrollment.paused", {"reason": "by_hand"}).add("enrollment.resumed", {"plan": plan("step1", 1)}),
        {"status": "active", "reason": None, "current_step": "step1"},
    ),
    "resumed with an answer outstanding": (
        Story().add("enrollment.paused", {"reason": "by_hand"}).add("enrollment.resumed", {"plan": None}),
        {"status": "active", "waiting_for": {"kind": "answer", "until": None, "why": None}},
    ),
    "waits for a task": (
        Story().add(
            "enrollment.step_handed_to_person",
            {
                "execution": 2,
                "step_id": "step2",
                "kind": "task",
                "task_id": TASK,
                "plan": plan("step2", 2, blocked_on=f"task:{TASK}"),
            },
        ),
        {"current_step": "step2"},
    ),
    "completed": (
        Story().add("enrollment.completed"),
        {"status": "completed", "current_step": None, "waiting_for": None, "next": None},
    ),
    "exited": (
        Story().add("enrollment.exited", {"reason": "replied"}),
        {"status": "exited", "reason": "replied", "next": None},
    ),
}


@pytest.mark.parametrize("name", ENROLLMENT_CASES)
def test_enrollment(name: str) -> None:
    story, expected = ENROLLMENT_CASES[name]
    document = story.of_enrollment
    assert {field: document[field] for field in expected} == expected
    assert document["position"] == len(story.log.events)


def test_a_brake_is_shown_until_it_is_released() -> None:
    braked = {"at": NOON, "why": WHY}
    sender = {"sender_id": "default", "name": "A", "email": "a@example.com", "limits": {}, "active": True}
    story = Story().add("organization.founded", {"name": "Demo", "timezone": "UTC", "postal_address": ""})
    story.add("organization.sender_set", sender)
    story.add("organization.sender_braked", {"sender_id": "default", **braked})
    story.add("organization.sender_set", {**sender, "name": "B"}).add("sequence.braked", braked)
    kept = story.document("organizations", "demo")["senders"]["default"]
    assert (kept["name"], kept["braked"]) == ("B", {"at": START, "why": WHY})
    assert story.document("sequences", SEQUENCE)["braked"] == {"at": START, "why": WHY}
    story.add("organization.sender_released", {"sender_id": "default"}).add("sequence.released")
    assert story.document("organizations", "demo")["senders"]["default"]["braked"] is None
    assert story.document("sequences", SEQUENCE)["braked"] is None


def test_who_changed_an_enrollment_when_and_why() -> None:
    story = Story()
    story.add("enrollment.paused", {"reason": "by_hand", "until": None}).add("enrollment.resumed", {"plan": None})
    story.add("enrollment.exited", {"reason": "replied", "why": WHY})
    changes = story.of_enrollment["changes"]
    assert [(change["status"], change["reason"], change["why"]) for change in changes] == [
        ("active", changes[0]["reason"], changes[0]["why"]),
        ("paused", "by_hand", None),
        ("active", None, None),
        ("exited", "replied", WHY),
    ]
    assert all(change["by"] for change in changes)
    assert sorted(change["at"] for change in changes) == [change["at"] for change in changes]


def test_attempts_that_ended_without_a_send_are_kept() -> None:
    deferred = {**STEP, "attempt": 1, "reason": "busy", "fault": True, "plan": plan("step2", 2)}
    failed = {**STEP, "attempt": 2, "reason": "gone", "how": "rejected", "plan": plan("step3", 3)}
    story = Story().due().add("enrollment.step_deferred", deferred).due(attempt=2).add("enrollment.step_failed", failed)
    tries = story.of_enrollment["steps"]["2"]["tries"]
    assert [{name: value for name, value in each.items() if name != "at"} for each in tries] == [
        {"attempt": 1, "reason": "busy", "fault": "transient", "again_at": START},
        {"attempt": 2, "reason": "gone", "fault": "permanent", "again_at": None},
    ]


STEP_CASES: dict[str, tuple[Story, str, dict[str, int], str | None]] = {
    "due": (Story().due(), "due", {}, "due"),
    "sent": (Story().due().sent(), "sent", {"sent": 1}, "sent"),
    "deferred": (
        Story()
        .due()
        .add("enrollment.step_deferred", {**STEP, "attempt": 1, "reason": "busy", "fault": True, "plan": None}),
        "deferred",
        {},
        "deferred",
    ),
    "tried again": (
        Story()
        .due()
        .add("enrollment.step_deferred", {**STEP, "attempt": 1, "reason": "busy", "fault": True, "plan": None})
        .due(attempt=2),
        "due",
        {},
        "due",
    ),
    "failed": (
        Story().due().add("enrollment.step_failed", {**STEP, "attempt": 1, "reason": "no", "plan": None}),
        "failed",
        {"failed": 1},
        "failed",
    ),
    "asked to stop": (
        Story()
        .due()
        .add("enrollment.step_stop_requested", {**STEP, "attempt": 1, "dispatch_id": KEY, "reason": "paused"}),
        "stopping",
        {},
        "due",
    ),
    "stopped": (
        Story().due().add("enrollment.step_stopped", {**STEP, "attempt": 1, "reason": "paused", "plan": None}),
        "stopped",
        {},
        "stopped",
    ),
    "in doubt": (
        Story()
        .due()
        .add("enrollment.step_in_doubt", {**STEP, "attempt": 1, "dispatch_id": KEY, "reason": "cut", "plan": None}),
        "in_doubt",
        {},
        "in_doubt",
    ),
    "settled as sent": (
        Story()
        .due()
        .add("enrollment.step_in_doubt", {**STEP, "attempt": 1, "dispatch_id": KEY, "reason": "cut", "plan": None})
        .add("enrollment.step_settled", {**STEP, "dispatch_id": KEY, "outcome": "sent", "by": "opened"}),
        "sent",
        {"sent": 1},
        "sent",
    ),
    "settled as not sent": (
        Story()
        .due()
        .add("enrollment.step_settled", {**STEP, "dispatch_id": KEY, "outcome": "not_sent", "by": "member:1"}),
        "failed",
        {"failed": 1},
        "failed",
    ),
    "reminded": (Story().due().add("enrollment.watchdog_rang", {**STEP, "round": 2}), "due", {}, "due"),
    "skipped": (
        Story().add(
            "enrollment.step_skipped", {"execution": 2, "step_id": "step2", "kind": "email", "why": WHY, "plan": None}
        ),
        "skipped",
        {"skipped": 1},
        None,
    ),
    "taken": (
        Story().add(
            "enrollment.step_taken",
            {"execution": 2, "step_id": "step2", "kind": "condition", "arm": "then", "plan": None},
        ),
        "taken",
        {},
        None,
    ),
    "waits for a person": (
        Story().add(
            "enrollment.step_handed_to_person",
            {"execution": 2, "step_id": "step2", "kind": "task", "task_id": TASK, "plan": plan("step2", 2)},
        ),
        "waiting",
        {},
        None,
    ),
    "done by a person": (
        Story()
        .add(
            "enrollment.step_handed_to_person",
            {"execution": 2, "step_id": "step2", "kind": "task", "task_id": TASK, "plan": plan("step2", 2)},
        )
        .add(
            "enrollment.step_done_by_person",
            {"execution": 2, "step_id": "step2", "task_id": TASK, "outcome": "done", "plan": None},
        ),
        "done",
        {},
        None,
    ),
}


@pytest.mark.parametrize("name", STEP_CASES)
def test_step_of_an_enrollment_and_its_message(name: str) -> None:
    story, status, counts, message_status = STEP_CASES[name]
    document = story.of_enrollment
    assert document["steps"]["2"]["status"] == status
    assert {figure: count for figure, count in document["counts"].items() if count} == counts
    if message_status is not None:
        assert story.of_message["status"] == message_status


@pytest.mark.parametrize(
    ("signal", "field"),
    [
        ("delivered", "delivered_at"),
        ("opened", "first_opened_at"),
        ("clicked", "clicked_at"),
        ("replied", "replied_at"),
        ("bounced", "bounced_at"),
        ("complained", "complained_at"),
        ("unsubscribed", "unsubscribed_at"),
    ],
)
def test_signal_that_counts(signal: str, field: str) -> None:
    story = Story().due().sent().add("enrollment.engagement_noted", {**STEP, "signal": signal, "at": NOON})
    assert story.of_message[field] == START
    assert story.of_enrollment["counts"][signal] == 1
    assert story.of_enrollment["steps"]["2"]["signals"] == {signal: START}
    if signal != "unsubscribed":  # the lead's own event counts that
        assert story.figures()[signal] == 1
        assert story.figures(f"sequence:{SEQUENCE}")[signal] == 1


def test_raw_hits_are_counted_apart_for_people_and_machines() -> None:
    story = Story().due().sent()
    for machine, count in ((0.0, 1), (0.9, 3), (0.1, 2)):
        hit = {
            "enrollment_id": story.enrollment,
            "execution": 2,
            "signal": "opened",
            "machine": machine,
            "count": count,
        }
        story.add("engagement.signal_received", hit)
    story.add("engagement.signal_received", {"enrollment_id": story.enrollment, "execution": 2, "signal": "clicked"})
    story.add("engagement.signal_received", {"enrollment_id": story.enrollment, "execution": 2, "signal": "delivered"})
    message = story.of_message
    assert (message["opens"], message["machine_opens"], message["clicks"]) == (3, 3, 1)
    assert "opened" not in story.figures()


def test_lead_captured() -> None:
    lead = Story().of_lead
    assert lead["name"] == "Ada Byron1"
    assert lead["custom_fields"] == {"a．b": 1, "＄x": "y"}
    assert {"a", "ad", "ada", "byr", "ada1@example.com", "byron1"} <= set(lead["search"])


def test_lead_changed() -> None:
    lead = (
        Story()
        .add(
            "lead.details_merged",
            {"last_name": "Lovelace", "consent": {"sms": True}, "custom_fields": {"a.b": 2}, "occurred_at": NOON},
        )
        .add("lead.scored", {"before": 10, "after": 60, "why": WHY})
        .add("lead.tagged", {"added": ["hot", "vip"], "removed": ["new"]})
        .add("lead.unsubscribed", {"channel": "email", "at": NOON, "source": "link"})
        .add("lead.unsubscribed", {"channel": "email", "sequence_id": str(SEQUENCE), "at": NOON, "source": "link"})
        .add("lead.address_suppressed", {"channel": "email", "address_hash": "x", "reason": "bounce", "at": NOON})
        .add("lead.booked_meeting", {"at": NOON, "place": "here", "occurred_at": NOON})
        .add("lead.won", {"value": 5, "occurred_at": NOON})
        .add("lead.replied", {"channel": "email", "text": "yes", "at": NOON})
        .of_lead
    )
    assert lead["name"] == "Ada Lovelace"
    assert "byron1" not in lead["search"]
    assert "love" in lead["search"]
    assert lead["consent"] == {"email": True, "sms": True}
    assert lead["custom_fields"]["a．b"] == 2
    assert lead["score"] == 60
    assert lead["tags"] == ["hot", "vip"]
    assert lead["unsubscribed"] == {"email": START}
    assert lead["unsubscribed_sequences"] == {str(SEQUENCE): START}
    assert lead["suppressed"] == {"email": "bounce"}
    assert lead["converted"] is True
    assert lead["meeting_at"] == START


def test_lead_resubscribed() -> None:
    story = Story().add("lead.unsubscribed", {"channel": "email", "at": NOON, "source": "link"})
    assert (
        story.add("lead.resubscribed", {"channel": "email", "at": NOON, "source": "form"}).of_lead["unsubscribed"] == {}
    )


def personal_story(number: int = 1) -> Story:
    return (
        Story(number)
        .add("lead.replied", {"channel": "email", "subject": "Re: hi", "text": "secret", "at": NOON})
        .add("task.opened", {"title": "Call secret", "notes": "secret", "due_at": NOON})
        .add("task.completed", {"outcome": "done", "note": "secret"})
        .add("lead.booked_meeting", {"at": NOON, "place": "secret", "occurred_at": NOON})
        .add("lead.erased")
    )


def test_erasure_clears_every_view() -> None:
    assert "secret" not in str(personal_story().views())
    assert "Byron" not in str(personal_story().views())


def test_erased_views_equal_a_replay_in_which_the_log_gives_nothing_personal_any_more() -> None:
    live = personal_story()
    forgotten = [dict(event) for event in live.log.events]
    personal = {
        "email",
        "first_name",
        "last_name",
        "custom_fields",
        "subject",
        "text",
        "title",
        "notes",
        "note",
        "place",
    }
    for event in forgotten:
        event["data"] = {name: None if name in personal else value for name, value in event["data"].items()}
    assert projected(events_of(forgotten)) == live.views()


def test_task() -> None:
    story = Story().add(
        "task.opened",
        {"kind": "task", "title": "Call", "due_at": NOON, "enrollment_id": KEY, "execution": 2, "step_id": "call"},
    )
    assert story.document("tasks", TASK)["status"] == "open"
    later = "2026-11-21T09:00:00+00:00"
    story.add("task.snoozed", {"until": later}).add("task.assigned", {"assignee": "member:2"})
    assert story.document("tasks", TASK)["due_at"].isoformat() == later
    assert story.document("tasks", TASK)["assignee"] == "member:2"
    story.add("task.completed", {"outcome": "reached", "note": "fine"}, actor="member:2")
    done = story.document("tasks", TASK)
    assert (done["status"], done["outcome"], done["note"], done["closed_by"]) == (
        "completed",
        "reached",
        "fine",
        "member:2",
    )
    assert story.figures()["tasks_done"] == 1
    assert Story().add("task.skipped", {"note": None}).document("tasks", TASK)["status"] == "skipped"
    assert Story().add("task.withdrawn", {"reason": "exited"}).document("tasks", TASK)["status"] == "withdrawn"


def test_sequence_life() -> None:
    story = Story()
    assert story.document("sequences", SEQUENCE)["status"] == "active"
    edited = {
        **DEFINITION,
        "name": "Better",
        "steps": [*DEFINITION["steps"], {"step_id": "if", "then": [{"step_id": "x"}]}],
    }
    story.add("sequence.edited", {"definition": edited})
    document = story.document("sequences", SEQUENCE)
    assert (document["status"], document["draft_status"], document["has_draft"]) == ("active", "draft", True)
    assert (document["name"], document["definition"]["name"], document["steps_count"]) == ("Welcome", "Better", 2)
    story.add("sequence.submitted").add("sequence.rejected", {"feedback": "no"})
    assert story.document("sequences", SEQUENCE)["feedback"] == "no"
    story.add("sequence.submitted").add("sequence.approved").add(
        "sequence.published", {"version": 2, "definition": edited}
    )
    document = story.document("sequences", SEQUENCE)
    assert (document["name"], document["version"], document["has_draft"], document["steps_count"]) == (
        "Better",
        2,
        False,
        4,
    )
    assert [each["version"] for each in document["versions"]] == [1, 2]
    assert story.document("sequence_versions", f"{SEQUENCE}-2")["definition"]["name"] == "Better"
    for topic, data, status in (
        ("paused", {}, "paused"),
        ("resumed", {}, "active"),
        ("archived", {}, "archived"),
        ("deleted", {"enrollments": "exit"}, "archived"),
        ("restored", {"to": "paused"}, "paused"),
    ):
        story.add(f"sequence.{topic}", data)
        document = story.document("sequences", SEQUENCE)
        assert (document["status"], document["deleted"]) == (status, data.get("enrollments"))


def test_a_sequence_is_outlined() -> None:
    other = derived_id("sequence", 3)
    definition = {
        **DEFINITION,
        "owner": "ada",
        "ai": {"suggested": True, "reason": "asked"},
        "steps": [
            {"step_id": "a", "kind": "email", "delay": {"amount": 1, "unit": "days"}},
            {"step_id": "b", "kind": "email", "delay": {"amount": 5, "unit": "business_days"}},
        ],
    }
    story = Story().add("sequence.drafted", {"definition": definition}, subject=other)
    document = story.document("sequences", other)
    assert (document["type"], document["estimated_minutes"], document["steps_count"]) == ("email", 8 * 1_440, 2)
    assert (document["owner"], document["creator"], document["ai"]["reason"]) == ("ada", "ai", "asked")
    story.add("sequence.deleted", {"enrollments": "finish"}, subject=other)
    story.add("sequence.restored", {"to": "draft"}, subject=other)
    assert story.document("sequences", other)["status"] == "draft"


def test_unpublished_sequence_shows_its_draft_s_status() -> None:
    other = derived_id("sequence", 2)
    story = Story().add("sequence.drafted", {"definition": DEFINITION}, subject=other)
    assert story.document("sequences", other)["status"] == "draft"
    story.add("sequence.submitted", subject=other)
    assert story.document("sequences", other)["status"] == "pending"
    assert story.document("sequences", other)["name"] == "Welcome"


def test_organization() -> None:
    story = (
        Story()
        .add("organization.founded", {"name": "Demo", "timezone": "UTC", "postal_address": ""})
        .add("organization.settings_set", {"timezone": "Europe/Berlin", "score_rules": {"a.b": 1}})
        .add(
            "organization.member_added",
            {"member_id": MEMBER, "email": "Ann@Example.com", "name": "Ann", "role": "admin", "password_hash": "h"},
        )
        .add("organization.member_set", {"member_id": MEMBER, "role": "coach", "active": False})
        .add(
            "organization.api_key_issued",
            {"key_id": KEY, "name": "k", "role": "viewer", "scopes": ["a"], "secret_hash": "0" * 64},
        )
        .add("organization.api_key_revoked", {"key_id": KEY})
        .add(
            "organization.sender_set",
            {"sender_id": "default", "name": "Demo", "email": "a@b.c", "limits": {}, "active": True},
        )
        .add(
            "organization.address_suppressed",
            {"channel": "email", "address_hash": "ff", "reason": "by_hand", "at": NOON},
        )
    )
    document = story.document("organizations", "demo")
    assert document["timezone"] == "Europe/Berlin"
    assert document["name"] == "Demo"
    member = document["members"][str(MEMBER)]
    assert (member["role"], member["active"], member["password_hash"]) == ("coach", False, "h")
    assert document["member_emails"] == ["ann@example.com"]
    assert document["api_keys"][str(KEY)]["revoked"] is True
    assert document["senders"]["default"]["email"] == "a@b.c"
    assert list(document["suppressions"]) == ["email_ff"]
    story.add("organization.address_unsuppressed", {"channel": "email", "address_hash": "ff"})
    assert story.document("organizations", "demo")["suppressions"] == {}


def test_timeline_shows_what_happened_in_order() -> None:
    story = (
        Story()
        .due()
        .sent()
        .add("enrollment.engagement_noted", {**STEP, "signal": "opened", "at": NOON})
        .add("enrollment.completed")
    )
    story.add("lead.identity_clashed", {"other_lead_id": str(KEY), "kinds": ["email"]}).add(
        "lead.not_matched", {"why": WHY, "refused": {}}
    )
    story.add("lead.matched", {"sequence_id": str(SEQUENCE), "version": 1, "why": WHY, "refused": {}})
    entries = [entry for entry in story.views()["timeline"].values() if entry["lead_id"] == str(story.lead)]
    assert [entry["kind"] for entry in sorted(entries, key=lambda entry: entry["position"])] == [
        "lead.captured",
        "enrollment.started",
        "enrollment.step_sent",
        "enrollment.engagement_noted",
        "enrollment.completed",
        "lead.identity_clashed",
        "lead.not_matched",
        "lead.matched",
    ]
    sent = next(entry for entry in entries if entry["kind"] == "enrollment.step_sent")
    assert (sent["sequence_id"], sent["step_id"], sent["channel"]) == (str(SEQUENCE), "step2", "email")


def test_a_change_of_details_names_the_fields_and_what_personal_ones_there_are_goes_with_the_lead() -> None:
    story = Story().add(
        "lead.details_merged",
        {
            "company": "secret",
            "title": "CTO",
            "consent": {"sms": True},
            "custom_fields": {"a.b": "secret"},
            "cleared": ["locale"],
            "cleared_custom": ["budget"],
        },
    )

    def entry() -> dict[str, Any]:
        return next(each for each in story.views()["timeline"].values() if each["kind"] == "lead.details_merged")

    changed = entry()
    assert changed["detail"] == {"cleared": ["locale"], "fields": ["title", "consent.sms"]}
    assert changed["personal"] == {"personal_fields": ["company", "a.b", "budget"]}
    named = described(changed)
    assert named["title"] == "Details changed: company, a b, budget, title, consent sms and 1 more"
    story.add("lead.erased")
    assert entry()["personal"] is None
    assert described(entry())["title"] == "Details changed: title, consent sms, locale"


def test_what_happens_to_a_task_stands_in_the_timeline() -> None:
    story = Story().add("task.opened", {"title": "Call", "due_at": NOON})
    story.add("task.snoozed", {"until": NOON}).add("task.assigned", {"assignee": str(MEMBER)})
    story.add("task.draft_edited", {"subject": "secret"})
    entries = sorted(story.views()["timeline"].values(), key=lambda each: int(each["position"]))[-3:]
    assert [(each["kind"], each["group"], sorted(each["detail"])) for each in entries] == [
        ("task.snoozed", "task", ["until"]),
        ("task.assigned", "task", ["assignee"]),
        ("task.draft_edited", "task", []),
    ]
    assert {each["lead_id"] for each in entries} == {str(story.lead)}
    assert [described(each)["title"] for each in entries] == [
        "Task put off",
        "Task given to somebody else",
        "Draft edited",
    ]
    assert "secret" not in str(entries)


def test_a_lead_has_every_funnel_that_it_came_by() -> None:
    story = Story()
    first = story.of_lead["funnel_id"]
    for funnel in ("fair", "fair", None):
        story.add("lead.details_merged", {"funnel_id": funnel, "consent": {}})
    assert story.of_lead["funnel_id"] == first
    assert story.of_lead["funnels"] == [*([first] if first else []), "fair"]


def test_each_change_of_a_member_begins_a_new_epoch() -> None:
    story = Story().add("organization.founded", {"name": "Demo", "timezone": "UTC", "postal_address": ""})
    added = {"member_id": MEMBER, "email": "ann@example.com", "name": "Ann", "role": "admin", "password_hash": "h"}
    story.add("organization.member_added", added)

    def epoch() -> int:
        return int(story.document("organizations", "demo")["members"][str(MEMBER)]["epoch"])

    known = [epoch()]
    for change in ({"password_hash": "i"}, {"role": "viewer"}, {"active": False}, {"active": True}):
        story.add("organization.member_set", {"member_id": MEMBER, **change})
        known.append(epoch())
        assert known[-1] == story.document("organizations", "demo")["position"]
    assert known[0] == 0
    assert known == sorted(set(known))


def test_what_is_pushed_of_an_event_is_never_personal() -> None:
    rejected = Story().add("task.draft_rejected", {"reason": "secret", "then": "skip"})
    assert activity_of(events_of(rejected.log.events)[-1], {})["detail"] == {}
    failed = Story().add("enrollment.step_failed", {**STEP, "attempt": 1, "reason": "530 sign in"})
    assert activity_of(events_of(failed.log.events)[-1], {})["detail"]["reason"] == "530 sign in"


def test_statistics_by_day_hour_and_step() -> None:
    story = Story().due().sent()
    documents = story.views()["statistics"].values()
    day = next(
        each for each in documents if each["bucket"] == "day:2026-11-20" and each["scope"] == f"sequence:{SEQUENCE}"
    )
    assert day["hours"]["09"]["sent"] == 1
    steps = next(each["steps"] for each in documents if "steps" in each)
    assert steps["step2"] == {"due": 1, "sent": 1}
    assert story.figures()["enrolled"] == 1


def test_a_step_that_is_tried_again_is_due_once() -> None:
    assert Story().due().due(attempt=2).figures()["due"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, []),
        ("", []),
        ("  ", []),
        ("Ängström", ["a", "an", "ang", "angs", "angst", "angstr", "angstro", "angstrom"]),
        ("a b", ["a", "a b", "b"]),
        (5, []),
    ],
)
def test_search_tokens(text: object, expected: list[str]) -> None:
    assert tokens(text) == expected


def test_hostile_names_make_few_tokens() -> None:
    assert len(tokens("x" * 2_000)) <= 22
    assert len(tokens(" ".join(f"w{n}" for n in range(1_000)))) < 60


def long_story() -> list[ViewEvent]:
    log = Log()
    publish_sequence(log)
    for number in range(3):
        nurture(log, number)
    story = personal_story(3)
    shift = len(log.events)
    for event in story.log.events[4:]:
        log.events.append({**event, "position": event["position"] + shift})
    return events_of(log.events)


LONG = long_story()
WHOLE = projected(LONG)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=len(LONG)), max_size=12))
def test_where_batches_end_does_not_matter(cuts: list[int]) -> None:
    assert projected(LONG, cuts) == WHOLE


def test_batches_of_one() -> None:
    assert projected(LONG, range(len(LONG))) == WHOLE


ACTIVITY = {"activity_id": str(KEY), "at": NOON}


def with_activities() -> Story:
    return (
        Story()
        .add("lead.call_logged", {**ACTIVITY, "outcome": "connected", "duration_seconds": 240, "note": "secret"})
        .add(
            "lead.meeting_logged",
            {**ACTIVITY, "at": "2030-01-01T09:00:00Z", "outcome": "scheduled", "attendees": ["secret"]},
        )
        .add("lead.email_logged", {**ACTIVITY, "subject": "secret", "metadata": {"a.b": {"$x": "secret"}}})
        .add("lead.note_logged", {"activity_id": str(KEY), "text": "secret"})
        .add("lead.assigned", {"owner": str(MEMBER)})
    )


def test_activities_stand_in_the_timeline_each_in_its_group() -> None:
    story = with_activities()
    entries = {each["kind"]: each for each in story.views()["timeline"].values()}
    groups = {kind: entry["group"] for kind, entry in entries.items()}
    assert groups["lead.call_logged"] == "call"
    assert groups["lead.meeting_logged"] == "meeting"
    assert groups["lead.email_logged"] == "email"
    assert groups["lead.note_logged"] == "note"
    assert groups["lead.assigned"] == groups["lead.captured"] == "change"
    assert groups["enrollment.started"] == "enrollment"
    assert set(groups.values()) <= set(TIMELINE_GROUPS)
    call = entries["lead.call_logged"]
    assert (call["detail"]["outcome"], call["detail"]["duration_seconds"]) == ("connected", 240)
    assert call["personal"] == {"note": "secret"}
    assert "secret" in str(story.views())
    assert "secret" not in str(story.add("lead.erased").views())


def test_every_topic_has_a_group_that_readers_know() -> None:
    topics = {topic for topic, message in registered().items() if issubclass(message, Event)}
    assert {group_of(topic) for topic in topics} <= set(TIMELINE_GROUPS)


def test_a_meeting_ahead_is_no_activity_of_the_future() -> None:
    lead = with_activities().of_lead
    assert lead["owner"] == str(MEMBER)
    assert START < lead["last_activity_at"] < START.replace(year=2027)


def test_a_bulk_shows_its_progress_and_each_refused_target() -> None:
    log, bulk = Log(), derived_id("bulk", 1)
    refusal = {"target": str(derived_id("lead", 1)), "code": "unreachable", "detail": "rule address"}
    log.add("bulk.ordered", bulk, {"kind": "enroll", "order": {"start": True}}, actor="member:1")
    log.add("bulk.targets_named", bulk, {"page": 1, "targets": [refusal["target"]] * 3})
    log.add("bulk.begun", bulk, {"count": 3})
    log.add("bulk.advanced", bulk, {"handled": 2, "done": 1, "unchanged": 0, "refusals": [refusal]})
    running = projected(events_of(log.events))["bulks"][str(bulk)]
    assert running | {"status": "running", "handled": 2, "done": 1, "refused": 1} == running
    assert running["reasons"] == {"unreachable": 1}
    log.add("bulk.advanced", bulk, {"handled": 3, "done": 0, "unchanged": 0, "refusals": [refusal]})
    log.add("bulk.finished", bulk, {"done": 1, "unchanged": 0, "refused": 2, "reasons": {"unreachable": 2}})
    log.add("bulk.undone", bulk, {"undo_id": derived_id("bulk", 2)})
    views = projected(events_of(log.events))
    report = views["bulks"][str(bulk)]
    assert report | {"status": "finished", "count": 3, "refused": 2, "reasons": {"unreachable": 2}} == report
    assert report["undone_by"] == str(derived_id("bulk", 2))
    assert [each["code"] for each in views["bulk_refusals"].values()] == ["unreachable", "unreachable"]
    numbers = [each["number"] for each in views["bulk_refusals"].values()]
    assert numbers == sorted(set(numbers))


def test_a_cancelled_bulk_is_shown_as_such() -> None:
    log, bulk = Log(), derived_id("bulk", 1)
    log.add("bulk.ordered", bulk, {"kind": "pause", "order": {}})
    log.add("bulk.begun", bulk, {"count": 1})
    log.add("bulk.cancelled", bulk, {"handled": 0})
    assert projected(events_of(log.events))["bulks"][str(bulk)]["status"] == "cancelled"


def test_a_funnel_and_its_sequence_know_their_assignments() -> None:
    log, funnel = Log(), derived_id("funnel", "demo", "web")
    publish_sequence(log)
    log.add("funnel.created", funnel, {"funnel_id": "web", "name": "web"})
    log.add("funnel.renamed", funnel, {"name": "Web"})
    log.add("funnel.sequences_assigned", funnel, {"sequence_ids": [SEQUENCE, TASK]})
    log.add("sequence.assigned_to_funnels", SEQUENCE, {"funnel_ids": ["web", "fair"]})
    log.add("funnel.sequences_unassigned", funnel, {"sequence_ids": [TASK]})
    log.add("sequence.unassigned_from_funnels", SEQUENCE, {"funnel_ids": ["fair"]})
    log.add("funnel.switched", funnel, {"auto": False})
    log.add("funnel.fallback_chosen", funnel, {"sequence_id": SEQUENCE})
    log.add("funnel.form_opened", funnel, {"form_key": "k" * 22, "origins": [], "redirect_to": None})
    views = projected(events_of(log.events))
    wanted = {"name": "Web", "auto": False, "sequences": [str(SEQUENCE)], "fallback": str(SEQUENCE)}
    document = views["funnels"][str(funnel)]
    assert document | wanted == document
    assert document["form"]["form_key"] == "k" * 22
    assert views["sequences"][str(SEQUENCE)]["funnels"] == ["web"]
    log.add("funnel.form_closed", funnel, {})
    assert projected(events_of(log.events))["funnels"][str(funnel)]["form"] is None


def test_publishing_assigns_the_triggers_funnels() -> None:
    log = Log()
    publish_sequence(log)
    log.add("sequence.published", SEQUENCE, {"version": 2, "definition": {**DEFINITION, "trigger": {"funnels": ["x"]}}})
    assert projected(events_of(log.events))["sequences"][str(SEQUENCE)]["funnels"] == ["x"]


def test_a_lead_shows_the_newest_answer_of_matching_and_a_refused_start_its_reason() -> None:
    story = Story().add("lead.not_matched", {"why": WHY, "refused": {str(SEQUENCE): WHY}})
    before = story.of_lead["match"]
    assert before["sequence_id"] is None
    story.add("lead.matched", {"sequence_id": SEQUENCE, "version": 1, "why": {"rule": "best_match"}, "refused": {}})
    assert story.of_lead["match"]["sequence_id"] == str(SEQUENCE)
    assert story.of_lead["match"]["why"] == {"rule": "best_match"}
    story.add("lead.not_matched", {"why": WHY, "refused": {str(SEQUENCE): WHY}, "on": "score_reached"})
    assert story.of_lead["match"]["why"] == {"rule": "best_match"}
    pending = pending_story()
    pending.log.events[-1]["data"]["start_at"] = NOON
    assert pending.of_enrollment["waiting_for"] == {"kind": "start", "until": START, "why": None}
    pending.add("enrollment.start_refused", {"why": {"rule": "address", "inputs": {}}})
    waits = pending.of_enrollment
    assert (waits["status"], waits["reason"], waits["waiting_for"]["why"]["rule"]) == ("pending", "address", "address")


def test_a_call_of_another_system_counts_as_no_message() -> None:
    story = Story().due()
    for event in story.log.events[-1:]:
        event["data"]["channel"] = "webhook"
    sent = {**STEP, "channel": "webhook", "attempt": 1, "dispatch_id": TASK, "sent_at": NOON, "plan": None}
    story.add("enrollment.step_sent", sent)
    assert story.of_enrollment["counts"]["sent"] == 0
    assert (
        story.of_enrollment["steps"]["2"] | {"kind": "webhook", "status": "sent"} == story.of_enrollment["steps"]["2"]
    )
    assert (story.figures().get("sent", 0), story.figures()["called"]) == (0, 1)


def test_a_draft_waits_is_edited_and_approved() -> None:
    opened = {"kind": "email_manual", "title": "Hi", "subject": "Hi", "text": "Hello", "due_at": NOON}
    story = Story().add("task.opened", opened)
    task = story.document("tasks", TASK)
    assert (task["draft"], task["status"], task["subject"], task["html"]) == (True, "open", "Hi", None)
    story.add("task.draft_edited", {"subject": "Dear", "html": "<p>x</p>", "text": None, "preheader": None})
    task = story.document("tasks", TASK)
    assert (task["subject"], task["html"], task["text"]) == ("Dear", "<p>x</p>", None)
    story.add("task.draft_approved", actor="member:1")
    task = story.document("tasks", TASK)
    assert (task["status"], task["closed_by"]) == ("approved", "member:1")
    plan_again = plan("step2", 2)
    handed = {"execution": 2, "step_id": "step2", "kind": "email_manual", "task_id": TASK, "plan": plan_again}
    story.add("enrollment.step_handed_to_person", handed)
    story.add("enrollment.step_approved", {"execution": 2, "step_id": "step2", "task_id": TASK, "plan": plan_again})
    assert story.of_enrollment["steps"]["2"]["status"] == "approved"
    story.add("lead.erased")
    assert {story.document("tasks", TASK)[name] for name in ("title", "subject", "html", "text")} == {None}


def test_a_rejected_draft_says_why_and_what_followed() -> None:
    story = Story().add("task.opened", {"kind": "email_manual", "title": "Hi", "due_at": NOON})
    task = story.add("task.draft_rejected", {"reason": "too early", "then": "exit"}).document("tasks", TASK)
    assert (task["status"], task["outcome"], task["note"]) == ("rejected", "exit", "too early")


def test_what_nobody_did_is_shown_as_overdue() -> None:
    story = Story().add(
        "enrollment.step_handed_to_person", {**STEP, "kind": "call", "task_id": TASK, "plan": plan("step2", 2)}
    )
    story.add("enrollment.step_overdue", {**STEP, "task_id": TASK, "then": "continue", "plan": plan("step3", 3)})
    document = story.of_enrollment
    assert (document["steps"]["2"]["status"], document["current_step"]) == ("overdue", "step3")


def test_a_goal_is_kept_with_its_moment() -> None:
    document = Story().add("enrollment.goal_reached", {**STEP, "goal": "demo"}).of_enrollment
    assert document["goal"] == "demo"
    assert document["goal_at"] > START


def test_snippets_are_kept_by_name() -> None:
    story = Story().add("organization.founded", {"name": "Demo", "timezone": "UTC", "postal_address": ""})
    story.add("organization.snippet_set", {"name": "bye", "text": "Bye", "html": None}, actor="member:1")
    snippet = story.document("organizations", "demo")["snippets"]["bye"]
    assert (snippet["text"], snippet["updated_by"]) == ("Bye", "member:1")
    story.add("organization.snippet_removed", {"name": "bye"})
    assert story.document("organizations", "demo")["snippets"] == {}


def test_an_attachment_that_was_removed_is_still_known() -> None:
    story, file_id = Story(), derived_id("attachment", 1)
    file = {"name": "a.pdf", "content_type": "application/pdf", "size": 3, "sha256": "0" * 64}
    story.add("organization.attachment_added", {"attachment_id": file_id, "file": file}, actor="member:1")
    added = story.document("attachments", file_id)
    assert (added["name"], added["size"], added["removed"], added["added_by"]) == ("a.pdf", 3, False, "member:1")
    story.add("organization.attachment_removed", {"attachment_id": file_id})
    assert story.document("attachments", file_id)["removed"] is True


def test_a_cleared_field_is_gone_from_a_lead_and_from_its_search() -> None:
    story = Story().add("lead.details_merged", {"company": "Zuse", "title": "CTO", "custom_fields": {"a": 1, "b": 2}})
    before = set(story.of_lead["search"])
    story.add("lead.details_merged", {"cleared": ["company", "title"], "cleared_custom": ["a"], "status": "Won"})
    lead = story.of_lead
    assert (lead["company"], lead["title"], lead["status"]) == (None, None, "Won")
    assert "a" not in lead["custom_fields"]
    assert lead["custom_fields"]["b"] == 2
    assert before - set(lead["search"]) >= {"zuse", "zus"}
    story.add("lead.details_merged", {"company": "Lovelace"})
    assert "lovelace" in story.of_lead["search"]
