"""Conditions: what each test sees, what a tree answers, and what is refused when a sequence is saved."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.enrollment.domain.conditions import Verdict, compile_condition, evaluate
from services.enrollment.domain.definition_check import validate
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.planning import Scene, scene_of
from services.enrollment.domain.work import Work
from shared.events.definition import Condition
from shared.events.enrollment import EngagementNoted, StepSkipped, StepTaken
from shared.events.lead import LeadNotMatched
from shared.events.sequence import ActivateSequence, ApproveSequence, DraftSequence, EditSequence, SubmitSequence
from tests.domain.scenario import SEQUENCE, Scenario, definition, email, in_flight

LEAD: dict[str, Any] = {
    "email": "ada@example.com",
    "first_name": "Ada",
    "last_name": "Byron",
    "company": "Analytical Engines",
    "status": "New",
    "temperature": "Warm",
    "score": 40,
    "tags": ["webinar"],
    "consent": {"email": True, "sms": False},
    "timezone": "Europe/Berlin",
    "custom_fields": {"budget": 5000, "renewal": "2026-12-01", "seats": "12", "vip": True},
}


def judged(condition: dict[str, Any], scenario: Scenario | None = None, **lead: Any) -> Verdict:
    scenario = scenario or Scenario(lead={**LEAD, **lead})
    work = Work(scenario.world, "demo")
    return evaluate(
        compile_condition(Condition.model_validate(condition)), scene_of(work, scenario.state), scenario.state
    )


@pytest.mark.parametrize(
    ("field", "op", "value", "holds"),
    [
        ("lead.score", "gte", 40, True),
        ("score", "gt", 40, False),
        ("score", "lt", 41, True),
        ("score", "in", [10, 40], True),
        ("lead.status", "eq", "New", True),
        ("status", "eq", "new", False),
        ("temperature", "in", ["Hot", "Warm"], True),
        ("company", "contains", "ENGINE", True),
        ("name", "eq", "Ada Byron", True),
        ("tags", "contains", "webinar", True),
        ("tags", "exists", False, False),
        ("title", "exists", None, False),
        ("title", "exists", False, True),
        ("title", "eq", "CTO", False),
        ("title", "ne", "CTO", True),
        ("custom_fields.budget", "gte", 5000, True),
        ("budget", "eq", "5000", True),
        ("seats", "gt", 9, True),
        ("company", "gt", 9, False),
        ("vip", "eq", True, True),
        ("vip", "eq", 1, False),
        ("budget", "eq", True, False),
        ("renewal", "after", "2026-11-30", True),
        ("renewal", "before", "2026-12-01T00:00:00Z", False),
        ("budget", "before", "2026-12-01", False),
        ("nothing", "lt", 1, False),
        ("nothing", "ne", 1, True),
    ],
)
def test_a_field_compared(field: str, op: str, value: Any, holds: bool) -> None:
    assert judged({"field": field, "op": op, "value": value}).holds is holds


def test_tags_and_consent() -> None:
    assert judged({"has_tag": "webinar"}) == Verdict(True, {"tag webinar": True})
    assert judged({"has_tag": "other"}) == Verdict(False, {"tag other": False})
    assert judged({"consent": "email"}).holds
    assert judged({"consent": "sms"}) == Verdict(False, {"consent sms": False})
    assert judged({"consent": "whatsapp"}) == Verdict(False, {"consent whatsapp": None})


@pytest.mark.parametrize(
    ("time", "holds"),
    [
        ({"days": ["fri"]}, True),
        ({"days": ["sat", "sun"]}, False),
        ({"start": "10:00", "end": "10:01"}, True),  # 9:00 in UTC is 10:00 in Berlin
        ({"start": "09:00", "end": "10:00"}, False),
        ({"start": "22:00", "end": "11:00"}, True),
        ({"days": ["thu"], "start": "22:00", "end": "11:00"}, True),  # the night that began on Thursday
        ({"days": ["fri"], "start": "22:00", "end": "11:00"}, False),
        ({"first_day": "2026-11-20", "last_day": "2026-11-20"}, True),
        ({"first_day": "2026-11-21"}, False),
        ({"last_day": "2026-11-19"}, False),
    ],
)
def test_the_time_is_read_on_the_leads_wall_clock(time: dict[str, Any], holds: bool) -> None:
    found = judged({"time": time})
    assert found.holds is holds
    assert "Fri 2026-11-20 10:00 Europe/Berlin" in found.inputs.values()


def test_engagement_of_a_step_with_link_intent_and_time() -> None:
    scenario = in_flight((email("first"), email("second", delay={"amount": 9, "unit": "days"})), lead=LEAD).sent()
    scenario.when(scenario.signal("opened"))
    scenario.when(scenario.signal("clicked", link="https://example.com/a"))

    def holds(**test: Any) -> bool:
        return judged({"engagement": test}, scenario).holds

    assert holds(signal="opened")
    assert holds(signal="opened", step="first")
    assert not holds(signal="opened", step="second")
    assert not holds(signal="replied")
    assert holds(signal="clicked", link="https://example.com/a")
    assert not holds(signal="clicked", link="https://example.com/b")
    scenario.later(hours=2)
    assert holds(signal="opened", within={"amount": 2, "unit": "hours"})
    assert not holds(signal="opened", within={"amount": 119, "unit": "minutes"})


def test_a_reply_is_told_by_its_intent() -> None:
    steps = (email("first"), email("second", delay={"amount": 9, "unit": "days"}))
    scenario = in_flight(steps, lead=LEAD, settings={"stop_on": []}).sent()
    scenario.when(scenario.signal("replied", intent="not_now"))
    assert scenario.event(EngagementNoted).intent == "not_now"
    assert judged({"engagement": {"signal": "replied", "intent": "not_now"}}, scenario).holds
    assert not judged({"engagement": {"signal": "replied", "intent": "interested"}}, scenario).holds
    assert judged({"engagement": {"signal": "replied"}}, scenario).holds


def test_a_reason_holds_every_input_but_no_personal_value() -> None:
    found = judged(
        {
            "any": [
                {"field": "score", "op": "gt", "value": 10},
                {"field": "company", "op": "eq", "value": "Analytical Engines"},
                {"field": "budget", "op": "gt", "value": 6000},
                {"not": {"has_tag": "webinar"}},
            ]
        }
    )
    assert found == Verdict(True, {"score gt": 40, "company eq": True, "budget gt": False, "tag webinar": True})


truths = st.recursive(
    st.booleans(),
    lambda inner: st.one_of(
        st.tuples(st.just("all"), st.lists(inner, min_size=1, max_size=4)),
        st.tuples(st.just("any"), st.lists(inner, min_size=1, max_size=4)),
        st.tuples(st.just("not"), inner),
    ),
    max_leaves=20,
)


def _tree(truth: Any) -> dict[str, Any]:
    match truth:
        case bool():
            return {"has_tag": "webinar" if truth else "other"}
        case ("not", inner):
            return {"not": _tree(inner)}
        case (word, parts):
            return {word: [_tree(part) for part in parts]}
    raise AssertionError(truth)


def _truth(truth: Any) -> bool:
    match truth:
        case bool():
            return truth
        case ("not", inner):
            return not _truth(inner)
        case ("all", parts):
            return all(map(_truth, parts))
        case (_, parts):
            return any(map(_truth, parts))
    raise AssertionError(truth)


SCENE_LEAD = Lead(UUID(int=1), "demo", tags=frozenset({"webinar"}))


@given(truths)
def test_a_tree_says_what_logic_says(truth: Any) -> None:
    scene = Scene.__new__(Scene)
    scene.lead = SCENE_LEAD
    test = compile_condition(Condition.model_validate(_tree(truth)))
    assert evaluate(test, scene, None).holds is _truth(truth)


def test_a_branch_and_an_entry_condition_say_what_they_saw() -> None:
    when = {"field": "score", "op": "gte", "value": 50}
    branch = {
        "step_id": "if",
        "kind": "condition",
        "config": {"when": when},
        "then": [email("a")],
        "else": [email("b")],
    }
    scenario = Scenario([branch, email("c")], lead=LEAD)
    taken = scenario.event(StepTaken)
    assert (taken.arm, taken.why.inputs) == ("else", {"score gte": 40})
    scenario = Scenario(
        [email("a", conditions=when), email("b", delay={"amount": 1, "unit": "days"})], lead=LEAD
    ).wake()
    assert scenario.event(StepSkipped).why.inputs == {"score gte": 40}


def test_arms_nest_to_any_depth_and_join_again() -> None:
    inner: list[dict[str, Any]] = [email("deep")]
    for level in range(30):
        condition = {"field": "score", "op": "gte", "value": level}
        inner = [
            {"step_id": f"if{level}", "kind": "condition", "config": {"when": condition}, "then": inner},
            {"step_id": f"tag{level}", "kind": "tag", "config": {"add": [f"t{level}"]}},
        ]
    scenario = Scenario(inner, lead={"email": "ada@example.com", "score": 40})
    assert scenario.state.plan is not None
    assert scenario.state.plan.step_id == "deep"
    scenario.wake().sent()
    assert scenario.state.status == "completed"
    lead = scenario.world.lead(scenario.lead_id)
    assert lead is not None
    assert lead.tags == {f"t{level}" for level in range(30)}


def test_a_trigger_tests_the_lead() -> None:
    scenario, picky = Scenario(enrolled=False), UUID(int=9)
    trigger = {"conditions": {"field": "budget", "op": "gt", "value": 9000}, "priority": 5}
    scenario.when(DraftSequence(sequence_id=picky, definition=definition([email("a")], trigger=trigger), activate=True))
    assert scenario.create(**LEAD).state.sequence_id == SEQUENCE
    rich = {**LEAD, "email": "rich@example.com", "custom_fields": {"budget": 10_000}}
    assert scenario.create(**rich).state.sequence_id == picky


def test_a_lead_that_no_trigger_condition_takes_is_told_its_inputs() -> None:
    scenario = Scenario(enrolled=False)
    trigger = {"conditions": {"time": {"days": ["sun"]}}}
    scenario.when(EditSequence(sequence_id=SEQUENCE, definition=definition([email("a")], trigger=trigger)))
    scenario.when(SubmitSequence(sequence_id=SEQUENCE)).when(ApproveSequence(sequence_id=SEQUENCE))
    scenario.when(ActivateSequence(sequence_id=SEQUENCE))
    scenario.create(**LEAD)
    refused = scenario.event(LeadNotMatched).refused[str(SEQUENCE)]
    assert (refused.rule, refused.inputs) == ("condition", {"time days sun": "Fri 2026-11-20 10:00 Europe/Berlin"})


# --- saving -----------------------------------------------------------------------------------------------------------


def deep(levels: int) -> dict[str, Any]:
    condition: dict[str, Any] = {"has_tag": "x"}
    for _ in range(levels - 1):
        condition = {"not": condition}
    return condition


@pytest.mark.parametrize(
    ("when", "place"),
    [
        ({"any": [{"field": "lead.score", "op": "gte", "value": "much"}]}, "any[0].value"),
        ({"all": [{"has_tag": "x"}, {"not": {"field": "score", "op": "contains", "value": 1}}]}, "all[1].not.op"),
        ({"field": "lead.status", "op": "gt", "value": 3}, "op"),
        ({"field": "status", "op": "eq", "value": 3}, "value"),
        ({"field": "status", "op": "in", "value": "New"}, "value"),
        ({"field": "status", "op": "in", "value": ["New", 3]}, "value"),
        ({"field": "status", "op": "in", "value": []}, "value"),
        ({"field": "score", "op": "eq", "value": True}, "value"),
        ({"field": "score", "op": "lt", "value": float("inf")}, "value"),
        ({"field": "tags", "op": "eq", "value": "x"}, "op"),
        ({"field": "tags", "op": "contains", "value": 4}, "value"),
        ({"field": "status", "op": "exists", "value": "yes"}, "value"),
        ({"field": "renewal", "op": "before", "value": "soon"}, "value"),
        ({"field": "budget", "op": "gt", "value": "5000"}, "value"),
        ({"field": "budget", "op": "eq", "value": {"a": 1}}, "value"),
        ({"field": "budget", "op": "eq", "value": "x" * 2_000}, "value"),
        ({"field": " ", "op": "eq", "value": 1}, "field"),
        ({"has_tag": " "}, "has_tag"),
        ({"has_tag": "x", "value": 1}, "value"),
        ({"consent": "fax"}, "consent"),
        ({"all": []}, "all"),
        ({"any": []}, "any"),
        ({"engagement": {"signal": "opened", "step": "nowhere"}}, "engagement.step"),
        ({"engagement": {"signal": "opened", "link": "https://example.com"}}, "engagement.link"),
        ({"engagement": {"signal": "opened", "intent": "other"}}, "engagement.intent"),
        ({"time": {}}, "time"),
        ({"time": {"days": []}}, "time.days"),
        ({"time": {"first_day": "2026-12-01", "last_day": "2026-11-01"}}, "time.last_day"),
        (deep(11), "not.not.not.not.not.not.not.not.not.not"),
        ({"any": [{"has_tag": f"t{number}"} for number in range(100)]}, ""),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused_at_its_place(when: dict[str, Any], place: str) -> None:
    step = {"step_id": "if", "kind": "condition", "config": {"when": when}, "then": [email("a")]}
    for where, made in (
        ("steps.if.config.when", definition([step])),
        ("steps.a.conditions", definition([email("a", conditions=when)])),
    ):
        fields = [error["field"] for error in validate(made)[0]]
        assert (f"{where}.{place}" if place else where) in fields


def test_a_condition_that_makes_sense_is_taken() -> None:
    for when in (
        deep(10),
        {"any": [{"has_tag": f"t{number}"} for number in range(99)]},
        {"field": "anything", "op": "before", "value": "2026-11-20T10:00:00+01:00"},
        {"field": "tags", "op": "contains", "value": "x"},
        {"field": "score", "op": "in", "value": [1, 2.5]},
        {"engagement": {"signal": "replied", "intent": "interested", "within": {"amount": 2, "unit": "weeks"}}},
        {"time": {"days": ["mon"], "start": "22:00", "end": "06:00", "first_day": "2026-01-01"}},
    ):
        assert validate(definition([email("a", conditions=when)]))[0] == []


def test_a_trigger_cannot_ask_for_engagement() -> None:
    wrong = definition([email("a")], trigger={"conditions": {"engagement": {"signal": "opened"}}})
    assert [error["field"] for error in validate(wrong)[0]] == ["trigger.conditions.engagement"]


@given(st.dates(date(2026, 1, 1), date(2027, 12, 31)), st.times(), st.sampled_from(["09:30", "00:00", "23:59"]))
def test_a_time_range_agrees_with_the_clock(day: date, clock: Any, start: str) -> None:
    scenario = Scenario(lead={"email": "ada@example.com"})
    now = datetime.combine(day, clock.replace(tzinfo=None, fold=0), tzinfo=UTC).replace(second=0, microsecond=0)
    scenario.world.now = now
    hour, minute = int(start[:2]), int(start[3:])
    end = (datetime(2000, 1, 1, hour, minute, tzinfo=UTC) + timedelta(hours=8)).strftime("%H:%M")
    since = (now.hour * 60 + now.minute - hour * 60 - minute) % 1440
    assert judged({"time": {"start": start, "end": end}}, scenario).holds is (since < 480)
