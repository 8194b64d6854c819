"""How a refusal names the places where something is wrong, and what it says of them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shared.events.definition import SequenceDefinition
from shared.events.places import reasons, reasons_of

STEPS = {"steps": [{"step_id": "a"}, {"step_id": "b", "then": [{"step_id": "c"}, {"kind": "sms"}]}, {"step_id": "No!"}]}


@pytest.mark.parametrize(
    ("location", "place"),
    [
        (("steps", 0, "config", "subject"), "steps.a.config.subject"),
        (("steps", 1, "then", 0, "delay"), "steps.c.delay"),
        (("steps", 1, "then", 1, "config"), "steps.sms-1.config"),
        (("steps", 1, "then"), "steps.b.then"),
        (("steps", 2, "step_id"), "steps[2].step_id"),
        (("steps", 7, "kind"), "steps[7].kind"),
        (("steps",), "steps"),
        (("name",), "name"),
        ((), ""),
    ],
)
def test_steps_stand_under_their_ids(location: tuple[int | str, ...], place: str) -> None:
    detail = {"type": "x", "loc": location, "msg": "p"}
    assert reasons([detail], STEPS) == [{"field": place, "problem": "p"}]
    within = {**detail, "loc": ("definition", *location)}
    assert reasons([within], {"definition": STEPS})[0]["field"] == f"definition.{place}".removesuffix(".")


class Inner(BaseModel):
    url: str


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    either: list[int] | Inner | str | None = None
    texts: dict[str, Inner | int] = {}
    keys: dict[int, int] = {}
    tags: list[str] = []
    name: str = Field(default="x", max_length=3)

    @field_validator("name")
    @classmethod
    def _no_hash(cls, name: str) -> str:
        if "#" in name:
            raise ValueError("must have no #")
        return name


@pytest.mark.parametrize(
    ("raw", "places"),
    [
        ({"either": {}}, {"either", "either.url"}),
        ({"either": ["x"]}, {"either", "either[0]"}),
        ({"texts": {"Budget": {"url": 5}}}, {"texts.Budget", "texts.Budget.url"}),
        ({"texts": {"int": "x"}}, {"texts.int"}),
        ({"texts": {"a": {}}}, {"texts.a", "texts.a.url"}),
        ({"keys": {"x": 1}}, {"keys.x"}),
        ({"tags": ["a", 1]}, {"tags[1]"}),
        ({"Colour": 1}, {"Colour"}),
    ],
)
def test_the_forms_of_a_union_are_no_part_of_a_place(raw: dict[str, Any], places: set[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        Outer.model_validate(raw)
    assert {each["field"] for each in reasons_of(refused.value, raw)} == places


def test_what_our_own_checks_say_stands_alone() -> None:
    with pytest.raises(ValidationError) as refused:
        Outer.model_validate({"name": "a#"})
    assert reasons_of(refused.value) == [{"field": "name", "problem": "must have no #"}]


def test_a_wrong_kind_is_all_that_is_said_of_a_step() -> None:
    raw = {"name": "N", "steps": [{"step_id": "a", "kind": "none", "config": {"colour": "red"}}]}
    with pytest.raises(ValidationError) as refused:
        SequenceDefinition.model_validate(raw)
    assert [each["field"] for each in reasons_of(refused.value, raw)] == ["steps.a.kind"]
