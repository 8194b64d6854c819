"""Snippets: what they say, where they may stand, and what happens when they are gone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.enrollment.content_facts import read_content, read_texts
from services.enrollment.domain.definition_check import ContentFacts
from services.enrollment.domain.errors import (
    InvalidDefinition,
    InvalidDraft,
    InvalidSnippet,
    SnippetExists,
    UnknownTarget,
)
from services.enrollment.domain.handling import handle
from services.enrollment.domain.snippets import Snippet, expanded, faults
from shared.events.envelope import Envelope
from shared.events.message import Message
from shared.events.organization import RemoveSnippet, SetSnippet, SnippetRemoved, SnippetSet
from shared.events.sequence import DraftSequence
from shared.events.task import ApproveDraft, EditDraft
from shared.ids import derived_id
from tests.domain.scenario import Scenario, T, definition, email
from tests.domain.test_step_kinds import step

SIGNATURE = SetSnippet(name="signature", text="Best, {{ sender.name }}")


def known(scenario: Scenario) -> dict[str, Snippet]:
    organization = scenario.world.organization("demo")
    assert organization is not None
    return dict(organization.snippets)


def read(scenario: Scenario, message: Message, texts: dict[str, str]) -> Any:
    """Sends a message with what a parser reads in its texts."""
    envelope = Envelope(id="m", message=message, source="tests", time=T, organization_id="demo")
    return scenario.world.apply(handle(envelope, scenario.world, {"": read_texts(texts)}))


def test_a_snippet_is_set_changed_and_removed() -> None:
    scenario = Scenario().when(SIGNATURE).then(SnippetSet(name="signature", text=SIGNATURE.text))
    scenario.when(SIGNATURE).nothing()
    scenario.when(SIGNATURE.model_copy(update={"html": "<b>Best</b>"})).then("SnippetSet")
    assert known(scenario) == {"signature": Snippet(SIGNATURE.text, "<b>Best</b>")}
    scenario.when(SIGNATURE.model_copy(update={"new": True})).refused(SnippetExists)
    assert scenario.error is not None
    assert scenario.error.errors == [{"field": "name", "problem": "is taken"}]
    scenario.when(RemoveSnippet(name="signature")).then(SnippetRemoved(name="signature"))
    assert known(scenario) == {}
    scenario.when(RemoveSnippet(name="signature")).refused(UnknownTarget)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ nobody_knows }}", "uses the unknown tag nobody_knows"),
        ("{{ snippets.other }}", "cannot hold a snippet"),
        ("{% if x %}", ""),
    ],
)
def test_what_a_snippet_says_is_checked(text: str, problem: str) -> None:
    with pytest.raises(InvalidSnippet) as caught:
        read(Scenario(), SIGNATURE.model_copy(update={"text": text}), {"text": text})
    assert caught.value.errors[0]["field"] == "text"
    assert problem in caught.value.errors[0]["problem"]


@pytest.mark.parametrize(
    ("tag", "problem"),
    [
        ("{{ snippets.signature }}", None),
        ("{{- snippets.signature -}}", None),
        ("{{ snippets.other }}", "names the snippet other, which does not exist"),
        ("{{ snippets.signature | upcase }}", "must name a snippet by itself, as in {{ snippets.name }}"),
        ("{% if snippets.signature %}x{% endif %}", "must name a snippet by itself, as in {{ snippets.name }}"),
    ],
)
def test_a_definition_names_only_snippets_that_exist(tag: str, problem: str | None) -> None:
    scenario = Scenario().when(SIGNATURE)
    made = definition([email("mail", config={"text": f"Hello {tag}"})])
    assert read_content(made.steps) == {}
    scenario.when(DraftSequence(sequence_id=derived_id("snippets", tag), definition=made))
    if problem is None:
        scenario.then("SequenceDrafted")
    else:
        scenario.refused(InvalidDefinition)
        assert scenario.error is not None
        assert scenario.error.errors == [{"field": "steps.mail.config.text", "problem": problem}]


def test_only_what_is_sent_can_hold_a_snippet() -> None:
    made = definition([step("task", title="{{ snippets.signature }}")])
    scenario = Scenario().when(SIGNATURE).when(DraftSequence(sequence_id=derived_id("x", 1), definition=made))
    scenario.refused(InvalidDefinition)


def test_a_draft_may_name_snippets_and_is_checked_like_a_step() -> None:
    scenario = Scenario([step("email_manual")]).when(SIGNATURE)
    draft = scenario.state.task_id
    assert draft is not None
    scenario.when(EditDraft(task_id=draft, text="Hi {{ snippets.signature }}")).then("DraftEdited")
    scenario.when(EditDraft(task_id=draft, text="Hi {{ snippets.other }}")).refused(InvalidDraft)
    with pytest.raises(InvalidDraft) as caught:
        read(scenario, EditDraft(task_id=draft, text="{{ what }}"), {"text": "{{ what }}"})
    assert caught.value.errors == [{"field": "text", "problem": "uses the unknown tag what"}]
    scenario.when(EditDraft(task_id=draft, html='<a href="javascript:x">y</a>')).refused(InvalidDraft)
    scenario.when(ApproveDraft(task_id=draft)).then("DraftApproved", "StepApproved")


def test_a_snippet_stands_where_it_is_named() -> None:
    snippets = {"a": Snippet("1 < 2\n{{ first_name }}", None), "b": Snippet("B", "<b>B</b>")}
    assert expanded("x {{ snippets.a }} y {{snippets.b}}", snippets, html=False) == "x 1 < 2\n{{ first_name }} y B"
    assert expanded("{{ snippets.a }} {{ snippets.b }}", snippets, html=True) == (
        "1 &lt; 2<br>{{ first_name }} <b>B</b>"
    )
    assert expanded("{{ snippets.gone }}", snippets, html=True) == "{{ snippets.gone }}"


@given(text=st.text(alphabet="{}% snippets.a|-", max_size=60))
def test_what_is_found_right_leaves_no_tag_behind(text: str) -> None:
    snippets = {name: Snippet("!", None) for name in ("a", "s", "sn", "snippets", "p")}
    if not list(faults(text, snippets)):
        after = expanded(text, snippets, html=False)
        assert list(faults(after, {})) == []


def test_facts_are_empty_where_nothing_is_wrong() -> None:
    assert read_texts({"text": "{{ first_name }} {{ snippets.a }}"}) == ContentFacts()
