"""Sequences as YAML: there and back, and what is not read."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from services.enrollment.content_facts import in_new_form, read_content
from services.enrollment.domain.definition_check import validate
from services.gateway.template_library import built_in
from services.gateway.yaml_form import MOST_BYTES, BadYaml, parse, written
from shared.events.definition import SequenceDefinition

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
BARE = st.sampled_from(["on", "yes", "no", "null", "~", "true", "1", "1.5", "1e5", "0o7", "09:00", "2026-11-20", "<<"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(-1e9, 1e9) | TEXTS | BARE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | BARE, inner, max_size=3),
    max_leaves=10,
)


@st.composite
def definitions(draw: st.DrawFn) -> SequenceDefinition:
    text = draw(TEXTS | BARE)
    steps: list[dict[str, Any]] = [
        {"kind": "email", "config": {"subject": draw(TEXTS | BARE), "text": f"x{text}\n{text}"}, "name": text},
        {"kind": "wait", "delay": {"amount": draw(st.integers(0, 99)), "unit": "days", "at": "09:00"}},
        {
            "kind": "condition",
            "config": {"when": {"field": "lead.score", "op": "eq", "value": draw(VALUES)}},
            "then": [{"kind": "tag", "config": {"add": [draw(TEXTS | BARE)]}}],
        },
    ]
    windows = draw(st.sampled_from([[], [{"days": ["mon"], "start": "09:00", "end": "17:00"}]]))
    raw = {
        "name": draw(TEXTS | BARE),
        "description": text,
        "settings": {"windows": windows, "stop_on": [{"on": "reply", "do": "pause"}, "bounce"]},
        "trigger": {"on": ["created"], "score": {"min": 3}, "tags": [draw(TEXTS)]},
        "steps": draw(st.permutations(steps)),
    }
    return SequenceDefinition.model_validate(raw)


def _named(name: str) -> SequenceDefinition:
    return SequenceDefinition.model_validate(
        {
            "name": name,
            "trigger": {"on": ["created"]},
            "steps": [{"kind": "email", "config": {"subject": "x", "text": "x"}}],
        }
    )


@given(definitions())
@example(_named("next\x85line"))
@example(_named("\u2028"))
@example(_named("a\r\nb"))
def test_there_and_back(definition: SequenceDefinition) -> None:
    text = written(definition)
    assert SequenceDefinition.model_validate(parse(text.encode())) == definition
    assert SequenceDefinition.model_validate(yaml.safe_load(text)) == definition, "other readers understand it too"


def test_bare_words_are_what_they_look_like() -> None:
    text = "on: yes\nstart: 09:00\nday: 2026-11-20\noct: 010\nnone:\nflag: true\nn: -3\nx: 1.5\nlist: [a, 1]\n"
    assert parse(text.encode()) == {
        "on": "yes", "start": "09:00", "day": "2026-11-20", "oct": "010", "none": None, "flag": True, "n": -3,
        "x": 1.5, "list": ["a", 1],
    }  # fmt: skip


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(f'*{a}' for _ in range(9))}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (BOMB, "anchors"),
        ("a: *nothing", "anchors"),
        ("a: !!python/object/apply:os.system ['true']", "tags"),
        ("!!set {a, b}", "tags"),
        ("a: !!binary aGk=", "tags"),
        ("[" * 5_000, "deeper"),
        ("- " * 5_000 + "x", "deeper"),
        ("a: [1", "line 1"),
        ("a: b: c", "line 1"),
        ("{[1]: 2}", "unhashable"),
        ("a: 1\n---\nb: 2", "document"),
        ("a: \x00", "cannot be read"),
    ],
)
def test_hostile_yaml_is_refused_and_soon(text: str, problem: str) -> None:
    begun = time.monotonic()
    with pytest.raises(BadYaml, match=problem):
        parse(text.encode())
    assert time.monotonic() - begun < 5


def test_what_is_too_long_or_no_text_is_refused() -> None:
    with pytest.raises(BadYaml, match="longer"):
        parse(b"a" * (MOST_BYTES + 1))
    with pytest.raises(BadYaml, match="UTF-8"):
        parse(b"\xff\xfe")


def test_the_library_holds_what_is_promised() -> None:
    assert set(built_in()) == {
        "warm-lead-welcome",
        "cold-lead-warming",
        "objection-handling",
        "reactivation",
        "new-lead",
        "consultation",
        "proposal",
        "five-emails",
    }
    days = [step.delay.amount for step in built_in()["five-emails"].steps]
    assert days == [0, 3, 7, 10, 14]


@pytest.mark.parametrize("template_id", built_in())
def test_a_template_has_neither_errors_nor_warnings(template_id: str) -> None:
    definition = built_in()[template_id]
    assert validate(definition, read_content(definition.steps)) == ([], [])
    assert in_new_form(definition) == definition
    assert definition.description
    assert definition.audience
