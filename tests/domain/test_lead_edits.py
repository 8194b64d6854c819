"""What a person changes in a lead by hand: fields set and cleared, tags replaced, its status."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.enrollment.domain.errors import LeadErasedAlready, UnknownTarget
from services.enrollment.domain.lead import Lead, evolve, initial
from shared.events.bulk import command_of
from shared.events.enrollment import Enroll, EnrollmentPaused, RecordInDoubt
from shared.events.errors import InvalidMessage
from shared.events.lead import (
    AssignLead,
    EditLead,
    EraseLead,
    InboundLead,
    LeadBody,
    LeadBookedMeeting,
    LeadCaptured,
    LeadConverted,
    LeadCreated,
    LeadDetailsMerged,
    LeadUpdated,
    LeadWon,
    MeetingBooked,
    SetLeadStatus,
)
from shared.events.organization import AddMember, SetMember
from shared.ids import derived_id
from tests.domain.scenario import SEQUENCE, Scenario, T, in_flight

MEMBER = derived_id("member", 1)
ADA = {
    "email": "ada@example.com",
    "phone": "+4915112345678",
    "title": "CTO",
    "status": "New",
    "timezone": "Europe/Berlin",
    "tags": ["a", "b"],
    "custom_fields": {"budget": 5, "size": "large"},
}


def edit(scenario: Scenario, lead: dict[str, Any] | None = None, **gone: Any) -> Scenario:
    return scenario.when(EditLead(lead_id=scenario.lead_id, lead=LeadBody.model_validate(lead or {}), **gone))


def lead_of(scenario: Scenario) -> Lead:
    lead = scenario.world.lead(scenario.lead_id)
    assert lead is not None
    return lead


def test_a_cleared_field_has_no_value_and_an_absent_one_stays() -> None:
    scenario = edit(Scenario(enrolled=False).create(**ADA), {"status": "Won"}, clear=["title", "phone"])
    merged = [each for each in scenario.events if isinstance(each, LeadDetailsMerged)]
    assert merged == [
        LeadDetailsMerged(status="Won", occurred_at=T),
        LeadDetailsMerged(cleared=["phone", "title"], occurred_at=T),
    ]
    lead = lead_of(scenario)
    assert (lead.title, lead.phone, lead.status, lead.email) == (None, None, "Won", "ada@example.com")
    edit(scenario, clear=["title", "phone"]).nothing()


def test_single_custom_fields_are_cleared_or_all_of_them() -> None:
    scenario = edit(Scenario(enrolled=False).create(**ADA), {"custom_fields": {"new": 1}}, clear_custom=["budget", "x"])
    assert lead_of(scenario).custom_fields == {"size": "large", "new": 1}
    edit(scenario, clear=["custom_fields"])
    assert lead_of(scenario).custom_fields == {}


def test_what_was_cleared_comes_back_only_with_a_later_word() -> None:
    scenario = Scenario(enrolled=False).create(**ADA).later(hours=2)
    edit(scenario, clear=["title"], clear_custom=["budget"])

    def said(hours: int) -> LeadUpdated:
        body = {"email": "ada@example.com", "title": "CEO", "custom_fields": {"budget": 9}}
        at = T.replace(hour=T.hour + hours)
        return LeadUpdated(organization_id="demo", occurred_at=at, lead=LeadBody.model_validate(body))

    scenario.when(said(1))
    assert (lead_of(scenario).title, dict(lead_of(scenario).custom_fields)) == (None, {"size": "large"})
    scenario.later(hours=1).when(said(3))
    assert (lead_of(scenario).title, lead_of(scenario).custom_fields["budget"]) == ("CEO", 9)


# --- clocks that are ahead ------------------------------------------------------------------------------------------


def ahead(by: timedelta, cls: type[InboundLead] = LeadCreated) -> InboundLead:
    """A funnel's word whose clock is ahead."""
    body = {"email": "ada@example.com", "status": "New", "consent": {"email": True}, "custom_fields": {"budget": 5}}
    return cls(organization_id="demo", occurred_at=T + by, lead=LeadBody.model_validate(body))


@pytest.mark.parametrize("by", [timedelta(minutes=3), timedelta(hours=20)])
def test_a_person_is_right_against_a_clock_that_is_ahead(by: timedelta) -> None:
    scenario = Scenario(enrolled=False).when(ahead(by), message_id="m")
    assert scenario.event(LeadCaptured).occurred_at == T
    scenario.lead_id = UUID(str(scenario.decision.result["lead_id"])) if scenario.decision is not None else UUID(int=0)
    scenario.later(minutes=1)
    edit(scenario, {"consent": {"email": False}, "status": "Won", "custom_fields": {"budget": 9}})
    assert scenario.event(LeadDetailsMerged).consent == {"email": False}
    lead = lead_of(scenario)
    assert (lead.consent, lead.status, lead.custom_fields) == ({"email": False}, "Won", {"budget": 9})


def test_a_person_is_right_at_the_same_moment_too() -> None:
    scenario = Scenario(enrolled=False).create(email="ada@example.com", status="Won", consent={"email": False})
    edit(scenario, {"status": "New", "consent": {"email": True}}).then("LeadDetailsMerged")
    assert (lead_of(scenario).status, lead_of(scenario).consent) == ("New", {"email": True})
    scenario.when(SetLeadStatus(lead_id=scenario.lead_id, status="A")).then("LeadDetailsMerged")


