"""Logged calls, meetings, e-mails, notes; conversions and owners by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.enrollment.domain.enrollment import Status
from services.enrollment.domain.errors import InvalidLead, InvalidMoment, LeadErasedAlready, UnknownTarget
from services.enrollment.domain.lead import Lead
from shared.events.activity import (
    LeadCallLogged,
    LeadEmailLogged,
    LeadMeetingLogged,
    LeadNoteLogged,
    LogCall,
    LogEmail,
    LogMeeting,
    LogNote,
)
from shared.events.enrollment import EnrollmentExited
from shared.events.lead import AssignLead, ConvertLead, EraseLead, LeadAssigned, LeadBookedMeeting, LeadWon
from shared.events.message import Message
from shared.events.organization import AddMember, SetMember
from shared.events.why import Why
from tests.domain.scenario import Scenario, T

A = UUID(int=77)
MEMBER = UUID(int=78)
STOPS = {"stop_on": ["reply", "meeting_booked", "conversion"]}


def enrolled(**more: Any) -> Scenario:
    return Scenario(settings=STOPS, **more).later(hours=1)


def call(scenario: Scenario, outcome: str = "connected", **more: Any) -> Scenario:
    return scenario.when(
        LogCall.model_validate({"lead_id": scenario.lead_id, "activity_id": A, "outcome": outcome, **more})
    )


def meeting(scenario: Scenario, **more: Any) -> Scenario:
    return scenario.when(LogMeeting.model_validate({"lead_id": scenario.lead_id, "activity_id": A, **more}))


def test_a_call_is_kept_with_what_was_said() -> None:
    scenario = call(enrolled(), duration_seconds=240, note="Wants a quote", recording_url="https://x.example/r")
    scenario.then(
        LeadCallLogged(
            activity_id=A,
            at=T + timedelta(hours=1),
            direction="outbound",
            outcome="connected",
            duration_seconds=240,
            note="Wants a quote",
            recording_url="https://x.example/r",
        )
    )
    assert scenario.decision is not None
    assert scenario.decision.result == {"activity_id": str(A)}


@pytest.mark.parametrize("outcome", ["connected", "voicemail", "no_answer", "busy", "wrong_number"])
def test_a_call_without_an_answer_stops_nothing(outcome: str) -> None:
    call(enrolled(), outcome).then("LeadCallLogged")


@pytest.mark.parametrize("outcome", ["interested", "not_interested"])
def test_an_answer_on_the_phone_stops_as_a_reply_does(outcome: str) -> None:
    scenario = call(enrolled(), outcome).then("LeadCallLogged", "EnrollmentExited", "LeadLeftSequence")
    why = Why(rule="reply", inputs={"logged": "call", "activity": str(A)})
    assert scenario.event(EnrollmentExited) == EnrollmentExited(reason="replied", why=why)


def test_a_meeting_booked_on_the_phone_stops_as_a_booked_one_does() -> None:
    scenario = call(enrolled(), "meeting_booked")
    scenario.then("LeadCallLogged", "LeadBookedMeeting", "EnrollmentExited", "LeadLeftSequence")
    assert scenario.state.reason == "meeting_booked"


def test_a_meeting_ahead_is_a_booked_one() -> None:
    at = T + timedelta(days=2)
    scenario = meeting(enrolled(), at=at, place="Office", attendees=["Ada"], duration_minutes=30)
    scenario.then("LeadMeetingLogged", "LeadBookedMeeting", "EnrollmentExited", "LeadLeftSequence")
    assert scenario.event(LeadMeetingLogged).outcome == "scheduled"
    booked = LeadBookedMeeting(at=at, place="Office", occurred_at=T + timedelta(hours=1))
    assert scenario.event(LeadBookedMeeting) == booked


def test_a_meeting_held_since_the_enrollment_began_stops_it() -> None:
    scenario = meeting(enrolled(), at=T + timedelta(minutes=30))
    assert scenario.event(LeadMeetingLogged).outcome == "held"
    assert scenario.state.status == Status.EXITED


def test_a_meeting_held_before_the_enrollment_began_stops_nothing_now_or_later() -> None:
    scenario = meeting(enrolled(), at=T - timedelta(days=30))
    scenario.then("LeadMeetingLogged", "LeadBookedMeeting")
    scenario.wake().then("StepDue")


@pytest.mark.parametrize("at", [T - timedelta(days=1), T + timedelta(days=1)])
def test_a_cancelled_meeting_books_nothing(at: Any) -> None:
    meeting(enrolled(), at=at, outcome="cancelled").then("LeadMeetingLogged")


def test_an_email_the_lead_wrote_elsewhere_is_a_reply_and_one_we_wrote_is_none() -> None:
    scenario = enrolled()
    mail = LogEmail(lead_id=scenario.lead_id, activity_id=A, subject="Hi", to=["ada@example.com"], cc=["b@example.com"])
    scenario.when(mail).then("LeadEmailLogged")
    kept = scenario.event(LeadEmailLogged)
    assert (kept.subject, kept.to, kept.cc, kept.direction) == (
        "Hi",
        ["ada@example.com"],
        ["b@example.com"],
        "outbound",
    )
    scenario.when(mail.model_copy(update={"direction": "inbound"}))
    scenario.then("LeadEmailLogged", "EnrollmentExited", "LeadLeftSequence")
    assert scenario.state.reason == "replied"


def test_a_note_is_only_kept() -> None:
    scenario = enrolled()
    scenario.when(LogNote(lead_id=scenario.lead_id, activity_id=A, text="Likes tea", metadata={"by": "phone"}))
    scenario.then(LeadNoteLogged(activity_id=A, text="Likes tea", metadata={"by": "phone"}))


def test_a_sequence_without_the_rule_goes_on() -> None:
    scenario = Scenario(settings={"stop_on": []}).later(hours=1)
    call(scenario, "interested").then("LeadCallLogged")
    meeting(scenario, at=T + timedelta(days=1)).then("LeadMeetingLogged", "LeadBookedMeeting")


def test_a_conversion_by_hand_stops_and_counts_once() -> None:
    scenario = enrolled()
    order = ConvertLead(lead_id=scenario.lead_id, value=1200, currency="EUR", at=T + timedelta(minutes=5))
    scenario.when(order).then("LeadWon", "EnrollmentExited", "LeadLeftSequence")
    assert scenario.event(LeadWon).value == 1200
    scenario.when(order).nothing()


def test_an_owner_is_an_active_member_of_the_organization() -> None:
    scenario = enrolled()
    order = AssignLead(lead_id=scenario.lead_id, owner=MEMBER)
    scenario.when(order).refused(InvalidLead)
    assert scenario.error is not None
    assert scenario.error.errors == [{"field": "owner", "problem": "is no active member"}]
    scenario.world.send(AddMember(member_id=MEMBER, email="coach@example.com", role="coach"))
    scenario.when(order).then(LeadAssigned(owner=str(MEMBER), why=Why(rule="by_hand")))
    lead = scenario.world.lead(scenario.lead_id)
    assert isinstance(lead, Lead)
    assert lead.owner == str(MEMBER)
    scenario.when(order).nothing()
    scenario.when(AssignLead(lead_id=scenario.lead_id, owner=None)).then("LeadAssigned")
    scenario.world.send(AddMember(member_id=UUID(int=79), email="boss@example.com", role="admin"))
    scenario.world.send(SetMember(member_id=MEMBER, active=False))
    scenario.when(order).refused(InvalidLead)


NOW = T + timedelta(hours=1)
LATE = NOW + timedelta(minutes=6)


@pytest.mark.parametrize(
    "order",
    [
        LogCall(lead_id=A, activity_id=A, outcome="interested", at=LATE),
        LogEmail(lead_id=A, activity_id=A, subject="Hi", direction="inbound", at=LATE),
        LogMeeting(lead_id=A, activity_id=A, at=LATE, outcome="held"),
        LogMeeting(lead_id=A, activity_id=A, at=LATE, outcome="no_show"),
        ConvertLead(lead_id=A, at=LATE),
    ],
)
def test_what_was_done_does_not_lie_ahead_but_by_what_clocks_differ(order: Any) -> None:
    scenario = enrolled()
    order = order.model_copy(update={"lead_id": scenario.lead_id})
    scenario.when(order).refused(InvalidMoment)
    assert scenario.error is not None
    assert [each["field"] for each in scenario.error.errors] == ["at"]
    scenario.when(order.model_copy(update={"at": NOW + timedelta(minutes=5)}))
    assert scenario.names[0] in {"LeadCallLogged", "LeadEmailLogged", "LeadMeetingLogged", "LeadWon"}


def orders_to(lead_id: UUID) -> list[Message]:
    return [
        LogCall(lead_id=lead_id, activity_id=A, outcome="busy"),
        LogMeeting(lead_id=lead_id, activity_id=A, at=T),
        LogEmail(lead_id=lead_id, activity_id=A, subject="Hi"),
        LogNote(lead_id=lead_id, activity_id=A, text="x"),
        ConvertLead(lead_id=lead_id),
        AssignLead(lead_id=lead_id, owner=None),
    ]


def test_nothing_is_written_about_an_erased_or_unknown_lead_or_another_organizations() -> None:
    scenario = enrolled()
    scenario.when(EraseLead(lead_id=scenario.lead_id))
    for order in orders_to(scenario.lead_id):
        scenario.when(order).refused(LeadErasedAlready)
        scenario.when(order, organization_id="other").refused(UnknownTarget)
    for order in orders_to(UUID(int=1)):
        scenario.when(order).refused(UnknownTarget)
