"""Merge tags in a definition: which are known, and the older form rewritten."""

from __future__ import annotations

import pytest

from services.enrollment.content_facts import in_new_form, read_content
from services.enrollment.spelling import spelled
from shared.clock import SystemClock
from shared.events import Envelope
from shared.events.sequence import ChangeSequence, EditSequence
from shared.rendering.liquid_values import with_new_tags
from tests.domain.scenario import SEQUENCE, definition, email


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("{{ first_name }} {{ lead.name }} {{ custom_fields.budget }} {{ sender.name }} {{ unsubscribe_url }}", ()),
        ("{{ frist_name }}", ("frist_name",)),
        ("{{ lead.nonsense | default: 'x' }}", ("lead.nonsense",)),
        ("{% if score > 5 %}{{ nobody }}{% endif %}", ("nobody",)),
        ("{old_form} {first_name}", ("old_form",)),
        ("p{color:red} {a b} {{ '{' }}", ()),
        ("{First_Name} { frist_name } { first_name }", ("First_Name", "frist_name")),
        ("{% if score %}{frist_name}{% endif %}", ("frist_name",)),
        ("{% if score %}x{% endif %}{lead.nonsense} {lead.name} {custom_fields.x}", ("lead.nonsense",)),
        ("{{ sender.foo }} {{ sender.email }}", ("sender.foo",)),
        ("{{ first_name.foo }} {{ lead.first_name.foo }}", ("first_name.foo", "lead.first_name.foo")),
        ("{{ first_name.size }} {{ tags.first }} {{ lead.tags[0] }} {{ tags.foo }}", ("tags.foo",)),
        ("{{ lead.unsubscribe_url }} {{ lead.custom_fields.budget }}", ("lead.unsubscribe_url",)),
        ("{% for tag in tags %}{{ tag }}{% endfor %}{{ lead['first_name'] }}", ()),
    ],
)
def test_unknown_tags_are_named_with_their_field(text: str, unknown: tuple[str, ...]) -> None:
    facts = read_content(definition([email("a", config={"preheader": text})]).steps)
    assert {step: dict(each.unknown_tags) for step, each in facts.items()} == (
        {"a": {"config.preheader": unknown}} if unknown else {}
    )


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("{{ lead }}", "lead"),
        ("{lead}", "lead"),
        ("{{ custom_fields | json }}", "custom_fields"),
        ("{% for each in lead.custom_fields %}{{ each }}{% endfor %}", "lead.custom_fields"),
        ("{% assign x = sender %}{{ x }}", "sender"),
    ],
)
def test_what_stands_for_many_values_cannot_be_printed_whole(text: str, whole: str) -> None:
    made = in_new_form(definition([email("a", config={"subject": text})]))
    facts = read_content(made.steps)["a"]
    assert set(facts.faults) == {"config.subject"}
    assert facts.faults["config.subject"].startswith(f"names all of {whole}: name one value of it")


@pytest.mark.parametrize("text", ["{first_name}", "{ first_name }", "{lead.first_name}", "{ lead.custom_fields.x }"])
def test_an_older_tag_is_the_same_for_saving_and_for_rendering(text: str) -> None:
    made = in_new_form(definition([email("a", config={"subject": text})])).steps[0].config
    assert getattr(made, "subject", "") == with_new_tags(text) == f"{{{{ {text.strip('{ }')} }}}}"


def test_a_variants_texts_have_places_of_their_own() -> None:
    variants = [{"variant_id": "x", "config": {"subject": "{{ nobody }}"}}, {"variant_id": "y"}]
    facts = read_content(definition([email("a", variants=variants)]).steps)
    assert dict(facts["a"].unknown_tags) == {"variants.x.config.subject": ("nobody",)}


def test_a_fault_of_syntax_is_named_with_its_field() -> None:
    facts = read_content(definition([email("a", config={"subject": "{{ first_name "})]).steps)
    assert set(facts["a"].faults) == {"config.subject"}


def test_tags_in_the_older_form_are_rewritten_when_saved() -> None:
    fork = {"step_id": "c", "kind": "condition", "config": {"when": {"has_tag": "{first_name}"}}}
    old = definition(
        [
            email(
                "a",
                config={"subject": "Hi {first_name}", "text": "{{ company }} {unknown} {{first_name}}"},
                variants=[{"variant_id": "x"}, {"variant_id": "y", "config": {"subject": "{name}?"}}],
            ),
            {"kind": "whatsapp", "config": {"template": {"name": "n", "language": "en", "parameters": ["{name}"]}}},
            {**fork, "else": [{"step_id": "t", "kind": "task", "config": {"title": "Call {name}"}}]},
        ]
    )
    new = in_new_form(old)
    mail, task = new.steps[0].config, new.steps[2].else_[0].config
    assert getattr(mail, "subject", "") == "Hi {{ first_name }}"
    assert getattr(mail, "text", "") == "{{ company }} {unknown} {{first_name}}"
    assert getattr(task, "title", "") == "Call {{ name }}"
    assert new.steps[2].config == old.steps[2].config
    assert [variant.config for variant in new.steps[0].variants] == [{}, {"subject": "{{ name }}?"}]
    assert new.steps[1].model_dump()["config"]["template"]["parameters"] == ["{{ name }}"]
    assert in_new_form(new) == new
    order = EditSequence(sequence_id=SEQUENCE, definition=old)
    envelope = Envelope(id="m", message=order, source="test", time=SystemClock().now(), organization_id="demo")
    assert spelled(envelope).message == order.model_copy(update={"definition": new})
    change = ChangeSequence(sequence_id=SEQUENCE, changes={"name": "N"}, steps=old.steps)
    envelope = Envelope(id="m", message=change, source="test", time=SystemClock().now(), organization_id="demo")
    assert spelled(envelope).message == change.model_copy(update={"steps": new.steps})
