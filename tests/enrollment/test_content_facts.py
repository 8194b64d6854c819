"""Merge tags in a definition: which are known, and the older form rewritten."""

from __future__ import annotations

import pytest

from services.enrollment.content_facts import in_new_form, read_content
from services.enrollment.spelling import spelled
from shared.clock import SystemClock
from shared.events import Envelope
from shared.events.sequence import EditSequence
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
    ],
)
def test_unknown_tags_are_named_with_their_field(text: str, unknown: tuple[str, ...]) -> None:
    facts = read_content(definition([email("a", config={"preheader": text})]))
    assert {step: dict(each.unknown_tags) for step, each in facts.items()} == (
        {"a": {"config.preheader": unknown}} if unknown else {}
    )


def test_a_variants_texts_have_places_of_their_own() -> None:
    variants = [{"variant_id": "x", "config": {"subject": "{{ nobody }}"}}, {"variant_id": "y"}]
    facts = read_content(definition([email("a", variants=variants)]))
    assert dict(facts["a"].unknown_tags) == {"variants.x.config.subject": ("nobody",)}


def test_a_fault_of_syntax_is_named_with_its_field() -> None:
    facts = read_content(definition([email("a", config={"subject": "{{ first_name "})]))
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
