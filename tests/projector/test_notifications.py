"""What members should hear of, and the audit of what they did."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from services.projector.memory import MemoryDocuments
from services.projector.ops import Ops
from services.projector.views.audit import Audit
from services.projector.views.notifications import Notifications
from shared.events.enrollment import (
    AdvanceEnrollment,
    PauseEnrollment,
    RestartEnrollment,
    ResumeEnrollment,
    StepSkipped,
)
from shared.events.lead import EditLead, EraseLead, LeadBody, LeadCreated, TagLead
from shared.events.message import Message, registered
from shared.events.organization import RecordDeed
from shared.events.task import OpenTask, SkipTask, SnoozeTask
from shared.ids import derived_id
from tests.domain.scenario import TWO_MAILS, Scenario, T
from tests.projector.log import SEQUENCE, Log
from tests.projector.projecting import events_of, projected
from tests.projector.test_views import NOON, STEP, Story

LEAD, ENROLLMENT = derived_id("lead", 1), derived_id("enrollment", 1)
ADA, BOB = "member:ada", "member:bob"
QUOTA = {"rule": "quota", "inputs": {"scope": "sequence:x", "unit": "day", "limit": 5}}


def put_off(why: dict[str, Any]) -> dict[str, Any]:
    return {"step_id": "step1", "execution": 1, "at": NOON, "why": why}


def told(story: Story) -> list[dict[str, Any]]:
    """What is not hidden, in order."""
    found = [each for each in story.views()["notifications"].values() if not each["hidden"]]
    return sorted(found, key=lambda each: int(each["position"]))


def test_a_reply_and_what_is_held_are_told_to_everybody() -> None:
    story = Story().add("lead.replied", {"channel": "email", "text": "secret", "at": NOON})
    story.add("enrollment.paused", {"reason": "missing_value"}).add("enrollment.paused", {"reason": "by_hand"})
    reply, held = told(story)
    assert (reply["kind"], reply["to"], reply["lead_id"]) == ("reply", None, str(story.lead))
    assert (held["kind"], held["enrollment_id"]) == ("held", str(story.enrollment))
    assert held["sequence_id"] == str(SEQUENCE)
    assert "secret" not in str(story.views()["notifications"])


def test_what_is_held_is_told_to_the_leads_owner_when_there_was_one() -> None:
    story = Story().add("enrollment.paused", {"reason": "failure", "owner": "ada"})
    story.add("enrollment.paused", {"reason": "in_doubt", "owner": None})
    assert [(each["kind"], each["to"]) for each in told(story)] == [("held", ADA), ("held", None)]


def test_a_brake_is_told_with_its_figures_to_who_may_release_it_until_somebody_does() -> None:
    why = {"rule": "bounce_rate", "inputs": {"count": 6, "sent": 50, "most_percent": 10, "hours": 24}}
    story = Story().add("sequence.braked", {"why": why, "at": NOON})
    story.add("organization.sender_braked", {"sender_id": "sales", "why": why, "at": NOON})
    sequence, sender = told(story)
    assert (sequence["kind"], sequence["to"]) == ("sequence_braked", "approvers")
    assert sequence["sequence_id"] == str(SEQUENCE)
    assert sequence["detail"] == why
    assert (sender["kind"], sender["to"]) == ("sender_braked", "administrators")
    assert sender["detail"] == {"sender_id": "sales", **why}
    assert told(story.add("sequence.released", {})) == [sender]
    assert told(story.add("organization.sender_released", {"sender_id": "sales"})) == []
    [again] = told(story.add("sequence.braked", {"why": why, "at": NOON}))
    assert again["kind"] == "sequence_braked"


def test_what_a_step_has_to_say_is_told_to_whom_it_names_until_the_lead_is_erased() -> None:
    said = {"execution": 1, "step_id": "tell", "text": "Call secret"}
    story = Story().add("enrollment.members_notified", {**said, "to": "all"})
    story.add("enrollment.members_notified", {**said, "to": "ada"})
    assert [(each["kind"], each["to"]) for each in told(story)] == [("message", None), ("message", ADA)]
    assert told(story)[0]["personal"] == {"text": "Call secret"}
    story.add("lead.erased")
    assert [each["personal"] for each in told(story)] == [None, None]


def test_an_approval_is_wanted_of_approvers_and_a_rejection_is_told_to_who_asked() -> None:
    story = Story().add("sequence.submitted", actor=ADA)
    [wanted] = told(story)
    assert (wanted["kind"], wanted["to"], wanted["sequence_id"]) == ("approval_wanted", "approvers", str(SEQUENCE))
    [rejected] = told(story.add("sequence.rejected", {"feedback": "Too long"}, actor=BOB))
    assert (rejected["kind"], rejected["to"]) == ("sequence_rejected", ADA)
    assert rejected["detail"] == {"feedback": "Too long"}
    assert told(story.add("sequence.edited", {"definition": {"steps": []}}, actor=ADA)) == []
    [again] = told(story.add("sequence.submitted", actor=ADA))
    assert again["kind"] == "approval_wanted"
    assert told(story.add("sequence.approved", actor=BOB)) == []


def test_a_key_that_submits_is_nobody_to_tell() -> None:
    story = Story().add("sequence.submitted", actor="api_key:1").add("sequence.rejected", {"feedback": "No"})
    assert [each["to"] for each in told(story)] == [None]


def test_a_limit_is_told_once_a_day_however_many_wait_for_it() -> None:
    story = Story()
    for _ in range(3):
        story.add("enrollment.step_postponed", {"execution": 1, "step_id": "step1", "plan": put_off(QUOTA)})
    story.add("enrollment.step_postponed", {"execution": 1, "step_id": "step1", "plan": put_off({"rule": "window"})})
    [limit] = told(story)
    assert (limit["kind"], limit["merged"], limit["times"]) == ("limit_reached", True, 3)
    assert limit["detail"]["scope"] == "sequence:x"


def test_whatever_plans_a_step_tells_of_the_limit_that_puts_it_off() -> None:
    """Every event that carries a plan, but the one that hands a step to a person: no limit holds that."""
    planning = {topic for topic, message in registered().items() if "plan" in message.model_fields}
    planning.remove("enrollment.step_handed_to_person.v1")
    assert "enrollment.activated.v1" in planning
    view = Notifications()
    for topic in sorted(planning):
        for why, kinds in ((QUOTA, ["limit_reached"]), ({"rule": "window"}, [])):
            data = {**STEP, "attempt": 1, "fault": False, "bounce": True, "reason": "x", "plan": put_off(why)}
            log = Log()
            log.add(topic.removesuffix(".v1"), ENROLLMENT, data, lead_id=LEAD)
            [event] = events_of(log.events)
            ops, documents = Ops(), MemoryDocuments()
            view.apply(event, ops)
            documents.carry_out(ops)
            assert [each["kind"] for each in documents.documents.values()] == kinds, topic
            assert view.concerns(event) == bool(kinds), topic


def test_a_sequence_that_is_deleted_wants_no_approval_any_more() -> None:
    story = Story().add("sequence.submitted", actor=ADA)
    assert [each["kind"] for each in told(story)] == ["approval_wanted"]
    assert told(story.add("sequence.deleted", {"enrollments": "finish"}, actor=BOB)) == []


def test_faults_of_sending_are_counted_and_waits_and_bounces_are_none() -> None:
    story = Story()
    refused = {**STEP, "attempt": 1, "reason": "530 sign in"}
    story.add("enrollment.step_deferred", {**refused, "fault": True}).add("enrollment.step_failed", refused)
    story.add("enrollment.step_deferred", {**refused, "fault": False})
    story.add("enrollment.step_failed", {**refused, "bounce": True})
    [failing] = told(story)
    assert (failing["kind"], failing["times"], failing["detail"]["reason"]) == ("sending_fails", 2, "530 sign in")


def test_the_audit_holds_what_people_did_and_nothing_else() -> None:
    story = Story()
    before = len(story.views()["audit"])
    story.add("lead.tagged", {"added": ["vip"], "removed": [], "why": {"rule": "by_hand"}}, actor=ADA)
    story.add("lead.details_merged", {"email": "secret@example.com", "title": "CTO", "consent": {}}, actor="api_key:7")
    story.add("lead.scored", {"before": 1, "after": 2}, actor="system")
    story.add("lead.note_logged", {"activity_id": str(derived_id("a")), "text": "secret"}, actor=ADA)
    story.due()
    entries = sorted(story.views()["audit"].values(), key=lambda each: int(each["position"]))[before:]
    assert [(each["actor"], each["kind"]) for each in entries] == [
        (ADA, "lead.tagged"),
        ("api_key:7", "lead.details_merged"),
        (ADA, "lead.note_logged"),
    ]
    assert entries[0]["detail"] == {"added": ["vip"], "removed": []}
    assert entries[1]["changed"] == ["email", "title"]
    assert "secret" not in str(story.views()["audit"])


def test_a_bulk_is_one_entry_of_the_audit_with_its_order_and_filter() -> None:
    log, bulk, lead = Log(), derived_id("bulk", 1), derived_id("lead", 1)
    ordered = {"kind": "tag", "order": {"add": ["vip"]}, "filter": {"status": "New", "q": "…"}}
    log.add("bulk.ordered", bulk, ordered, actor=ADA)
    log.add("bulk.targets_named", bulk, {"page": 1, "targets": [lead]}, actor=ADA)
    log.add("bulk.begun", bulk, {"count": 1}, actor=ADA)
    log.add("lead.tagged", lead, {"added": ["vip"], "removed": []}, actor=f"bulk:{bulk}")
    log.add("bulk.advanced", bulk, {"handled": 1, "done": 1, "unchanged": 0, "refusals": []})
    log.add("bulk.finished", bulk, {"done": 1, "unchanged": 0, "refused": 0})
    log.add("bulk.undone", bulk, {"undo_id": derived_id("bulk", 2)}, actor=BOB)
    entries = sorted(projected(events_of(log.events))["audit"].values(), key=lambda each: int(each["position"]))
    assert [(each["kind"], each["actor"], each["subject"]) for each in entries] == [
        ("bulk.ordered", ADA, str(bulk)),
        ("bulk.undone", BOB, str(bulk)),
    ]
    assert entries[0]["detail"] == ordered


def test_a_step_that_a_person_passes_over_stands_in_the_audit_and_one_that_is_passed_over_by_itself_does_not() -> None:
    story = Story()
    before = len(story.views()["audit"])
    skipped = {"execution": 1, "step_id": "step1", "kind": "email"}
    story.add("enrollment.step_skipped", {**skipped, "why": {"rule": "by_hand"}}, actor=ADA)
    story.add("enrollment.step_skipped", {**skipped, "why": {"rule": "condition"}}, actor=ADA)
    story.add("enrollment.step_skipped", {**skipped, "why": {"rule": "by_hand"}}, actor="system")
    entries = sorted(story.views()["audit"].values(), key=lambda each: int(each["position"]))[before:]
    assert [(each["actor"], each["kind"], each["detail"]) for each in entries] == [
        (ADA, "enrollment.step_skipped", {"execution": 1})
    ]


def test_what_changes_nothing_in_the_log_is_told_by_the_audit_alone() -> None:
    story = Story()
    before = story.views()
    story.add("organization.deed_recorded", {"deed": "leads_exported", "by": ["status"]}, actor=ADA)
    after = story.views()
    [entry] = [each for number, each in after["audit"].items() if number not in before["audit"]]
    assert (entry["actor"], entry["kind"]) == (ADA, "organization.deed_recorded")
    assert entry["detail"] == {"deed": "leads_exported", "by": ["status"]}
    assert {name for name in after if after[name] != before[name]} == {"audit"}


def test_every_order_of_a_person_that_changes_something_leaves_an_entry() -> None:
    """What the engine does in its wake has none of its own, so the order must have one."""
    audit = Audit()
    scenario = Scenario(steps=[*TWO_MAILS, {"step_id": "call", "kind": "call", "config": {"title": "Call"}}])
    lead, enrollment = scenario.lead_id, scenario.enrollment_id
    task = derived_id("by hand")
    orders: list[Message] = [
        PauseEnrollment(enrollment_id=enrollment, reason="by_hand"),
        ResumeEnrollment(enrollment_id=enrollment),
        AdvanceEnrollment(enrollment_id=enrollment, skip="wait"),
        AdvanceEnrollment(enrollment_id=enrollment, skip="step"),
        AdvanceEnrollment(enrollment_id=enrollment, skip="step"),
        RestartEnrollment(enrollment_id=enrollment),
        LeadCreated(organization_id="demo", lead=LeadBody(email="bob@example.com")),
        EditLead(lead_id=lead, lead=LeadBody(title="CTO")),
        TagLead(lead_id=lead, add=["vip"]),
        OpenTask(task_id=task, lead_id=lead, title="Ring", due_at=T),
        SnoozeTask(task_id=task, until=T + timedelta(days=1)),
        SkipTask(task_id=task),
        RecordDeed(deed="leads_exported"),
        EraseLead(lead_id=lead),
    ]
    changing = 0
    for order in orders:
        scenario.when(order, actor=ADA)
        recorded = [change.event for change in scenario.decision.changes] if scenario.decision else []
        kept = [each for each in recorded if each.TOPIC in audit.handlers and not passed_over_by_itself(each)]
        assert bool(kept) == bool(recorded), order.TOPIC
        changing += bool(recorded)
    assert changing >= len(orders) - 2


def passed_over_by_itself(event: object) -> bool:
    return isinstance(event, StepSkipped) and event.why.rule != "by_hand"
