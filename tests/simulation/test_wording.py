"""Every rule that the domain can name has words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from string import Formatter
from typing import Any, get_args

import pytest

import services.enrollment.domain
import services.enrollment.reasons
import services.enrollment.standing
from shared.events.enrollment import SignalKind
from shared.events.why import Why
from shared.events.wording import SENTENCES, SHORTER, in_words

DOMAIN = Path(services.enrollment.domain.__file__).parent
MODULES = (
    *DOMAIN.glob("*.py"),
    Path(services.enrollment.reasons.__file__),
    Path(services.enrollment.standing.__file__),
)
#: Calls that take a rule's name: function -> position of it.
RULE_AT = {"Why": 0, "blocked": 3, "Place": 1, "NoPlace": 0}
#: Made of what blocks a step: ``sequence:…`` and ``sender:…`` become a rule each, ``brake:…`` is its own.
BLOCKED_BY = {"sequence_not_active", "sender_not_active", "brake"}


def _constants(node: ast.AST, named: dict[str, set[str]]) -> Iterator[str]:
    """Texts that an expression can give, as far as they stand in the code."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _constants(body, named)
            yield from _constants(orelse, named)
        case ast.Name(id=name) if name in named:
            yield from named[name]


def _constant_names(tree: ast.Module) -> dict[str, set[str]]:
    """Names that stand for texts: constants of the module, and what a loop over tuples of texts calls their first."""
    named: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                named.setdefault(name, set()).add(text)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.IfExp() as either):
                named.setdefault(name, set()).update(_constants(either, {}))
            case ast.For(target=ast.Tuple(elts=[ast.Name(id=name), *_]), iter=ast.Tuple(elts=rows)):
                firsts = (row.elts[0] for row in rows if isinstance(row, ast.Tuple))
                named.setdefault(name, set()).update(text for first in firsts for text in _constants(first, {}))
    return named


