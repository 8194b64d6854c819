"""What differs between two definitions."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.diffing import diff


def step(step_id: str, **more: Any) -> dict[str, Any]:
    return {"step_id": step_id, "kind": "email", "config": {"subject": "Hi"}, **more}


def test_steps_are_matched_by_their_ids() -> None:
    older = {
        "name": "A",
        "settings": {"limits": {"per_day": 5}, "windows": [1]},
        "trigger": {"priority": 1},
        "steps": [step("a"), step("b"), {"step_id": "c", "kind": "condition", "then": [step("d")]}, step("e")],
    }
    newer = {
        "name": "B",
        "settings": {"limits": {"per_day": 9}, "windows": [1], "max_retries": 2},
        "trigger": {"priority": 1},
        "steps": [
            step("b", config={"subject": "Ho", "html": "x"}),
            step("a"),
            {"step_id": "c", "kind": "condition", "then": [], "else": [step("d"), step("f")]},
        ],
    }
    found = diff(older, newer)
    steps = found["steps"]
    assert [each["step_id"] for each in steps["added"]] == ["f"]
    assert steps["added"][0]["at"] == {"parent": "c", "arm": "else", "place": 1}
    assert [each["step_id"] for each in steps["removed"]] == ["e"]
    assert {each["step_id"] for each in steps["moved"]} == {"a", "d"}
    assert steps["changed"] == [
        {
            "step_id": "b",
            "fields": [
                {"field": "config.subject", "before": "Hi", "after": "Ho"},
                {"field": "config.html", "before": None, "after": "x"},
            ],
        }
    ]
    assert found["settings"] == [
        {"field": "limits.per_day", "before": 5, "after": 9},
        {"field": "max_retries", "before": None, "after": 2},
    ]
    assert (found["trigger"], found["fields"]) == ([], [{"field": "name", "before": "A", "after": "B"}])


ORDERS = st.permutations(list("abcdef")).map(lambda ids: ids[:4])


@given(ORDERS, ORDERS)
def test_there_and_back_say_the_same(older: list[str], newer: list[str]) -> None:
    one, two = ({"steps": [step(each) for each in ids]} for ids in (older, newer))
    there, back = diff(one, two)["steps"], diff(two, one)["steps"]
    assert {each["step_id"] for each in there["added"]} == {each["step_id"] for each in back["removed"]}
    assert len(there["moved"]) == len(back["moved"])
    stayed = [each for each in older if each in newer and each not in {m["step_id"] for m in there["moved"]}]
    assert stayed == [each for each in newer if each in stayed], "what did not move keeps its order"
    assert diff(one, one) == {
        "steps": {"added": [], "removed": [], "moved": [], "changed": []},
        "settings": [],
        "trigger": [],
        "fields": [],
    }
