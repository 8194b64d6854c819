"""Stop rules: every signal, pausing or ending, whatever step it meets; and the other leads of the company."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from services.enrollment.domain.enrollment import Status
from services.enrollment.domain.errors import HeldWithoutEnd
from services.enrollment.domain.identities import normalise_company
from shared.events.engagement import RecordSignal
from shared.events.enrollment import (
    CompanyStopAsked,
    Enroll,
    EnrollmentExited,
    EnrollmentPaused,
    PauseEnrollment,
    RecordInDoubt,
    RecordSent,
    RecordStopped,
    ResolveDispatch,
    StartEnrollment,
    StartRefused,
    StepStopRequested,
    StopForCompany,
)
from shared.events.lead import EditLead, EraseLead, LeadBody, LeadConverted, MeetingBooked
from shared.events.message import Message
from tests.domain.many import Many, day
from tests.domain.scenario import Scenario, T, days, email, in_flight, pause, resume

ADA = {"organization_id": "demo", "lead": {"email": "ada@example.com"}}
CONVERTED = LeadConverted.model_validate(ADA)
#: Signal of a rule -> how it comes, and the reason of the step's stop.
SIGNALS: dict[str, tuple[str | Message, str]] = {
    "reply": ("replied", "replied"),
    "click": ("clicked", "clicked"),
    "unsubscribe": ("unsubscribed", "unsubscribed"),
    "bounce": ("bounced", "bounced"),
    "conversion": (CONVERTED, "converted"),
    "meeting_booked": (MeetingBooked.model_validate(ADA), "meeting_booked"),
}


@pytest.mark.parametrize("in_flight", [False, True])
@pytest.mark.parametrize("do", ["pause", "exit"])
@pytest.mark.parametrize("rule", SIGNALS)
def test_a_rule_holds_or_ends_whatever_step_it_meets(rule: str, do: str, in_flight: bool) -> None:
    steps = (email("first"), email("second", delay=days(1)))
    scenario = Scenario(steps, settings={"stop_on": [{"on": rule, "do": do}]}).wake().sent()
    if in_flight:
        scenario.wake()
    came, reason = SIGNALS[rule]
    message = scenario.signal(came, source="test") if isinstance(came, str) else came
    scenario.when(message, message_id="signal")
    state = scenario.state
    assert state.status == (Status.PAUSED if do == "pause" else Status.EXITED)
    assert state.reason == ("stop_rule" if do == "pause" else reason)
    if in_flight:
        assert scenario.event(StepStopRequested).reason == reason
        assert state.in_flight is not None
        scenario.when(scenario.outcome(RecordStopped))
    assert scenario.state.in_flight is None
    assert scenario.timer is None or scenario.timer.due_at is None


@pytest.mark.parametrize("do", ["pause", "exit"])
def test_a_goal_that_is_reached_stops(do: str) -> None:
    goal = {"step_id": "goal", "kind": "goal", "config": {"name": "Bought"}, "conditions": {"not": {"has_tag": "x"}}}
    scenario = Scenario((goal, email("more")), settings={"stop_on": [{"on": "goal", "do": do}]})
    assert scenario.state.status == (Status.PAUSED if do == "pause" else Status.EXITED)


def test_a_signal_without_a_rule_stops_nothing() -> None:
    scenario = Scenario(settings={"stop_on": []}).wake().sent()
    scenario.when(scenario.signal("replied"))
    assert scenario.state.status == Status.ACTIVE


# --- what would go on by itself ---------------------------------------------------------------------------------------

PAUSING = [{"on": each, "do": "pause"} for each in ("reply", "conversion", "meeting_booked", "unsubscribe")]
SOON = T + timedelta(days=1)


def pausing(**more: Any) -> Scenario:
    """The first message is out, the second is to come."""
    return in_flight(settings={"stop_on": PAUSING, **more}).sent()


def stays_held(scenario: Scenario) -> None:
    """Nothing goes out, whatever time passes; then a person lets it go on."""
    assert (scenario.state.status, scenario.state.reason) == (Status.PAUSED, "stop_rule")
    assert scenario.state.paused_until is None
    assert scenario.timer is not None
    assert (scenario.timer.due_at, scenario.timer.blocked_on) == (None, "pause")
    scenario.later(days=30)
    assert scenario.world.due() == []
    resume(scenario)
    assert scenario.state.status == Status.ACTIVE


@pytest.mark.parametrize("rule", ["reply", "conversion", "meeting_booked", "unsubscribe"])
def test_a_pause_with_an_end_has_none_once_a_stop_rule_is_met(rule: str) -> None:
    scenario = pause(pausing(), until=SOON)
    timer = scenario.timer
    came = SIGNALS[rule][0]
    message = scenario.signal(came, source="test") if isinstance(came, str) else came
    scenario.when(message, message_id="signal")
    held = scenario.event(EnrollmentPaused)
    assert (held.reason, held.was, held.until) == ("stop_rule", "paused", None)
    assert held.why.rule == ("replied" if rule == "reply" else rule)
    assert timer is not None
    scenario.later(days=2).decision = scenario.world.wake(timer)
    scenario.nothing()
    stays_held(scenario)


def test_no_pause_with_an_end_lets_go_what_a_stop_rule_holds() -> None:
    """A pause of everybody until Monday must not send to who answered on Friday."""
    scenario = pausing().when(CONVERTED, message_id="1")
    pause(scenario, until=SOON).refused(HeldWithoutEnd)
    assert str(scenario.error).startswith("It is held (stop rule) until somebody resumes it;")
    stays_held(scenario)


def test_nor_does_one_by_way_of_a_pause_without_an_end() -> None:
    """Until somebody resumes it: from then on a person's pause is a person's again."""
    scenario = pause(pausing().when(CONVERTED, message_id="1"))
    assert scenario.state.reason == "by_hand"
    pause(scenario, until=SOON).refused(HeldWithoutEnd)
    assert str(scenario.error).startswith("It is held (stop rule) until somebody resumes it;")
    resume(scenario)
    pause(scenario)
    assert pause(scenario, until=SOON).event(EnrollmentPaused).until == SOON


def test_a_stop_rule_met_twice_holds_once() -> None:
    scenario = pause(pausing(), until=SOON)
    scenario.when(CONVERTED, message_id="1")
    scenario.when(CONVERTED.model_copy(update={"occurred_at": T + timedelta(minutes=1)}), message_id="2")
    assert "EnrollmentPaused" not in scenario.names


def test_a_pause_by_hand_without_an_end_gets_none_once_a_stop_rule_is_met() -> None:
    scenario = pause(pausing()).when(CONVERTED, message_id="1")
    held = scenario.event(EnrollmentPaused)
    assert (held.reason, held.was, held.why.rule) == ("stop_rule", "paused", "conversion")
    pause(scenario, until=SOON).refused(HeldWithoutEnd)
    pause(scenario)  # by hand again, which ends no more than it did
    scenario.when(scenario.signal("replied"))
    assert "EnrollmentPaused" not in scenario.names
    pause(scenario, until=SOON).refused(HeldWithoutEnd)


def test_a_step_on_its_way_in_a_pause_with_an_end_is_asked_to_stop_once() -> None:
    scenario = pause(in_flight(settings={"stop_on": PAUSING}), until=SOON).when(CONVERTED, message_id="1")
    assert "StepStopRequested" not in scenario.names
    scenario.when(scenario.outcome(RecordStopped))
    stays_held(scenario)


@pytest.mark.parametrize("then", ["delivered", "sent", "not_sent", "late"])
def test_a_send_in_doubt_is_settled_without_going_on_where_a_stop_rule_was_met(then: str) -> None:
    scenario = in_flight(settings={"stop_on": PAUSING, "on_in_doubt": "hold"})
    scenario.when(scenario.outcome(RecordInDoubt)).when(CONVERTED, message_id="1")
    held = scenario.event(EnrollmentPaused)
    assert (held.reason, held.why.rule) == ("stop_rule", "conversion")
    match then:
        case "delivered":
            settled: Message = scenario.signal("delivered")
        case "late":
            settled = scenario.outcome(RecordSent, 1, 1, sent_at=T)
        case _:
            order = {"enrollment_id": scenario.enrollment_id, "execution": 1, "outcome": then}
            settled = ResolveDispatch.model_validate(order)
    scenario.when(settled)
    assert "StepSettled" in scenario.names
    assert "EnrollmentResumed" not in scenario.names
    stays_held(scenario)
    assert scenario.state.plan is not None
    assert scenario.state.plan.step_id == ("first" if then == "not_sent" else "second")


@pytest.mark.parametrize("do", ["pause", "exit"])
def test_a_reply_that_settles_a_send_in_doubt_stops_before_anything_goes_on(do: str) -> None:
    tag = {"step_id": "mark", "kind": "tag", "config": {"add": ["silent"]}}
    settings = {"stop_on": [{"on": "reply", "do": do}], "on_in_doubt": "hold"}
    scenario = in_flight([email("only"), tag], settings=settings)
    scenario.when(scenario.outcome(RecordInDoubt)).when(scenario.signal("replied"))
    assert "StepSettled" in scenario.names
    assert {"EnrollmentResumed", "StepTaken", "LeadTagged", "EnrollmentCompleted"}.isdisjoint(scenario.names)
    assert (scenario.state.status, scenario.state.reason) == (
        (Status.PAUSED, "stop_rule") if do == "pause" else (Status.EXITED, "replied")
    )


def test_a_colleagues_stop_reaches_a_pause_with_an_end() -> None:
    many, _, (first, second, _) = colleagues("pause")
    many.world.send(PauseEnrollment(enrollment_id=second, until=many.world.now + timedelta(hours=1)))
    reply(many, first)
    many.world.stop_companies()
    assert (many.state(second).reason, many.state(second).paused_until) == ("stop_rule", None)


def test_a_beginning_at_a_set_time_is_left_to_a_person() -> None:
    trigger = {"start_at": SOON.isoformat()}
    scenario = Scenario(settings={"stop_on": PAUSING}, trigger=trigger)
    rung = scenario.timer
    scenario.when(CONVERTED, message_id="1")
    assert scenario.event(StartRefused).why.rule == "conversion"
    assert (scenario.state.status, scenario.state.start_at, scenario.state.reason) == ("pending", None, "conversion")
    assert scenario.timer is None
    assert rung is not None
    scenario.later(days=2).decision = scenario.world.wake(rung)
    scenario.nothing()
    meeting = MeetingBooked.model_validate({**ADA, "at": SOON})
    assert "StartRefused" not in scenario.when(meeting, message_id="2").names
    scenario.when(StartEnrollment(enrollment_id=scenario.enrollment_id)).then("EnrollmentActivated")
    scenario.wake().then("StepDue")


def test_a_beginning_at_a_set_time_ends_where_the_rule_ends() -> None:
    scenario = Scenario(settings={"stop_on": ["conversion"]}, trigger={"start_at": SOON.isoformat()})
    scenario.when(CONVERTED, message_id="1")
    assert (scenario.event(EnrollmentExited).was, scenario.timer) == ("pending", None)


# --- the company ------------------------------------------------------------------------------------------------------


def colleagues(do: str = "exit", **settings: Any) -> tuple[Many, UUID, list[UUID]]:
    """Two of one company, spelled differently, and one of another, each after its first message."""
    many = Many()
    rule = {"on": "reply", "do": do, "company": True}
    steps = (email("first"), email("second", delay=days(1)))
    sequence = many.sequence("a", steps, stop_on=[rule], **settings)
    enrollments = [in_sequence(many, sequence, company) for company in ("Acme, Inc.", "ACME  inc", "Other")]
    many.run(many.world.now)
    return many, sequence, enrollments


def in_sequence(many: Many, sequence: UUID, company: str | None) -> UUID:
    lead = many.lead(**({"company": company} if company else {}))
    return UUID(str(many.world.send(Enroll(lead_id=lead, sequence_id=sequence)).result["enrollment_id"]))


def reply(many: Many, enrollment_id: UUID) -> list[Any]:
    signal = {"enrollment_id": enrollment_id, "execution": 1, "signal": "replied", "at": many.world.now}
    return [change.event for change in many.world.send(RecordSignal.model_validate(signal)).changes]


@pytest.mark.parametrize("do", ["pause", "exit"])
def test_the_others_of_the_company_stop_too(do: str) -> None:
    many, _, (first, second, other) = colleagues(do)
    assert any(isinstance(event, CompanyStopAsked) for event in reply(many, first))
    many.world.stop_companies()
    assert many.state(second).status == (Status.PAUSED if do == "pause" else Status.EXITED)
    assert many.state(first).reason == ("stop_rule" if do == "pause" else "replied")
    # The other one answered nothing: it is no success.
    assert many.state(second).reason == ("stop_rule" if do == "pause" else "company")
    assert many.state(other).status == Status.ACTIVE
    assert [row.blocked_on for row in many.world.timers.values() if row.aggregate_id == second] in ([], ["pause"])


def test_a_step_of_a_colleague_on_its_way_is_asked_to_stop() -> None:
    many, _, (first, second, _) = colleagues()
    timer = next(row for row in many.world.timers.values() if row.aggregate_id == second)
    assert timer.due_at is not None
    many.to(timer.due_at)
    many.world.wake(timer)
    reply(many, first)
    [decision] = [each for each in many.world.stop_companies() if each.changes]
    assert "StepStopRequested" in [type(change.event).__name__ for change in decision.changes]


def test_the_company_is_asked_once_for_each_signal() -> None:
    many, _, (first, *_) = colleagues()
    assert any(isinstance(event, CompanyStopAsked) for event in reply(many, first))
    assert not any(isinstance(event, CompanyStopAsked) for event in reply(many, first))


def test_a_late_reply_stops_the_colleagues_too() -> None:
    many, sequence, (first, second, _) = colleagues()
    many.run(day(1))
    late = in_sequence(many, sequence, "acme inc")
    assert many.state(first).status == Status.COMPLETED
    reply(many, first)
    many.world.stop_companies()
    assert many.state(late).status == Status.EXITED
    assert many.state(second).status == Status.COMPLETED


def test_only_the_same_sequence_stops() -> None:
    many, _, (first, *_) = colleagues()
    elsewhere = in_sequence(many, many.sequence("b", (email("x", delay=days(9)),)), "Acme Inc")
    reply(many, first)
    many.world.stop_companies()
    assert many.state(elsewhere).status == Status.ACTIVE


def test_who_has_left_the_company_or_was_erased_is_left_alone() -> None:
    many, _, (first, second, _) = colleagues()
    many.world.send(EditLead(lead_id=many.state(second).lead_id, lead=LeadBody(company="New")))
    reply(many, first)
    assert many.world.companies[many.state(second).lead_id] != many.world.companies[many.state(first).lead_id]
    many.world.stop_companies()
    assert many.state(second).status == Status.ACTIVE
    many.world.send(EraseLead(lead_id=many.state(second).lead_id))
    assert many.state(second).lead_id not in many.world.companies


def test_a_repeated_order_changes_nothing() -> None:
    many, sequence, (first, second, _) = colleagues()
    [asked] = [event for event in reply(many, first) if isinstance(event, CompanyStopAsked)]
    order = StopForCompany(
        lead_id=many.state(second).lead_id,
        sequence_id=sequence,
        enrollment_id=first,
        signal="reply",
        do="exit",
        company_hash=asked.company_hash,
    )
    assert many.world.send(order).changes
    assert many.world.send(order).changes == []


def test_a_lead_without_a_company_stops_alone() -> None:
    many, sequence, _ = colleagues()
    alone = in_sequence(many, sequence, None)
    many.run(many.world.now)
    assert not any(isinstance(event, CompanyStopAsked) for event in reply(many, alone))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ACME, Inc.", "acme inc"), ("  Müller\u00a0&  Söhne ", "müller söhne"), ("ＡＣＭＥ", "acme"), ("...", None)],
)
def test_a_companys_name_in_the_form_that_is_compared(text: str, expected: str | None) -> None:
    assert normalise_company(text) == expected