def rules_of_the_domain() -> set[str]:
    found: set[str] = {*get_args(SignalKind), *BLOCKED_BY, *services.enrollment.reasons.LIFE.values()}
    trees = [ast.parse(path.read_text()) for path in MODULES]
    everywhere: dict[str, set[str]] = {}
    for tree in trees:
        for name, texts in _constant_names(tree).items():
            if name.isupper():
                everywhere.setdefault(name, set()).update(texts)
    for tree in trees:
        named = {**everywhere, **_constant_names(tree)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in RULE_AT:
                continue
            keyword = next((each.value for each in node.keywords if each.arg == "rule"), None)
            position = RULE_AT[node.func.id]
            given: Any = keyword if keyword is not None else node.args[position] if len(node.args) > position else None
            found |= set(_constants(given, named)) if given is not None else set()
    return found


def test_the_scan_finds_the_rules() -> None:
    known = {"window", "quota", "delay", "retry", "unsubscribed", "message", "task", "exit_step"}
    known |= {"bounce_rate", "temperature", "advanced", "same_step", "no_such_step", "sequence_paused", "not_consumed"}
    assert known <= rules_of_the_domain()


@pytest.mark.parametrize("rule", sorted(rules_of_the_domain()))
def test_every_rule_has_words(rule: str) -> None:
    assert rule in SENTENCES, f"shared/events/wording.py has no sentence for the rule {rule!r}"


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (
            Why(rule="quota", inputs={"scope": "sequence:7", "unit": "day", "limit": 500}),
            "The limit of 500 a day for the sequence was used up, so it waits for the next free place.",
        ),
        (Why(rule="condition", inputs={"opened welcome": False}), "The condition looked at: opened welcome is false."),
        (
            Why(rule="source", inputs={"value": None, "wanted": ["A", "B"]}),
            "The lead's source empty is not among A, B.",
        ),
        (Why(rule="retry"), "It is tried again after a passing fault: the reason was not noted."),
        (Why(rule="goal", inputs={"step": "win", "goal": "Signed up"}), "The lead reached the goal Signed up."),
        (Why(rule="goal", inputs={"step": "win", "goal": "goal"}), "The lead reached the goal at step win."),
        (Why(rule="goal", inputs={"step": "win"}), "The lead reached the goal at step win."),
        (Why(rule="goal"), "The lead reached the goal of the sequence."),
        (Why(rule="brake"), "The brake of the sequence or its sender holds it."),
        (Why(rule="brake", inputs={"blocked_on": "brake:sequence:7"}), "The brake of the sequence holds it."),
        (Why(rule="brake", inputs={"blocked_on": "brake:sender:7"}), "The brake of the sender holds it."),
        (Why(rule="sequence_not_active"), "It waits, because the sequence or its sender is not active."),
        (
            Why(rule="sequence_not_active", inputs={"blocked_on": ""}),
            "It waits, because the sequence or its sender is not active.",
        ),
        (Why(rule="owner_not_active", inputs={"owner": "7"}), "The owner whom the step names is not active."),
        (Why(rule="settled_sent", inputs={"by": "member:7"}), "It went out, as somebody showed."),
        (Why(rule="settled_sent", inputs={"by": "opened"}), "It went out, as opened showed."),
        (Why(rule="consent"), "The lead has refused that channel."),
        (
            Why(rule="suppression", inputs={"channel": "email"}),
            "The address must not be sent to by email: the reason was not noted.",
        ),
        (Why(rule="paused", inputs={"reason": "by_hand"}), "It was held: by hand."),
        (
            Why(rule="failure", inputs={"step": "a", "reason": "550 no_such_user here"}),
            "Step a failed: 550 no_such_user here.",
        ),
        (Why(rule="quota", inputs={"limit": 5}), "A limit was used up, so it waits for the next free place."),
        (
            Why(rule="score", inputs={"score": 5, "min": 30, "max": None}),
            "The lead's score of 5 is below 30.",
        ),
        (
            Why(rule="score", inputs={"score": 95, "min": None, "max": 90}),
            "The lead's score of 95 is above 90.",
        ),
        (
            Why(rule="bounce_rate", inputs={"count": 5, "sent": 40}),
            "The brake stopped it: 5 of 40 messages bounced.",
        ),
        (Why(rule="call_again", inputs={"outcome": "no_answer"}), "The call came out as no answer and is tried again."),
        (Why(rule="duplicate"), "The lead is in this sequence already."),
        (
            Why(rule="reenroll", inputs={"times": 1}),
            "The lead was in this sequence before, and its rule for coming again does not allow it.",
        ),
        (
            Why(rule="reenroll", inputs={"not_before": "2027-01-02T09:00:00+01:00"}),
            "The lead was in this sequence before, and may come again from 2027-01-02 08:00 UTC on.",
        ),
        (Why(rule="asked_for_it"), "asked for it"),
    ],
)
def test_words(why: Why, words: str) -> None:
    assert in_words(why) == words


def test_a_goal_without_a_name_is_called_by_its_step() -> None:
    why = Why(rule="goal", inputs={"step": "win", "goal": "goal"})
    assert in_words(why, {"step": "step 3 “Signed up”"}) == "The lead reached the goal at step 3 “Signed up”."


@pytest.mark.parametrize("rule", sorted(SENTENCES))
def test_every_rule_has_words_for_what_was_recorded_without_its_inputs(rule: str) -> None:
    words = in_words(Why(rule=rule))
    assert words.endswith(".")
    assert not {"unknown", "None", "{", "}"} & set(words.split())


@pytest.mark.parametrize("rule", sorted(SHORTER))
def test_a_sentence_leaves_out_no_more_than_it_must(rule: str) -> None:
    asked = [
        {name for _, name, _, _ in Formatter().parse(sentence) if name}
        for sentence in (SENTENCES[rule], *SHORTER[rule])
    ]
    assert asked[0] > asked[-1]
    for fuller, shorter in pairwise(asked):
        assert not fuller <= shorter, "this one can never be told"
