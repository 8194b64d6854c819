"""A score that crosses a sequence's threshold without an enrollment: what is recorded, and what is not."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from services.enrollment.domain import enrolling
from shared.events.enrollment import CancelEnrollment, Enroll
from shared.events.funnel import CreateFunnel, SetFunnel
from shared.events.lead import LeadBody, LeadMatched, LeadNotMatched, LeadScored, LeadUpdated, ScoreLead, TagLead
from shared.events.organization import SetOrganization
from shared.ids import derived_id
from tests.domain.scenario import Scenario, days, email
from tests.domain.test_funnels import A, B, comes, given

C = derived_id("test", "c")

HOT = {"on": ["score_reached"], "score": {"min": 50}}


def scores(scenario: Scenario, to: int) -> Scenario:
    return scenario.when(ScoreLead(lead_id=scenario.lead_id, set=to))


def refusals(scenario: Scenario) -> dict[UUID, str]:
    """Sequence -> rule, of the refusal just recorded; the summary must say what the score did."""
    event = scenario.event(LeadNotMatched)
    scored = scenario.event(LeadScored)
    assert (event.on, event.why.rule) == ("score_reached", "crossing")
    assert event.why.inputs == {"before": scored.before, "after": scored.after, "sequences": len(event.refused)}
    return {UUID(each): why.rule for each, why in event.refused.items()}


def beside(scenario: Scenario) -> tuple[UUID, dict[UUID, str]]:
    """The sequence that the lead stays in, and the refusals just recorded; each worse match must name the better."""
    event = scenario.event(LeadNotMatched)
    assert (event.on, event.why.rule) == ("score_reached", "crossing_inside")
    assert event.why.inputs["sequences"] == len(event.refused)
    chosen = event.why.inputs["chosen"]
    worse = [why for why in event.refused.values() if why.rule == "better_match"]
    assert {why.inputs["chosen"] for why in worse} <= {chosen}
    return UUID(chosen), {UUID(each): why.rule for each, why in event.refused.items()}


@pytest.mark.parametrize(
    ("trigger", "settings", "rule"),
    [
        ({"sources": ["Fair"]}, {}, "source"),
        ({"tags": ["vip"]}, {}, "tag"),
        ({"funnels": ["fair"]}, {}, "funnel"),
        ({"conditions": {"has_tag": "vip"}}, {}, "condition"),
        ({}, {"exclusive": True}, "exclusive"),
    ],
)
def test_the_rule_that_refuses_a_lead_whose_score_rose_is_recorded(
    trigger: dict[str, Any], settings: dict[str, Any], rule: str
) -> None:
    scenario = comes(given(a={"start": "manual"}, b={**HOT, **trigger, "settings": settings}))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A))
    scores(scenario, 60).then("LeadScored", "LeadNotMatched")
    assert refusals(scenario) == {B: rule}


def test_the_most_sequences_of_a_lead_are_a_refusal() -> None:
    scenario = comes(given(a={"start": "manual"}, b=HOT))
    scenario.when(SetOrganization(max_open_enrollments=1)).when(Enroll(lead_id=scenario.lead_id, sequence_id=A))
    assert refusals(scores(scenario, 60)) == {B: "max_open_enrollments"}


def test_who_was_in_it_before_is_refused_by_its_rule_for_coming_again_at_each_crossing() -> None:
    scenario = comes(given(a=HOT))
    scores(scenario, 60).then("LeadScored", "LeadMatched", "LeadJoinedSequence", "EnrollmentStarted")
    lead = scenario.world.lead(scenario.lead_id)
    assert lead is not None
    [enrollment_id] = lead.open_enrollments
    scenario.when(CancelEnrollment(enrollment_id=enrollment_id))
    scores(scenario, 10).then("LeadScored")
    assert refusals(scores(scenario, 70)) == {A: "reenroll"}
    scores(scenario, 20).then("LeadScored")
    assert refusals(scores(scenario, 80)) == {A: "reenroll"}


def test_a_score_that_falls_into_a_range_crosses_it_too() -> None:
    cold = {"on": ["score_reached"], "score": {"max": 20}, "tags": ["vip"]}
    scenario = comes(given(a=cold), score=90)
    assert refusals(scores(scenario, 15)) == {A: "tag"}


def test_an_ordinary_change_of_score_records_nothing_more_and_asks_no_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = comes(given(a={**HOT, "tags": ["vip"]}, b={**HOT, "start": "manual"}, c={"tags": ["vip"]}))
    asked: list[object] = []
    monkeypatch.setattr(enrolling, "match", lambda *about, **_: asked.append(about))
    for score in (10, 30, 49, 20):
        scores(scenario, score).then("LeadScored")
    assert asked == []


def test_within_the_range_nothing_is_crossed_any_more() -> None:
    scenario = comes(given(a={**HOT, "tags": ["vip"]}))
    assert refusals(scores(scenario, 50)) == {A: "tag"}
    for score in (51, 90, 50):
        scores(scenario, score).then("LeadScored")


def test_who_is_in_it_already_is_no_refusal() -> None:
    scenario = comes(given(a=HOT))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A))
    scores(scenario, 60).then("LeadScored")


def test_beside_the_sequence_that_the_lead_is_in_already_the_others_are_told_of() -> None:
    scenario = comes(given(a={**HOT, "priority": 9}, b=HOT, c={**HOT, "tags": ["vip"]}))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A))
    scores(scenario, 60).then("LeadScored", "LeadNotMatched")
    assert beside(scenario) == (A, {B: "better_match", C: "tag"})
    for score in (70, 90, 50):
        scores(scenario, score).then("LeadScored")


def test_beside_the_sequence_that_the_lead_is_in_only_those_whose_threshold_was_crossed_are_told_of() -> None:
    higher = {"on": ["score_reached"], "score": {"min": 80}}
    scenario = comes(given(a={**HOT, "priority": 9}, b=higher, c={"tags": ["vip"]}))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A))
    scores(scenario, 60).then("LeadScored")
    scores(scenario, 90).then("LeadScored", "LeadMatched", "LeadJoinedSequence", "EnrollmentStarted")
    assert scenario.event(LeadMatched).sequence_id == B


def test_a_sequence_that_has_the_lead_is_not_refused_because_another_that_has_it_suits_better() -> None:
    scenario = comes(given(a={**HOT, "priority": 9}, b=HOT, c={**HOT, "tags": ["vip"]}))
    for inside in (A, B):
        scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=inside))
    scores(scenario, 60)
    assert beside(scenario) == (A, {C: "tag"})


def test_a_sequence_that_has_the_lead_is_not_refused_because_its_trigger_would_not_take_it() -> None:
    scenario = comes(given(a={**HOT, "sources": ["Fair"]}, b={**HOT, "tags": ["vip"]}))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A))
    assert refusals(scores(scenario, 60)) == {B: "tag"}


def test_a_sequence_that_has_the_lead_is_not_refused_because_the_funnel_is_switched_off() -> None:
    scenario = given(a=HOT, b=HOT).when(CreateFunnel(funnel_id="web", name="Web"))
    comes(scenario.when(SetFunnel(funnel_id="web", auto=False)), "web")
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A))
    assert refusals(scores(scenario, 60)) == {B: "funnel_off"}


def test_beside_a_best_match_that_takes_nobody_again_the_others_name_it() -> None:
    scenario = comes(given(a={**HOT, "priority": 9}, b={**HOT, "start": "manual"}, c=HOT))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A))
    lead = scenario.world.lead(scenario.lead_id)
    assert lead is not None
    [enrollment_id] = lead.open_enrollments
    scenario.when(CancelEnrollment(enrollment_id=enrollment_id))
    assert refusals(scores(scenario, 60)) == {A: "reenroll", C: "better_match"}
    assert scenario.event(LeadNotMatched).refused[str(C)].inputs["chosen"] == str(A)


def test_a_new_lead_goes_into_its_best_match_and_a_sequence_that_waits_for_scores_alone_is_told_of() -> None:
    both = {"on": ["created", "score_reached"], "score": {"min": 50}, "priority": 9}
    scenario = comes(given(a=both, b=HOT), score=60)
    assert scenario.event(LeadMatched).refused[str(B)].rule == "occasion"
    assert beside(scenario) == (A, {B: "better_match"})


def test_a_new_lead_that_went_into_the_better_of_two_for_either_occasion_is_told_of_the_other_once() -> None:
    both = {"on": ["created", "score_reached"], "score": {"min": 50}}
    scenario = comes(given(a={**both, "priority": 9}, b=both), score=60)
    assert scenario.event(LeadMatched).refused[str(B)].rule == "better_match"
    assert "LeadNotMatched" not in scenario.names


def test_a_threshold_crossed_by_a_step_of_the_sequence_just_begun_is_told_of() -> None:
    """What the match before it said of that sequence, that the score was too low, holds no longer."""
    up = {"step_id": "up", "kind": "score", "config": {"add": 30}}
    top = {"on": ["score_reached"], "score": {"min": 80}, "tags": ["vip"]}
    scenario = comes(given(a={**HOT, "steps": [up, email("one", delay=days(1))]}, b=top))
    scores(scenario, 60)
    assert scenario.event(LeadMatched).refused[str(B)].rule == "score"
    event = scenario.event(LeadNotMatched)
    assert (event.why.inputs["after"], event.refused[str(B)].rule) == (90, "tag")


def test_when_one_of_two_takes_the_lead_its_match_tells_of_the_other() -> None:
    scenario = comes(given(a=HOT, b={**HOT, "tags": ["vip"]}))
    assert "LeadNotMatched" not in scores(scenario, 60).names
    assert scenario.names[:2] == ["LeadScored", "LeadMatched"]


def test_only_sequences_whose_threshold_was_crossed_are_told_of() -> None:
    higher = {"on": ["score_reached"], "score": {"min": 80}}
    scenario = comes(given(a={**HOT, "tags": ["vip"]}, b=higher, c={"tags": ["vip"]}))
    assert refusals(scores(scenario, 60)) == {A: "tag"}


def test_a_lead_of_a_switched_off_funnel_is_refused_by_that() -> None:
    scenario = given(a=HOT).when(CreateFunnel(funnel_id="web", name="Web")).when(SetFunnel(funnel_id="web", auto=False))
    comes(scenario, "web")
    assert refusals(scores(scenario, 60)) == {A: "funnel_off"}
    comes(scenario, "web", email="eve@example.com", score=60).then("LeadCaptured", "LeadNotMatched")


def test_what_the_answer_to_a_new_lead_has_told_is_not_told_again() -> None:
    both = {"on": ["created", "score_reached"], "score": {"min": 50}, "tags": ["vip"]}
    comes(given(a=both), score=60).then("LeadCaptured", "LeadNotMatched")
    scenario = comes(given(a={"priority": 9, "settings": {"exclusive": True}}, b={**both, "tags": []}), score=60)
    assert "LeadNotMatched" not in scenario.names


def test_a_new_lead_is_told_of_a_sequence_that_waits_for_scores_alone() -> None:
    scenario = comes(given(a={**HOT, "tags": ["vip"]}), score=60).then(
        "LeadCaptured", "LeadNotMatched", "LeadNotMatched"
    )
    refused = [each for each in scenario.events if isinstance(each, LeadNotMatched)]
    assert [(each.on, each.refused[str(A)].rule) for each in refused] == [
        ("created", "occasion"),
        ("score_reached", "tag"),
    ]


def test_a_refused_crossing_stands_in_the_way_of_no_later_answer() -> None:
    """A lead known by an update alone has still to be matched when it is created; a repeated answer to that is not
    recorded again because of a crossing between."""
    scenario = given(a={**HOT, "tags": ["vip"]}, b={"tags": ["vip"]})
    update = LeadUpdated(
        organization_id="demo", lead=LeadBody.model_validate({"email": "ada@example.com", "score": 60})
    )
    scenario.when(update, message_id="u1").then("LeadCaptured", "LeadNotMatched")
    assert scenario.event(LeadNotMatched).on == "score_reached"
    assert comes(scenario).event(LeadNotMatched).on == "created"
    scores(scores(scenario, 10), 70)
    assert refusals(scenario) == {A: "tag"}
    assert "LeadNotMatched" not in comes(scenario).names
    scenario.when(TagLead(lead_id=scenario.lead_id, add=["vip"]))
    scores(scenario, 10)
    assert "LeadMatched" in scores(scenario, 90).names


def test_one_command_that_moves_a_score_twice_crosses_once() -> None:
    steps = [
        {"step_id": "up", "kind": "score", "config": {"add": 60}},
        {"step_id": "down", "kind": "score", "config": {"add": -30}},
    ]
    scenario = comes(given(a={"start": "manual", "steps": steps}, b={**HOT, "tags": ["vip"]}))
    scenario.when(Enroll(lead_id=scenario.lead_id, sequence_id=A))
    assert scenario.names.count("LeadScored") == 2
    assert "LeadNotMatched" not in scenario.names
