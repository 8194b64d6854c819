"""Every kind of step: what it says, and what happens when it is due."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from services.enrollment.domain.errors import InvalidDefinition
from shared.events.definition import CONFIG_OF_KIND, Step
from shared.events.enrollment import (
    EnrollmentExited,
    GoalReached,
    MembersNotified,
    NoteLeft,
    RecordDeferred,
    RecordSent,
    StepDue,
    StepSent,
    StepSkipped,
    StepTaken,
)
from shared.events.kinds import StepKind
from shared.events.lead import AssignLead, LeadDetailsMerged
from shared.events.organization import AddMember, SetMember, SetOrganization, SetSender
from shared.events.sequence import DraftSequence
from shared.events.task import TaskOpened
from shared.events.why import TimerClass
from shared.ids import derived_id
from tests.domain.scenario import Scenario, T, days, definition, email, in_flight

CONFIGS: dict[str, dict[str, Any]] = {
    "email": {"subject": "Hi", "text": "Hello"},
    "email_manual": {"subject": "Hi", "text": "Hello", "on_reject": "exit"},
    "sms": {"text": "Hello {{ first_name }}"},
    "whatsapp": {"template": {"name": "hello", "language": "en_US", "parameters": ["{{ first_name }}"]}},
    "call": {"title": "Call", "retry": {"after_hours": 2, "at_most": 3}},
    "task": {"title": "Look"},
    "reminder": {"title": "Remember"},
    "social": {"title": "Connect", "network": "linkedin"},
    "note": {"text": "Came by"},
    "wait": {},
    "condition": {"when": {"has_tag": "x"}},
    "webhook": {"url": "https://example.com/hook", "headers": {"X-Team": "a"}},
    "score": {"add": 5},
    "tag": {"add": ["x"]},
    "field": {"status": "Contacted"},
    "appointment": {"subject": "Demo", "text": "See you", "title": "Demo", "start": {"amount": 2, "unit": "days"}},
    "notification": {"text": "Warm lead", "to": "all"},
    "goal": {"name": "demo booked"},
    "exit": {},
}


ACTIVE, GONE = str(UUID(int=21)), str(UUID(int=22))


def step(kind: str, step_id: str | None = None, **config: Any) -> dict[str, Any]:
    """A step with the config of its kind above, changed by ``config``."""
    return {"step_id": step_id or kind, "kind": kind, "config": {**CONFIGS[kind], **config}}


# --- what each says ---------------------------------------------------------------------------------------------------


def test_every_kind_has_a_config_of_its_own() -> None:
    assert set(CONFIG_OF_KIND) == set(StepKind) == {StepKind(kind) for kind in CONFIGS}
    assert len(set(CONFIG_OF_KIND.values())) == len(StepKind)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_step_reads_the_same_after_it_was_stored(kind: str) -> None:
    made = Step.model_validate(step(kind))
    assert type(made.config) is CONFIG_OF_KIND[StepKind(kind)]
    again = Step.model_validate_json(made.model_dump_json())
    assert again == made
    assert type(again.config) is type(made.config)


@pytest.mark.parametrize(
    ("kind", "config", "named"),
    [
        ("sms", {"text": ""}, "config.text"),
        ("sms", {"text": "x" * 1_601}, "config.text"),
        ("whatsapp", {"text": "both"}, "config"),
        ("whatsapp", {"template": None}, "config"),
        ("whatsapp", {"template": {"name": "Bad Name", "language": "en"}}, "config.template.name"),
        ("webhook", {"url": "ftp://example.com"}, "config.url"),
        ("webhook", {"url": "https://user:pw@example.com/"}, "config.url"),
        ("webhook", {"url": "https://example.com/{{ email }}"}, "config.url"),
        ("webhook", {"headers": {"X-A": "a\r\nB: c"}}, "config.headers"),
        ("webhook", {"headers": {"Bad Name": "a"}}, "config.headers"),
        ("webhook", {"headers": {"Host": "elsewhere"}}, "config.headers"),
        ("webhook", {"headers": {"Webhook-Signature": "v1,x"}}, "config.headers"),
        ("call", {"retry": {"on": ["connected"]}}, "config.retry.on.0"),
        ("task", {"title": ""}, "config.title"),
        ("task", {"overdue": "explode"}, "config.overdue"),
        ("social", {"network": "usenet"}, "config.network"),
        ("note", {"text": ""}, "config.text"),
        ("field", {"status": None}, "config"),
        ("field", {"status": None, "custom_fields": {"": 1}}, "config.custom_fields..[key]"),
        ("appointment", {"start": None}, "config.start"),
        ("appointment", {"duration_minutes": 0}, "config.duration_minutes"),
        ("notification", {"text": ""}, "config.text"),
        ("goal", {"name": ""}, "config.name"),
        ("email_manual", {"text": " "}, "config"),
        ("email_manual", {"on_reject": "maybe"}, "config.on_reject"),
        ("wait", {"title": "x"}, "config.title"),
    ],
)
def test_a_wrong_config_names_its_field(kind: str, config: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Step.model_validate(step(kind, **config))
    places = {".".join(str(part) for part in error["loc"]) for error in caught.value.errors()}
    assert named in places


# --- what takes effect at once ----------------------------------------------------------------------------------------


def test_a_note_stands_in_the_enrollment_with_the_leads_values() -> None:
    scenario = Scenario([step("note", text="Met {{ first_name }}"), email("after", delay=days(1))], enrolled=False)
    scenario.world.filled = lambda text, lead: text.replace("{{ first_name }}", lead.first_name or "" if lead else "")
    scenario.create(email="ada@example.com", first_name="Ada")
    note = scenario.event(NoteLeft)
    assert (note.text, note.execution, note.step_id) == ("Met Ada", 1, "note")


@pytest.mark.parametrize(
    ("to", "owner", "told"),
    [
        ("owner", None, "all"),
        ("owner", ACTIVE, ACTIVE),
        ("owner", GONE, "all"),
        ("all", ACTIVE, "all"),
        (ACTIVE, None, ACTIVE),
        (GONE, ACTIVE, "all"),
        ("nobody", None, "all"),
    ],
)
def test_a_notification_tells_members_who_are_there(to: str, owner: str | None, told: str) -> None:
    scenario = with_members(Scenario([step("notification", to=to) | {"delay": days(1)}]), owner)
    scenario.wake()
    assert (scenario.event(MembersNotified).to, scenario.event(MembersNotified).text) == (told, "Warm lead")
    assert scenario.state.status == "completed"


@pytest.mark.parametrize(
    ("named", "owner", "whose"),
    [
        (None, None, None),
        (None, ACTIVE, ACTIVE),
        (None, GONE, None),
        (ACTIVE, None, ACTIVE),
        (ACTIVE, GONE, ACTIVE),
        (GONE, ACTIVE, ACTIVE),
        (GONE, None, None),
        ("nobody", ACTIVE, ACTIVE),
    ],
)
def test_a_task_is_for_whom_its_step_names_or_else_the_owner_when_they_are_there(
    named: str | None, owner: str | None, whose: str | None
) -> None:
    scenario = with_members(Scenario([step("task", assignee=named) | {"delay": days(1)}]), owner)
    scenario.wake()
    assert scenario.event(TaskOpened).assignee == whose


def with_members(scenario: Scenario, owner: str | None) -> Scenario:
    """Two members, one of whom leaves after the lead was given to the owner."""
    scenario.when(AddMember(member_id=UUID(ACTIVE), email="here@example.com", role="admin"))
    scenario.when(AddMember(member_id=UUID(GONE), email="gone@example.com", role="coach"))
    if owner is not None:
        scenario.when(AssignLead(lead_id=scenario.lead_id, owner=UUID(owner)))
    scenario.when(SetMember(member_id=UUID(GONE), active=False))
    assert scenario.error is None
    return scenario


def test_a_field_step_changes_the_lead_and_says_why() -> None:
    steps = [step("field", temperature="Hot", custom_fields={"stage": 2})]
    scenario = Scenario(steps, lead={"email": "a@example.com", "temperature": "Hot", "custom_fields": {"stage": 1}})
    merged = scenario.event(LeadDetailsMerged)
    assert (merged.status, merged.temperature, merged.custom_fields) == ("Contacted", None, {"stage": 2})
    assert merged.why is not None
    assert merged.why.inputs["step"] == "field"
    lead = scenario.world.lead(scenario.lead_id)
    assert lead is not None
    assert (lead.status, lead.temperature, lead.custom_fields) == ("Contacted", "Hot", {"stage": 2})


def test_a_field_that_is_so_already_is_not_recorded() -> None:
    scenario = Scenario([step("field")], lead={"email": "a@example.com", "status": "Contacted"})
    assert "LeadDetailsMerged" not in scenario.names
    assert "StepTaken" in scenario.names


def test_a_delay_from_a_field_sees_what_the_step_before_it_set() -> None:
    after = email("after", delay={"amount": 1, "unit": "days", "from": "field", "field": "custom_fields.demo_on"})
    scenario = Scenario([step("field", custom_fields={"demo_on": "2026-12-01"}), after])
    assert scenario.state.plan is not None
    assert scenario.state.plan.due_at is not None
    assert scenario.state.plan.due_at.isoformat() == "2026-12-02T00:00:00+00:00"


def test_a_goal_without_a_stop_rule_goes_on() -> None:
    scenario = Scenario([step("goal"), email("after", delay=days(1))])
    assert scenario.event(GoalReached).goal == "demo booked"
    assert scenario.state.plan is not None
    assert scenario.state.plan.step_id == "after"


def test_the_last_step_may_be_a_goal() -> None:
    assert Scenario([step("goal")]).state.status == "completed"


@pytest.mark.parametrize(
    "steps", [[step("goal")], [step("goal") | {"conditions": {"not": {"has_tag": "x"}}}, email("after")]]
)
def test_a_goal_ends_the_enrollment_where_its_stop_rule_says_so(steps: list[dict[str, Any]]) -> None:
    scenario = Scenario(steps, settings={"stop_on": ["goal"]})
    exited = scenario.event(EnrollmentExited)
    assert (exited.reason, exited.why.inputs) == ("goal", {"step": "goal", "goal": "demo booked"})


def test_a_goal_holds_the_enrollment_where_its_stop_rule_says_so() -> None:
    scenario = Scenario([step("goal"), email("after")], settings={"stop_on": [{"on": "goal", "do": "pause"}]})
    assert (scenario.state.status, scenario.state.reason) == ("paused", "stop_rule")


def test_all_that_takes_effect_at_once_follows_in_one_decision() -> None:
    kinds = ("note", "score", "tag", "field", "notification", "goal", "wait")
    scenario = Scenario([*(step(kind) for kind in kinds), email("mail", delay=days(1))])
    taken = [event.kind for event in scenario.events if isinstance(event, StepTaken)]
    assert taken == list(kinds)
    assert scenario.state.last_execution == len(kinds) + 1


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sms", "whatsapp"])
def test_a_text_goes_to_the_leads_phone(kind: str) -> None:
    lead = {"email": "ada@example.com", "phone": "+4915112345678"}
    assert Scenario([step(kind)], lead=lead).wake().event(StepDue).channel == kind


def test_a_text_to_a_lead_without_phone_is_skipped_with_its_reason() -> None:
    scenario = in_flight([email("first"), step("sms")]).sent()
    assert scenario.event(StepSkipped).why.rule == "address"


def test_an_invitation_says_when_the_appointment_begins() -> None:
    start = {"amount": 2, "unit": "days", "at": "15:30"}
    scenario = Scenario([step("appointment", start=start)], lead={"email": "a@b.example", "timezone": "Europe/Berlin"})
    due = scenario.wake().event(StepDue)
    assert (due.channel, due.starts_at.isoformat()) == ("email", "2026-11-22T14:30:00+00:00")
    assert scenario.state.executions[1].starts_at == due.starts_at


def test_an_appointment_can_be_at_a_date_of_the_lead() -> None:
    start = {"amount": 9, "unit": "hours", "from": "field", "field": "custom_fields.demo_on"}
    lead = {"email": "a@b.example", "custom_fields": {"demo_on": "2026-12-01"}}
    scenario = Scenario([step("appointment", start=start)], lead=lead).wake()
    assert scenario.event(StepDue).starts_at.isoformat() == "2026-12-01T09:00:00+00:00"


@pytest.mark.parametrize(
    ("fields", "rule"),
    [({}, "no_date"), ({"demo_on": "soon"}, "no_date"), ({"demo_on": "2026-11-01"}, "past_appointment")],
)
def test_nobody_is_invited_to_an_appointment_without_a_date_or_past(fields: dict[str, str], rule: str) -> None:
    start = {"amount": 9, "unit": "hours", "from": "field", "field": "demo_on"}
    lead = {"email": "a@b.example", "custom_fields": fields}
    skipped = Scenario([step("appointment", start=start)], lead=lead).wake().event(StepSkipped)
    assert (skipped.why.rule, skipped.why.inputs) == (rule, {"field": "demo_on"})


@pytest.mark.parametrize(
    ("start", "field"), [({"from": "field"}, "field"), ({"from": "field", "field": "status"}, "field")]
)
def test_when_an_appointment_begins_is_checked(start: dict[str, Any], field: str) -> None:
    made = definition([step("appointment", start=start)])
    scenario = Scenario().when(DraftSequence(sequence_id=derived_id("start", str(start)), definition=made))
    assert scenario.error is not None
    assert [each["field"] for each in scenario.error.errors] == [f"steps.appointment.config.start.{field}"]


def test_the_variants_of_an_invitation_begin_at_the_same_time() -> None:
    variants = [{"variant_id": "a"}, {"variant_id": "b", "config": {"start": {"amount": 9, "unit": "days"}}}]
    with pytest.raises(ValidationError, match="is the same for all variants"):
        Step.model_validate({**step("appointment"), "variants": variants})


# --- calls of other systems -------------------------------------------------------------------------------------------

NIGHT = {"windows": [{"days": ["sun"], "start": "03:00", "end": "04:00"}], "limits": {"per_day": 1}}


def test_a_webhook_needs_no_address_no_sender_no_window_and_no_slot() -> None:
    steps = [step("webhook", "one"), step("webhook", "two")]
    scenario = Scenario(steps, settings=NIGHT, lead={"phone": "+4915112345678", "consent": {"email": False}})
    scenario.when(SetSender(sender_id="default", name="Demo", email="demo@example.com", active=False))
    assert scenario.wake().event(StepDue).quotas == []
    scenario.sent().then("StepSent")
    scenario.wake().then("StepDue")
    assert scenario.world.now == T


def test_a_webhook_is_no_message_to_the_lead() -> None:
    """The first message after it still takes its turn behind those who are being written to."""
    scenario = Scenario([step("webhook"), email("mail")]).wake().sent()
    assert scenario.state.sent == 0
    assert scenario.event(StepSent).plan.timer_class == TimerClass.FIRST_TOUCH
    assert scenario.wake().event(StepDue).channel == "email"


def test_a_webhook_that_fails_follows_its_policy() -> None:
    steps = [{**step("webhook"), "on_failure": "exit"}, email("mail")]
    scenario = Scenario(steps, settings={"max_retries": 0}).wake()
    scenario.when(scenario.outcome(RecordDeferred, reason="500"))
    assert scenario.event(EnrollmentExited).reason == "failure"


def test_a_webhook_still_goes_out_to_a_lead_that_unsubscribed_meanwhile() -> None:
    scenario = in_flight([email("first"), step("webhook", "hook")], settings={"stop_on": []})
    scenario.when(scenario.signal("unsubscribed"))
    scenario.when(scenario.outcome(RecordSent, sent_at=scenario.world.now))
    if "StepDue" not in scenario.names:
        scenario.wake()
    assert scenario.event(StepDue).channel == "webhook"


def test_organization_windows_do_not_hold_webhooks_back() -> None:
    scenario = Scenario([step("webhook")])
    scenario.when(SetOrganization(windows=[{"days": ["sun"], "start": "03:00", "end": "04:00"}]))  # type: ignore[list-item]
    assert scenario.wake().event(StepDue).due_at == T
    assert scenario.event(StepDue).valid_until == T + timedelta(hours=1)


# --- channels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sms", "whatsapp"])
def test_a_channel_that_nobody_serves_is_named_when_a_sequence_is_to_go_live(kind: str) -> None:
    scenario = Scenario(enrolled=False)
    scenario.world.served = frozenset({"email", "webhook", "null"})
    place = f"steps.{kind}.config.channel"
    made = definition([step(kind)])
    scenario.when(DraftSequence(sequence_id=derived_id("live", kind), definition=made, activate=True))
    scenario.refused(InvalidDefinition)
    assert scenario.error is not None
    assert scenario.error.errors == [{"field": place, "problem": f"channel {kind} is not set up"}]
    scenario.when(DraftSequence(sequence_id=derived_id("draft", kind), definition=made)).then("SequenceDrafted")
    assert scenario.decision is not None
    assert place in [each["field"] for each in scenario.decision.result["warnings"]]
    unsent = definition([step(kind, channel="null")])
    scenario.when(DraftSequence(sequence_id=derived_id("null", kind), definition=unsent, activate=True))
    assert "SequencePublished" in scenario.names


def test_only_mail_makes_a_thread() -> None:
    steps = [email("first"), step("webhook", "hook"), email("second", config={"thread": True}, delay=days(1))]
    scenario = in_flight(steps).sent(message_id="<a@x>").sent(2, message_id="b")
    assert scenario.state.thread == ("<a@x>",)
