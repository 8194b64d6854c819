"""Ids for steps without one, and what is said of a definition at a glance."""

from __future__ import annotations

from typing import Any

import pytest

from shared.events.definition import SequenceDefinition
from shared.events.outline import count_steps, estimated_minutes, sequence_type
from shared.events.step_ids import with_step_ids

DAY = 1_440


def step(kind: str = "email", days: int = 0, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "delay": {"amount": days, "unit": "days"}, **more}


def test_steps_without_an_id_get_the_lowest_free_one_of_their_kind() -> None:
    raw = {
        "steps": [
            {"kind": "email"},
            {"step_id": "email-2", "kind": "email"},
            {"kind": "condition", "then": [{"kind": "email"}], "else": [{"kind": "tag"}]},
            {"kind": "email"},
        ]
    }
    named = with_step_ids(raw)
    assert [each["step_id"] for each in named["steps"]] == ["email-1", "email-2", "condition-1", "email-4"]
    assert [named["steps"][2][arm][0]["step_id"] for arm in ("then", "else")] == ["email-3", "tag-1"]
    assert with_step_ids(named) is named
    assert with_step_ids(raw) == named


@pytest.mark.parametrize("raw", [None, 5, [], {"steps": 7}, {"steps": [3, {"kind": [], "then": 4}]}])
def test_what_is_no_definition_is_left_to_be_judged_later(raw: Any) -> None:
    assert with_step_ids(with_step_ids(raw)) == with_step_ids(raw)


def test_a_definition_needs_no_step_ids() -> None:
    tag = {"kind": "tag", "config": {"add": ["x"]}}
    made = SequenceDefinition.model_validate({"name": "N", "steps": [tag, tag]})
    assert [each.step_id for each in made.steps] == ["tag-1", "tag-2"]


def test_the_type_is_that_of_all_steps_that_reach_somebody() -> None:
    assert sequence_type([step("email"), step("wait"), step("email_manual")]) == "email"
    assert sequence_type([step("call"), step("condition", then=[step("task")])]) == "task"
    assert sequence_type([step("email"), step("condition", then=[step("sms")])]) == "mixed"
    assert sequence_type([step("tag")]) == "mixed"


def test_the_longest_way_through_the_delays() -> None:
    fork = step("condition", 1, then=[step(days=2), step(days=3)], **{"else": [step(days=4)]})
    assert estimated_minutes([step(), fork, step(days=1)]) == 7 * DAY
    assert estimated_minutes([step(days=2), step(days=9, active=False)]) == 2 * DAY
    from_start = {"kind": "email", "delay": {"amount": 1, "unit": "weeks", "from": "enrollment"}}
    assert estimated_minutes([step(days=2), from_start, step(days=1)]) == 8 * DAY
    assert estimated_minutes([step(days=8), from_start]) == 8 * DAY
    by_field = {"kind": "email", "delay": {"amount": 3, "unit": "days", "from": "field", "field": "birthday"}}
    assert estimated_minutes([step(days=2), by_field]) == 2 * DAY
    assert count_steps([fork]) == 4
