"""Texts for members: the lead's values in place, and no failure over what is missing."""

from __future__ import annotations

from uuid import UUID

import pytest

from services.enrollment.domain.lead import Lead
from services.enrollment.texts import filled

ADA = Lead(UUID(int=1), "demo", first_name="Ada", last_name="Byron", custom_fields={"budget": 5_000}, score=42)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Call {{ first_name }}", "Call Ada"),
        ("{{ name }} ({{ lead.score }}, {{ custom_fields.budget }}, {{ budget }})", "Ada Byron (42, 5000, 5000)"),
        ("Call {{ first_name }} of {{ company }}", "Call Ada of"),
        ("{{ a }}{{ b }}{{ c.d }}x", "x"),
        ("{{ company | default: 'someone' }}", "someone"),
        ("Call {first_name}", "Call Ada"),
        ("no tags", "no tags"),
        ("{% if", "{% if"),
        ("{% for x in (1..9999999) %}x{% endfor %}", "{% for x in (1..9999999) %}x{% endfor %}"),
    ],
)
def test_a_text_for_members(template: str, text: str) -> None:
    assert filled(template, ADA) == text


def test_without_a_lead_it_stays_as_it_is() -> None:
    assert filled("Call {{ first_name }}", None) == "Call {{ first_name }}"