def test_what_the_log_holds_of_a_clock_that_was_ahead_outlasts_no_later_word() -> None:
    """Stored before such moments were cut to the arrival."""
    stored = LeadCaptured(email="ada@example.com", status="New", occurred_at=T + timedelta(days=365))
    lead = evolve(initial(UUID(int=1), "demo"), stored, T)
    lead = evolve(lead, LeadWon(occurred_at=T + timedelta(days=200)), T)
    lead = evolve(lead, LeadBookedMeeting(occurred_at=T + timedelta(days=200)), T)
    assert set(lead.stamps.values()) == {T}
    assert (lead.won_at, lead.met_at) == (T, T)


@pytest.mark.parametrize("cls", [LeadConverted, MeetingBooked])
def test_a_conversion_ahead_of_its_time_that_comes_again_is_the_same_one(cls: type[InboundLead]) -> None:
    """A funnel whose clock is five seconds ahead says it once more two seconds later."""
    told = {"LeadWon", "LeadBookedMeeting"}
    scenario = Scenario(enrolled=False).when(ahead(timedelta(seconds=5), cls), message_id="1")
    assert told & set(scenario.names)
    scenario.later(seconds=2).when(ahead(timedelta(seconds=5), cls), message_id="2")
    assert not told & set(scenario.names)


@pytest.mark.parametrize("cls", [LeadConverted, MeetingBooked])
def test_a_conversion_ahead_of_its_time_ends_nothing_that_begins_later(cls: type[InboundLead]) -> None:
    scenario = Scenario(enrolled=False).when(ahead(timedelta(hours=20), cls), message_id="m").later(hours=1)
    assert scenario.decision is not None
    lead_id = UUID(str(scenario.decision.result["lead_id"]))
    scenario.when(Enroll(lead_id=lead_id, sequence_id=SEQUENCE))
    assert scenario.decision is not None
    scenario.enrollment_id = UUID(str(scenario.decision.result["enrollment_id"]))
    scenario.wake().then("StepDue")


# --- tags and status ------------------------------------------------------------------------------------------------


def test_a_list_of_tags_replaces_those_there_were() -> None:
    scenario = edit(Scenario(enrolled=False).create(**ADA), {"tags": ["b", "c"]})
    assert lead_of(scenario).tags == {"b", "c"}
    edit(scenario, {"tags": []})
    assert lead_of(scenario).tags == set()


def test_a_step_that_waits_is_planned_again_when_the_zone_is_cleared() -> None:
    settings = {"windows": [{"days": ["fri", "sat"], "start": "11:30", "end": "17:00"}]}
    scenario = Scenario(settings=settings, lead=ADA)
    before = scenario.timer
    edit(scenario, clear=["timezone"])
    after = scenario.timer
    assert before is not None and before.due_at is not None  # noqa: PT018
    assert after is not None and after.due_at is not None  # noqa: PT018
    assert (after.due_at - before.due_at).total_seconds() == 3_600


def test_an_erased_lead_is_not_cleared() -> None:
    scenario = Scenario(lead=ADA)
    scenario.when(EraseLead(lead_id=scenario.lead_id))
    edit(scenario, clear=["title"]).refused(LeadErasedAlready)
    scenario.when(SetLeadStatus(lead_id=scenario.lead_id, status="Won")).refused(LeadErasedAlready)
    scenario.when(SetLeadStatus(lead_id=UUID(int=5), status="Won")).refused(UnknownTarget)


def test_a_status_is_set_once_and_taken_away() -> None:
    scenario = Scenario(enrolled=False).create(**ADA)
    scenario.when(SetLeadStatus(lead_id=scenario.lead_id, status="Won"))
    scenario.then(LeadDetailsMerged(status="Won", occurred_at=T))
    scenario.when(SetLeadStatus(lead_id=scenario.lead_id, status="Won")).nothing()
    scenario.when(SetLeadStatus(lead_id=scenario.lead_id, status=None))
    scenario.then(LeadDetailsMerged(cleared=["status"], occurred_at=T))
    assert lead_of(scenario).status is None


def test_a_bulk_sets_the_status_of_leads() -> None:
    assert command_of("status", {"status": "Won"}, MEMBER) == SetLeadStatus(lead_id=MEMBER, status="Won")
    assert command_of("status", {"status": None}, MEMBER) == SetLeadStatus(lead_id=MEMBER, status=None)
    with pytest.raises(InvalidMessage) as refused:
        command_of("status", {})
    assert [each["field"] for each in refused.value.reasons] == ["order.status"]


@pytest.mark.parametrize("active", [True, False])
def test_an_enrollment_on_hold_names_the_leads_owner_who_is_still_there(active: bool) -> None:
    scenario = in_flight(settings={"on_in_doubt": "hold"})
    scenario.when(AddMember(member_id=MEMBER, email="olga@example.com", role="coach"))
    scenario.when(AssignLead(lead_id=scenario.lead_id, owner=MEMBER))
    scenario.when(SetMember(member_id=MEMBER, active=active))
    scenario.when(scenario.outcome(RecordInDoubt))
    assert scenario.event(EnrollmentPaused).owner == (str(MEMBER) if active else None)
