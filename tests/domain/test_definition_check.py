"""What a definition is refused for and what it is only advised against, each with its place."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from services.enrollment.domain.condition_check import MOST_DEPTH
from services.enrollment.domain.definition_check import DEEPEST_ARMS, validate
from shared.events.definition import SequenceDefinition
from tests.domain.scenario import definition, email

TAGGED = {"has_tag": "x"}
EXIT = {"kind": "exit"}


def fork(step_id: str, then: list[Any], otherwise: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    when = more.pop("when", TAGGED)
    config = {"when": when}
    return {"step_id": step_id, "kind": "condition", "config": config, "then": then, "else": otherwise or [], **more}


def opened(step_id: str) -> dict[str, Any]:
    return {"engagement": {"signal": "opened", "step": step_id}}


def deep(levels: int) -> dict[str, Any]:
    step = email("inner")
    for level in range(levels):
        step = fork(f"c{level}", [step])
    return step


def negated(levels: int) -> dict[str, Any]:
    condition: dict[str, Any] = TAGGED
    for _ in range(levels):
        condition = {"not": condition}
    return condition


@pytest.mark.parametrize(
    ("steps", "place", "problem"),
    [
        ([email("a", config={"html": "<p> &nbsp;<br></p>", "text": None})], "steps.a.config.html", "shows nothing"),
        ([email("a", config={"subject": "   "})], "steps.a.config.subject", "blank"),
        ([email("a", config={"subject": "one\ntwo"})], "steps.a.config.subject", "one line"),
        ([email("a", config={"html": '<a href="htp://x.com">x</a>'})], "steps.a.config.html", "well-formed: htp"),
        ([email("a", config={"html": "<a href='javascript:x()'>x</a>"})], "steps.a.config.html", "well-formed"),
        ([email("a", config={"html": '<a href="">x</a>'})], "steps.a.config.html", "well-formed"),
        ([email("a", config={"text": "See https:/example.com"})], "steps.a.config.text", "well-formed"),
        ([email("a", delay={"amount": 200, "unit": "weeks"})], "steps.a.delay.amount", "two years"),
        ([email("a", delay={"from": "field"})], "steps.a.delay.field", "must name"),
        ([email("a"), email("a")], "steps.a.step_id", "used by 2"),
        (
            [fork("c", [email("a")], when=opened("b")), email("b")],
            "steps.c.config.when.engagement.step",
            "not done before",
        ),
        (
            [fork("c", [email("a")], [email("b", conditions=opened("a"))])],
            "steps.b.conditions.engagement.step",
            "not done before",
        ),
        ([email("a", conditions=opened("a"))], "steps.a.conditions.engagement.step", "not done before"),
        (
            [email("a", conditions={"all": [{"not": opened("a")}]})],
            "steps.a.conditions.all[0].not.engagement.step",
            "not done",
        ),
        ([email("a", conditions=opened("z"))], "steps.a.conditions.engagement.step", "does not exist"),
        ([fork("c", [])], "steps.c.then", "needs a step"),
        ([{"step_id": "out", **EXIT}, email("a")], "steps.a", "never reached"),
        ([fork("c", [{"step_id": "x", **EXIT}], [{"step_id": "y", **EXIT}]), email("a")], "steps.a", "never reached"),
        ([deep(DEEPEST_ARMS + 1)], "steps.inner", "arms within"),
        ([email("a", conditions=negated(MOST_DEPTH))], f"steps.a.conditions{'.not' * MOST_DEPTH}", "deeper"),
    ],
)
def test_an_error_names_step_field_and_problem(steps: list[Any], place: str, problem: str) -> None:
    found = validate(definition(steps))[0]
    assert [each for each in found if each["field"] == place and problem in each["problem"]], found


@pytest.mark.parametrize(
    "steps",
    [
        [email("a"), fork("c", [email("b", conditions=opened("a"), delay={"amount": 1})], when=opened("a"))],
        [fork("c", [email("a", delay={"amount": 1})]), email("b", conditions=opened("a"), delay={"amount": 1})],
        [fork("c", [{"step_id": "x", **EXIT}], [email("y")]), email("a", delay={"amount": 1})],
        [fork("c", [{"step_id": "x", **EXIT}], [{"step_id": "y", **EXIT}], active=False), email("a")],
        [{"step_id": "out", **EXIT, "conditions": TAGGED}, email("a")],
        [deep(DEEPEST_ARMS)],
        [email("a", conditions=negated(MOST_DEPTH - 1))],
        [email("a", config={"html": "<a href=\"https://example.com/{{ first_name | default: 'x' }}?a=1\">x</a>"})],
        [email("a", config={"html": "<a href='{{ unsubscribe_url }}'>x</a><a href=mailto:a@b.example>y</a>"})],
        [email("a", config={"html": '<img src="https://example.com/a.png">'})],
        [email("a", config={"text": "See (https://example.com/a), or https://{{ company }}.example.com."})],
    ],
)
def test_what_makes_sense_has_neither_errors_nor_warnings(steps: list[Any]) -> None:
    assert validate(definition(steps)) == ([], [])


GOAL = {"step_id": "g", "kind": "goal", "config": {}}


@pytest.mark.parametrize(
    ("steps", "stop_on", "never_reached"),
    [
        ([GOAL, email("a")], ["goal"], ["steps.a"]),
        ([fork("c", [GOAL], [{"step_id": "x", **EXIT}]), email("a")], [{"on": "goal"}], ["steps.a"]),
        ([fork("c", [GOAL], [email("b")]), email("a", delay={"amount": 1})], ["goal"], []),
        ([{**GOAL, "conditions": TAGGED}, email("a")], ["goal"], []),
        ([{**GOAL, "active": False}, email("a")], ["goal"], []),
        ([GOAL, email("a")], [{"on": "goal", "do": "pause"}], []),
        ([GOAL, email("a")], ["reply"], []),
    ],
)
def test_steps_behind_a_goal_that_ends_everything_are_never_reached(
    steps: list[Any], stop_on: list[Any], never_reached: list[str]
) -> None:
    errors, _ = validate(definition(steps, settings={"stop_on": stop_on}))
    assert [each["field"] for each in errors if "never reached" in each["problem"]] == never_reached


@pytest.mark.parametrize(
    ("steps", "place", "problem"),
    [
        ([email("a", config={"subject": "x" * 79})], "steps.a.config.subject", "longer than 78"),
        ([email("a", config={"subject": "LAST CHANCE TODAY"})], "steps.a.config.subject", "capitals"),
        ([email("a", config={"subject": "Now!!"})], "steps.a.config.subject", "in a row"),
        ([email("a", config={"text": "Act now, it is 100% free."})], "steps.a.config.text", "100% free, act now"),
        (
            [email("a", config={"html": '<a href="https://example.com">x</a>' * 11})],
            "steps.a.config.html",
            "more than 10 links",
        ),
        (
            [email("a", config={"html": '<p>Hi</p><a href="https://example.com/u">Unsubscribe</a>'})],
            "steps.a.config.html",
            "unsubscribe_url",
        ),
        ([email("a", delay={"amount": 100, "unit": "days"})], "steps.a.delay.amount", "three months"),
        ([email("a"), email("b")], "steps.b.delay", "at once"),
        ([fork("c", [email("a")]), email("b")], "steps.b.delay", "at once"),
        (
            [email("a", conditions={"any": [TAGGED, {"field": "lead.Statuss", "op": "eq", "value": "New"}]})],
            "steps.a.conditions.any[1].field",
            "did you mean status?",
        ),
        (
            [fork("c", [email("a")], when={"not": {"field": "scor", "op": "gte", "value": 5}})],
            "steps.c.config.when.not.field",
            "did you mean score?",
        ),
    ],
)
def test_advice_does_not_forbid(steps: list[Any], place: str, problem: str) -> None:
    errors, warnings = validate(definition(steps))
    assert errors == []
    assert [each for each in warnings if each["field"] == place and problem in each["problem"]], warnings


def test_a_trigger_with_almost_the_name_of_a_field_is_told() -> None:
    trigger = {"conditions": {"field": "compani", "op": "exists"}}
    errors, warnings = validate(definition([email("a")], trigger=trigger))
    expected = {"field": "trigger.conditions.field", "problem": "names a custom field: did you mean company?"}
    assert (errors, warnings) == ([], [expected])


@pytest.mark.parametrize("name", ["budget", "custom_fields.statuss", "custom.scor", "status", "lead.score", "state"])
def test_a_custom_field_of_another_name_is_not_doubted(name: str) -> None:
    tested = {"field": name, "op": "exists"}
    assert validate(definition([email("a", conditions=tested)])) == ([], [])


def test_a_tag_is_no_part_of_a_subjects_length() -> None:
    subject = "Hello {{ first_name | default: 'there, whoever you are and wherever you may be reading this' }}"
    assert validate(definition([email("a", config={"subject": subject})])) == ([], [])


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("settings", {"limits": {"per_day": 2**64}}),
        ("settings", {"brake": {"min_sent": 2**64}}),
        ("settings", {"reenroll": {"after_days": 2**40}}),
        ("trigger", {"priority": -(2**64)}),
        ("trigger", {"conditions": {"field": "lead.score", "op": "eq", "value": 2**64}}),
    ],
)
def test_a_number_that_nobody_could_store_is_refused_where_it_stands(where: str, value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        SequenceDefinition.model_validate({"name": "Large", "steps": [email("hi")], where: value})
    assert [each["loc"][0] for each in refused.value.errors()] == [where]
