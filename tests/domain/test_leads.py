"""Leads: messages in any order, identities, matching, signals, consent."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from services.enrollment.domain.enrollment import Status
from services.enrollment.domain.errors import (
    AlreadyEnrolled,
    InvalidLead,
    InvalidMoment,
    SequenceNotActive,
    UnknownTarget,
)
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.memory_world import MemoryWorld
from services.enrollment.domain.reach import barrier
from services.enrollment.domain.work import Work
from shared.events.engagement import SignalReceived
from shared.events.enrollment import Enroll, EnrollmentExited, ResumeEnrollment
from shared.events.lead import (
    EditLead,
    InboundLead,
    LeadBody,
    LeadCaptured,
    LeadConverted,
    LeadCreated,
    LeadIdentityClashed,
    LeadMatched,
    LeadNotEnrolled,
    LeadNotMatched,
    LeadReplied,
    LeadScored,
    LeadUnsubscribed,
    LeadUpdated,
    MeetingBooked,
    ScoreLead,
)
from shared.events.sequence import DeactivateSequence, DraftSequence
from shared.ids import derived_id
from tests.domain.scenario import SEQUENCE, Scenario, T, definition, email


def message(
    cls: type[InboundLead], at: datetime | None = None, funnel: str | None = None, **fields: Any
) -> InboundLead:
    return cls(organization_id="demo", funnel_id=funnel, occurred_at=at, lead=LeadBody.model_validate(fields))


def lead_of(world: MemoryWorld, lead_id: object) -> Lead:
    lead = world.lead(UUID(str(lead_id)))
    assert lead is not None
    return lead


def add_sequence(world: MemoryWorld, name: str, **trigger: Any) -> UUID:
    sequence_id = derived_id("test", name)
    world.send(
        DraftSequence(sequence_id=sequence_id, definition=definition([email("hi")], trigger=trigger), activate=True)
    )
    return sequence_id


def test_a_new_lead_is_captured_matched_and_enrolled() -> None:
    scenario = Scenario()
    scenario.then("LeadCaptured", "LeadMatched", "LeadJoinedSequence", "EnrollmentStarted")
    assert scenario.event(LeadMatched).why.rule == "best_match"


def test_the_same_lead_again_is_one_lead_and_one_enrollment() -> None:
    scenario = Scenario()
    first = scenario.lead_id
    scenario.create(email=" ADA@Example.COM ", first_name="Ada").then("LeadDetailsMerged")
    assert scenario.lead_id == first


def test_messages_in_any_order_give_the_same_lead() -> None:
    """Every order of the same four messages; what came later in the world wins, whatever came later here."""
    facts = [
        message(LeadCreated, T, "spring", email="a@x.com", external_id="e1", first_name="A", score=10, tags=["one"]),
        message(
            LeadUpdated, T + timedelta(hours=1), external_id="e1", first_name="B", consent={"email": True}, score=40
        ),
        message(LeadUpdated, T + timedelta(hours=2), email="a@x.com", consent={"email": False}, custom_fields={"n": 1}),
        message(
            LeadConverted,
            T + timedelta(hours=1),
            external_id="e1",
            email="a@x.com",
            company="C",
            score=40,
            tags=["two"],
        ),
    ]
    seen = set()
    for order in permutations(facts):
        world = Scenario(enrolled=False).world
        for number, fact in enumerate(order):
            decision = world.send(fact, message_id=str(number))
        # A lead named by its external id alone and one named by its e-mail alone are joined by whoever names both.
        leads = [lead for lead in world.states.values() if isinstance(lead, Lead)]
        if len(leads) > 1:
            continue
        lead = lead_of(world, decision.result["lead_id"])
        seen.add(
            (
                lead.first_name,
                lead.email,
                lead.external_id,
                lead.company,
                lead.score,
                lead.tags,
                lead.consent["email"],
                lead.won,
            )
        )
    assert len(seen) == 1


def test_what_is_dated_days_ahead_would_win_over_all_that_comes_until_then_and_is_refused() -> None:
    scenario = Scenario(enrolled=False)
    ahead = message(LeadCreated, at=T + timedelta(days=2), email="ada@example.com")
    scenario.when(ahead).refused(InvalidMoment)
    assert scenario.error is not None
    assert [each["field"] for each in scenario.error.errors] == ["occurred_at"]
    scenario.when(message(LeadCreated, at=T + timedelta(hours=14), email="ada@example.com"))
    assert "LeadCaptured" in scenario.names


def test_an_update_of_an_unknown_identity_creates_the_lead() -> None:
    world = Scenario(enrolled=False).world
    decision = world.send(message(LeadUpdated, email="new@example.com", status="New"), message_id="u1")
    assert [type(change.event) for change in decision.changes] == [LeadCaptured]


def test_two_identities_of_two_leads_clash_and_the_external_id_wins() -> None:
    scenario = Scenario(enrolled=False)
    first = scenario.create(email="a@example.com", external_id="e1").lead_id
    second = scenario.create(email="b@example.com", external_id="e2").lead_id
    scenario.when(message(LeadUpdated, external_id="e1", email="b@example.com", title="CTO"), message_id="x")
    assert scenario.event(LeadIdentityClashed).other_lead_id == second
    assert "TaskOpened" in scenario.names
    assert (lead_of(scenario.world, first).email, lead_of(scenario.world, first).title) == ("a@example.com", "CTO")
    scenario.when(message(LeadUpdated, external_id="e1", email="b@example.com"), message_id="y").nothing()


def test_a_shared_phone_never_joins_leads_with_different_addresses() -> None:
    scenario = Scenario(enrolled=False)
    first = scenario.create(email="a@example.com", phone="+4915112345678").lead_id
    second = scenario.create(email="b@example.com", phone="+49 151 12345678").lead_id
    assert first != second
    assert lead_of(scenario.world, second).phone == "+4915112345678"
    assert scenario.world.identities["demo", "phone", "+4915112345678"] == first
    assert scenario.create(phone="0049 151 12345678").lead_id == first


@pytest.mark.parametrize(
    "fields", [{"email": "no address"}, {"email": "a@b"}, {"phone": "12"}, {"email": "a@x.com", "timezone": "Mars"}]
)
def test_a_wrong_field_is_named(fields: dict[str, Any]) -> None:
    scenario = Scenario(enrolled=False).when(message(LeadCreated, **fields))
    scenario.refused(InvalidLead)
    assert scenario.error is not None
    assert scenario.error.errors[0]["field"].startswith("lead.")


def test_priority_then_the_most_specific_trigger_wins() -> None:
    world = Scenario(enrolled=False).world
    add_sequence(world, "funnel", funnels=["spring"])
    narrow = add_sequence(world, "narrow", funnels=["spring"], sources=["Web Form"])
    decision = world.send(
        message(LeadCreated, None, "spring", email="a@example.com", source="Web Form"), message_id="1"
    )
    matched = next(change.event for change in decision.changes if isinstance(change.event, LeadMatched))
    assert matched.sequence_id == narrow
    assert {why.rule for why in matched.refused.values()} == {"better_match"}
    top = add_sequence(world, "top", priority=10)
    decision = world.send(message(LeadCreated, email="b@example.com"), message_id="2")
    assert next(change.event for change in decision.changes if isinstance(change.event, LeadMatched)).sequence_id == top


def test_a_lead_without_the_address_of_the_first_message_is_not_started_and_is_told_why() -> None:
    scenario = Scenario(enrolled=False).create(phone="+4915112345678").then("LeadCaptured", "LeadNotMatched")
    assert {why.rule for why in scenario.event(LeadNotMatched).refused.values()} == {"address"}


def test_crossing_a_score_enrolls_once() -> None:
    scenario = Scenario(enrolled=False)
    hot = add_sequence(scenario.world, "hot", on=["score_reached"], score={"min": 30})
    scenario.create(email="a@example.com")
    scenario.when(ScoreLead(lead_id=scenario.lead_id, add=35))
    scenario.then("LeadScored", "LeadMatched", "LeadJoinedSequence", "EnrollmentStarted")
    assert scenario.event(LeadMatched).sequence_id == hot
    scenario.when(ScoreLead(lead_id=scenario.lead_id, set=10)).then("LeadScored")
    scenario.when(ScoreLead(lead_id=scenario.lead_id, set=90)).then("LeadScored")


def test_a_duplicate_enrollment_is_refused_and_the_reenroll_rule_holds() -> None:
    scenario = Scenario(settings={"reenroll": {"after_days": 90, "at_most": 1}})
    order = Enroll(lead_id=scenario.lead_id, sequence_id=SEQUENCE)
    scenario.when(order).refused(AlreadyEnrolled)
    assert str(scenario.error) == "The lead is in the sequence “Test” already."
    scenario.wake().sent().wake().sent()
    ended = scenario.world.now
    scenario.when(order).refused(AlreadyEnrolled)
    again = ended + timedelta(days=90)
    assert str(scenario.error) == (
        f"The lead was in the sequence “Test” until {ended:%Y-%m-%d %H:%M} UTC, "
        f"and may come again 90 days later, from {again:%Y-%m-%d %H:%M} UTC on."
    )
    scenario.later(days=90).when(order).then("LeadJoinedSequence", "EnrollmentStarted")
    scenario.when(DeactivateSequence(sequence_id=SEQUENCE)).when(order).refused(SequenceNotActive)
    assert str(scenario.error) == "The sequence “Test” is paused: it takes no leads."


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({}, "nobody comes into it a second time."),
        ({"reenroll": {"at_most": 1}}, "has come again as often as its rule allows (1)."),
    ],
)
def test_who_may_not_come_again_is_told_the_rule(settings: dict[str, Any], rule: str) -> None:
    scenario = Scenario((email("first"),), settings=settings).wake().sent()
    order = Enroll(lead_id=scenario.lead_id, sequence_id=SEQUENCE)
    if settings:
        scenario.when(order)
        assert scenario.decision is not None
        scenario.enrollment_id = UUID(str(scenario.decision.result["enrollment_id"]))
        scenario.wake().sent()
    ended = scenario.world.now
    scenario.when(order).refused(AlreadyEnrolled)
    assert str(scenario.error) == f"The lead was in the sequence “Test” until {ended:%Y-%m-%d %H:%M} UTC, and {rule}"


def test_a_refused_order_to_enrol_is_recorded_with_its_rule_but_not_of_who_is_inside() -> None:
    scenario = Scenario((email("first"),), settings={"reenroll": {"after_days": 90}})
    order = Enroll(lead_id=scenario.lead_id, sequence_id=SEQUENCE, by="bulk", bulk_id=UUID(int=8))
    before = len(scenario.log)
    scenario.when(order).refused(AlreadyEnrolled)
    assert len(scenario.log) == before
    scenario.wake().sent().when(order).refused(AlreadyEnrolled)
    told = scenario.log[-1].event
    assert isinstance(told, LeadNotEnrolled)
    assert (told.sequence_id, told.by, told.bulk_id, told.why.rule) == (SEQUENCE, "bulk", UUID(int=8), "reenroll")
    assert scenario.log[-1].id == scenario.lead_id


# --- signals ----------------------------------------------------------------------------------------------------------


def delivered() -> Scenario:
    return Scenario().wake().sent()


def test_the_first_open_counts_and_scores() -> None:
    scenario = delivered()
    scenario.when(scenario.signal("opened")).then("SignalReceived", "EngagementNoted", "LeadScored")
    assert (scenario.event(LeadScored).after, scenario.event(LeadScored).why.rule) == (5, "opened")
    scenario.when(scenario.signal("opened")).then("SignalReceived")


def test_hits_beyond_the_cap_are_kept_only_counted() -> None:
    scenario = delivered()
    for _ in range(20):
        scenario.when(scenario.signal("opened"))
        assert scenario.events
    scenario.when(scenario.signal("opened")).nothing()
    scenario.when(scenario.signal("opened", count=7)).then(
        lambda event: isinstance(event, SignalReceived) and event.count == 7
    )


#: What comes twenty times and counts for nothing, then what a person does.
SWALLOWED: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("click", "clicked", {"machine": 0.9}, {}),
    ("reply", "replied", {"auto_reply": True}, {"text": "Yes please"}),
    ("bounce", "bounced", {"bounce_kind": "soft"}, {"bounce_kind": "hard"}),
]


@pytest.mark.parametrize("do", ["exit", "pause"])
@pytest.mark.parametrize(("rule", "signal", "automatic", "own"), SWALLOWED)
def test_however_much_comes_by_itself_a_persons_signal_counts(
    rule: str, signal: str, automatic: dict[str, Any], own: dict[str, Any], do: str
) -> None:
    scenario = Scenario(settings={"stop_on": [{"on": rule, "do": do}]}).wake().sent()
    for _ in range(20):
        scenario.when(scenario.signal(signal, **automatic)).then("SignalReceived")
    scenario.when(scenario.signal(signal, **automatic)).nothing()
    mine = scenario.signal(signal, **own)
    assert {"SignalReceived", "EngagementNoted"} <= set(scenario.when(mine).names)
    assert scenario.state.status == (Status.PAUSED if do == "pause" else Status.EXITED)
    assert "EngagementNoted" not in scenario.when(mine).names
    assert list(scenario.state.executions[1].signals) == [signal]


def test_a_second_reply_after_many_automatic_ones_is_kept_and_stops_again() -> None:
    scenario = Scenario(settings={"stop_on": [{"on": "reply", "do": "pause"}]}).wake().sent()
    scenario.when(scenario.signal("replied", text="Later")).when(ResumeEnrollment(enrollment_id=scenario.enrollment_id))
    for _ in range(25):
        scenario.when(scenario.signal("replied", auto_reply=True))
    scenario.when(scenario.signal("replied", text="No"))
    assert scenario.event(LeadReplied).text == "No"
    assert scenario.state.reason == "stop_rule"


def test_a_persons_hits_beyond_the_cap_are_kept_only_counted_too() -> None:
    scenario = delivered()
    for _ in range(20):
        scenario.when(scenario.signal("opened", machine=0.9))
        scenario.when(scenario.signal("opened"))
        assert scenario.events
    scenario.when(scenario.signal("opened")).nothing()


@pytest.mark.parametrize("mark", [{"machine": 0.9}, {"auto_reply": True}])
def test_what_no_person_did_counts_for_nothing(mark: dict[str, Any]) -> None:
    scenario = delivered()
    scenario.when(scenario.signal("replied", **mark)).then("SignalReceived")


def test_a_reply_stops_the_sequence_and_keeps_its_text() -> None:
    scenario = delivered()
    scenario.when(scenario.signal("replied", text="Yes please", subject="Re: Hello"))
    assert scenario.event(LeadReplied).text == "Yes please"
    assert scenario.event(EnrollmentExited).reason == "replied"


def test_a_reply_may_only_pause() -> None:
    scenario = Scenario(settings={"stop_on": [{"on": "reply", "do": "pause"}]}).wake().sent()
    scenario.when(scenario.signal("replied"))
    assert (scenario.state.status, scenario.state.reason) == (Status.PAUSED, "stop_rule")


def test_a_signal_with_a_step_in_flight_stops_it() -> None:
    scenario = delivered().wake()
    scenario.when(scenario.signal("replied"))
    assert scenario.names[-4:] == ["LeadScored", "StepStopRequested", "EnrollmentExited", "LeadLeftSequence"]


def test_a_signal_from_an_address_token_names_no_organization() -> None:
    scenario = delivered()
    scenario.when(scenario.signal("replied"), organization_id=None)
    assert scenario.event(EnrollmentExited).reason == "replied"


def test_a_signal_for_what_never_was_is_refused() -> None:
    scenario = delivered()
    scenario.when(scenario.signal("opened", execution=9)).refused(UnknownTarget)
    scenario.when(scenario.signal("opened").model_copy(update={"enrollment_id": UUID(int=1)})).refused(UnknownTarget)


def test_an_unsubscribe_ends_every_open_enrollment_and_no_later_message_lifts_it() -> None:
    scenario = delivered()
    other = add_sequence(scenario.world, "other", start="manual")
    scenario.world.send(Enroll(lead_id=scenario.lead_id, sequence_id=other))
    scenario.when(scenario.signal("unsubscribed", source="one_click"))
    assert scenario.names.count("EnrollmentExited") == 2
    assert scenario.event(LeadUnsubscribed).channel == "email"
    scenario.when(message(LeadUpdated, email="ada@example.com", consent={"email": True}), message_id="later")
    lead = lead_of(scenario.world, scenario.lead_id)
    why = barrier(Work(scenario.world, "demo"), lead, "email", SEQUENCE)
    assert why is not None
    assert why.rule == "unsubscribed"
    scenario.when(EditLead(lead_id=lead.id, lead=LeadBody(consent={"email": True})))
    assert scenario.names == ["LeadResubscribed"]


def test_an_unsubscribe_from_one_sequence_leaves_the_others() -> None:
    scenario = delivered()
    other = add_sequence(scenario.world, "other", start="manual")
    scenario.world.send(Enroll(lead_id=scenario.lead_id, sequence_id=other))
    scenario.when(scenario.signal("unsubscribed", whole=False))
    assert scenario.names.count("EnrollmentExited") == 1


def test_a_hard_bounce_suppresses_and_a_soft_one_does_not() -> None:
    scenario = delivered()
    scenario.when(scenario.signal("bounced", bounce_kind="soft")).then("SignalReceived")
    scenario.when(scenario.signal("bounced", bounce_kind="hard"))
    assert "LeadAddressSuppressed" in scenario.names
    assert scenario.event(EnrollmentExited).reason == "bounced"


def test_a_complaint_unsubscribes_and_suppresses() -> None:
    scenario = delivered()
    scenario.when(scenario.signal("complained"))
    assert {"LeadAddressSuppressed", "LeadUnsubscribed", "EnrollmentExited"} <= set(scenario.names)


def test_a_late_signal_is_noted_after_the_end() -> None:
    scenario = delivered().wake().sent()
    assert scenario.state.status == Status.COMPLETED
    scenario.when(scenario.signal("opened")).then("SignalReceived", "EngagementNoted", "LeadScored")


@pytest.mark.parametrize(("cls", "reason"), [(LeadConverted, "converted"), (MeetingBooked, "meeting_booked")])
def test_a_conversion_or_a_meeting_stops(cls: type[InboundLead], reason: str) -> None:
    scenario = delivered()
    fact = message(cls, T, email="ada@example.com")
    scenario.when(fact, message_id="c1")
    assert scenario.event(EnrollmentExited).reason == reason
    scenario.when(fact, message_id="c2")
    assert not set(scenario.names) & {"LeadWon", "LeadBookedMeeting", "EnrollmentExited"}
