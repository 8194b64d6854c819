"""What the recipient reads, as a table, and that no script and no hole survives whatever comes in."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dispatcher.links import StepLinks
from shared.rendering.errors import BrokenContent, MissingValues
from shared.rendering.html_content import safe_address, sanitise, text_of
from shared.rendering.liquid_values import render, with_new_tags, without_blanks
from shared.rendering.message import Rendered, render_step
from shared.tokens import Tokens
from tests.dispatcher.making import LEAD, VALUES, dressed, step_of

TOKENS = Tokens(["0123456789abcdef0123"])
BASE = "https://t.example"


def rendered(html: str | None = "<p>x</p>", subject: str = "s", text: str | None = None, **changes: Any) -> Rendered:
    preheader = changes.pop("preheader", None)
    content = {"subject": subject, "html": html, "text": text, "preheader": preheader}
    step = dressed(content=content, **changes)
    return render_step(step, StepLinks(TOKENS, BASE, step_of(step), LEAD))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Hi {{ first_name }}", "Hi Ada"),
        ("Hi {first_name}", "Hi Ada"),
        ("Hi { first_name }", "Hi Ada"),
        ("Hi {lead.first_name}", "Hi Ada"),
        ("{{ lead.name }} of {{ lead.company }}", "Ada Byron of Engines"),
        ("{{ nickname | default: 'friend' }}", "friend"),
        ("{{ lead.nickname | default: first_name | upcase }}", "ADA"),
        ("{% if nickname %}a{% else %}b{% endif %}", "b"),
        ("{% if title == 'CTO' %}a{% endif %}b", "b"),
        ("{{ sender.name }}", "Grace Hopper"),
        ("{{ budget | plus: 1 }}", "5001"),
        ("{{ lead.custom_fields.budget }}", "5000"),
        ("{{ custom_fields.budget }} {custom_fields.budget}", "5000 5000"),
        ("a {color: red} {unknown} { } {}", "a {color: red} {unknown} { } {}"),
        ("{{ '{x}' }}", "{x}"),
        ("100 % {sure}", "100 % {sure}"),
        ("plain", "plain"),
    ],
)
def test_subjects(template: str, expected: str) -> None:
    assert rendered(subject=template, lead={**VALUES, "custom_fields": {"budget": 5000}}).subject == expected


@pytest.mark.parametrize(
    "filter_",
    [
        "upcase",
        "date: '%Y'",
        "plus: 1",
        "append: 'x'",
        "size",
        "join: ','",
        "strip",
        "first",
        "escape",
        "truncate: 3",
        "abs",
        "split: ','",
    ],
)
def test_a_missing_value_is_named_whatever_filter_it_passes(filter_: str) -> None:
    with pytest.raises(MissingValues) as caught:
        rendered(subject=f"Hi {{{{ nickname | {filter_} }}}}")
    assert caught.value.names == ["nickname"]


def test_all_missing_names_of_all_parts_are_told() -> None:
    with pytest.raises(MissingValues) as caught:
        rendered(
            "{{ one }} {{ lead.two }} {{ lead.deep.three }}",
            subject="{company}{{ four }}",
            lead={"company": "  ", "one": None},
        )
    assert caught.value.names == ["company", "four", "lead.deep.three", "lead.two", "one"]


def test_a_missing_value_as_a_filters_argument_is_missing() -> None:
    with pytest.raises(MissingValues):
        rendered(subject="{{ 'a' | append: nickname }}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ first_name",
        "{% if x %}",
        "{% unknown %}",
        "{{ a | nofilter }}",
        "{% include 'x' %}",
        "{% render 'x' %}",
        "{{ first_name | safe }}",
    ],
)
def test_broken_templates_are_broken_content(template: str) -> None:
    with pytest.raises(BrokenContent):
        rendered(subject=template)


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in (1..100000000) %}x{% endfor %}",
        "{% for i in (1..1000) %}{% for j in (1..1000) %}x{% endfor %}{% endfor %}",
        "{% assign a = 'xxxxxxxxxx' %}{% for i in (1..40) %}{% assign a = a | append: a %}{% endfor %}{{ a }}",
    ],
)
def test_templates_end(template: str) -> None:
    with pytest.raises(BrokenContent):
        rendered(subject=template)


def test_subject_with_line_break_is_refused() -> None:
    with pytest.raises(BrokenContent):
        rendered(subject="Hi {{ first_name }}", lead={"first_name": "Ada\r\nBcc: x@y.example"})


def test_a_message_without_content_is_refused() -> None:
    with pytest.raises(BrokenContent):
        rendered(html="", text="  ")


def test_values_are_escaped_in_html_and_not_in_text() -> None:
    result = rendered(
        "<p>{{ first_name }}</p>", subject="{{ first_name }}", text="{{ first_name }}", lead={"first_name": "<b>&"}
    )
    assert result.html is not None
    assert "<p>&lt;b&gt;&amp;</p>" in result.html
    assert result.subject == "<b>&"
    assert result.text.startswith("<b>&")


def test_links_lead_through_the_tracker_and_the_text_names_where_they_go() -> None:
    result = rendered(
        '<p>Look at <a href="https://example.com/a?b=1&amp;c=2">this</a> or <a href="mailto:x@y.example">write</a></p>'
    )
    assert result.html is not None
    [token] = re.findall(r'href="https://t\.example/t/c/([^"]+)"', result.html)
    claims = TOKENS.read_link(token)
    assert claims is not None
    assert (claims.kind, claims.target, claims.lead_id) == ("click", "https://example.com/a?b=1&c=2", LEAD)
    assert 'href="mailto:x@y.example"' in result.html
    assert "this (https://example.com/a?b=1&c=2) or write" in result.text


def test_unsubscribe_and_postal_address_are_added_where_they_are_not() -> None:
    added = rendered("<p>x</p>", text="x")
    assert added.html is not None
    assert added.html.count("/t/u/") == 1
    assert "1 Main Street, Berlin" in added.html
    assert added.text.count("/t/u/") == 1
    own = rendered(
        '<p>{{ postal_address }} <a href="{{ unsubscribe_url }}">leave</a></p>',
        text="{unsubscribe_url} {postal_address}",
    )
    assert own.html is not None
    assert own.html.count("/t/u/") == own.text.count("/t/u/") == 1
    assert own.html.count("Main Street") == own.text.count("Main Street") == 1
    assert "/t/c/" not in own.html


def test_the_pixel_needs_consent() -> None:
    assert "/t/o/" in (rendered().html or "")
    assert "/t/o/" not in (rendered(track_opens=False).html or "")


def test_text_only_messages_have_no_html() -> None:
    result = rendered(html=None, text="Hello {{ first_name }}")
    assert result.html is None
    assert result.text.startswith("Hello Ada\n\n-- \n")


def test_styles_move_inline_and_preheader_is_hidden() -> None:
    result = rendered("<style>p { color: red }</style><p>x</p>", preheader="Look, {{ first_name }} & co")
    assert result.html is not None
    assert '<p style="color: red;">' in result.html.replace("color:red", "color: red")
    assert "<style" not in result.html
    assert "Look, Ada &amp; co</div>" in result.html


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        '<a href="javascript:alert(1)">x</a>',
        '<a href=" javascript:alert(1)">x</a>',
        '<a href="\u00a0javascript:alert(1)">x</a>',
        '<a href="\u2003javascript:alert(1)">x</a>',
        '<a href="java\tscript:alert(1)">x</a>',
        '<a href="&#106;avascript:alert(1)">x</a>',
        '<a href="data:text/html,<script>">x</a>',
        '<a href="vbscript:x">x</a>',
        "<svg><script>alert(1)</script></svg>",
        "<math><mtext><script>alert(1)</script></mtext></math>",
        '<p style="background:url(javascript:alert(1))">x</p>',
        '<p style="width:expression(alert(1))">x</p>',
        '<iframe src="https://evil.example"></iframe>',
        '<form action="https://evil.example"><input></form>',
        '<base href="https://evil.example">',
        '<meta http-equiv="refresh" content="0">',
        '<link rel="stylesheet" href="https://evil.example">',
        '<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>',
    ],
)
def test_nothing_hostile_survives(hostile: str) -> None:
    result = rendered(f"<p>hello</p>{hostile}")
    assert result.html is not None
    assert_harmless(result.html)


class _Look(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def assert_harmless(html: str) -> None:
    look = _Look()
    look.feed(html)
    for tag, attributes in look.tags:
        assert tag not in {
            "script",
            "iframe",
            "object",
            "embed",
            "form",
            "input",
            "base",
            "link",
            "svg",
            "math",
            "style",
        }
        assert tag != "meta" or set(attributes) == {"charset"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"href", "src"}:
                assert re.match(r"^(https?:|mailto:|tel:|#)", value or "")
            if name == "style":
                assert not re.search(r"url\(|expression|javascript", value or "", re.IGNORECASE)


PIECES = st.sampled_from(
    ["<script>", "</script>", "<a href=", '"', "'", "javascript:", "<img src=x onerror=", ">", "<", "<style>", "</style>", "<svg>", "&#x6a;",  # noqa: E501
     "{{ first_name }}", "{% if x %}", "{% endif %}", "{first_name}", "\u2003", "\x00", "<!--", "-->", "url(", "<p style=", "x", " "]  # noqa: E501
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=20).map("".join), st.lists(PIECES, max_size=6).map("".join))
def test_no_script_survives_any_content_and_any_value(content: str, value: str) -> None:
    try:
        result = rendered(f"<p>hello</p>{content}", lead={"first_name": value})
    except BrokenContent:
        return
    assert result.html is not None
    assert_harmless(result.html)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["first_name", "company", "nickname"]),
    st.sampled_from(
        [
            "",
            " | upcase",
            " | strip",
            " | date: '%Y'",
            " | times: 2",
            " | append: '!'",
            " | replace: 'a', 'b'",
            " | size",
        ]
    ),
    st.sampled_from([None, "", "  ", "\n\t", "value"]),
    st.sampled_from(["{{ lead.%s%s }}", "{{ %s%s }}"]),
)
def test_no_hole_is_ever_sent(name: str, filters: str, value: str | None, form: str) -> None:
    template = "[" + form % (name, filters) + "]"
    subject: str | None = None
    names = [name]
    try:
        subject = rendered(subject=template, lead={name: value}).subject
    except MissingValues as error:
        names = error.names
    assert names[0].endswith(name)
    assert (value is None or not value.strip()) == (subject is None)
    assert subject != "[]"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://a.example", "https://a.example"),
        ("\u3000https://a.example ", "https://a.example"),
        ("java\nscript:x", None),
        ("//a.example/x", None),
        ("/x", None),
        ("#top", "#top"),
        ("", None),
    ],
)
def test_addresses(address: str, expected: str | None) -> None:
    assert safe_address(address) == expected


def test_text_of_html() -> None:
    html = "<h1>Hi</h1><p>One<br>two &amp; three</p><ul><li>a</li><li>b</li></ul><table><tr><td>c</td><td>d</td></tr></table>"  # noqa: E501
    assert text_of(html) == "Hi\n\nOne\ntwo & three\n\n- a\n- b\n\nc d\n"


def test_old_tags_are_renewed_only_where_they_name_a_field() -> None:
    assert (
        with_new_tags("{first_name} {nickname} {x}", frozenset({"nickname"})) == "{{ first_name }} {{ nickname }} {x}"
    )
    assert with_new_tags("{{ first_name }}{% if a %}{% endif %}") == "{{ first_name }}{% if a %}{% endif %}"


def test_blank_values_are_missing() -> None:
    assert without_blanks({"a": " ", "b": None, "c": 0, "d": False, "e": {"f": ""}}) == {"c": 0, "d": False, "e": {}}
    assert render("{{ c }}", {"c": 0}, html=False) == "0"


def test_sanitising_keeps_ordinary_mail() -> None:
    html = '<table width="600"><tr><td style="padding: 4px" align="center"><img src="https://x.example/a.png" alt="a"></td></tr></table>'  # noqa: E501
    assert 'align="center"' in sanitise(html, str)
    assert 'src="https://x.example/a.png"' in sanitise(html, str)
