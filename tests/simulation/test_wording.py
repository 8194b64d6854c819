"""Every rule that the domain can name has words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import services.enrollment.domain
from services.enrollment.wording import SENTENCES, in_words
from shared.events.enrollment import SignalKind
from shared.events.why import Why

DOMAIN = Path(services.enrollment.domain.__file__).parent
#: Calls that take a rule's name: function -> position of it.
RULE_AT = {"Why": 0, "blocked": 3}


def _constants(node: ast.AST, named: dict[str, str]) -> Iterator[str]:
    """Texts that an expression can give, as far as they stand in the code."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _constants(body, named)
            yield from _constants(orelse, named)
        case ast.Name(id=name) if name in named:
            yield named[name]


def rules_of_the_domain() -> set[str]:
    found: set[str] = set(get_args(SignalKind))
    for path in DOMAIN.glob("*.py"):
        tree = ast.parse(path.read_text())
        named = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
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
    assert known <= rules_of_the_domain()


@pytest.mark.parametrize("rule", sorted(rules_of_the_domain()))
def test_every_rule_has_words(rule: str) -> None:
    assert rule in SENTENCES, f"services/enrollment/wording.py has no sentence for the rule {rule!r}"


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
        (Why(rule="retry"), "It is tried again after a passing fault: unknown."),
        (Why(rule="asked_for_it"), "asked for it"),
    ],
)
def test_words(why: Why, words: str) -> None:
    assert in_words(why) == words
