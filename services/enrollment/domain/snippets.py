"""Snippets: pieces of content of the organization that messages share, named by ``{{ snippets.name }}``.

A snippet stands in for its tag as it is, merge tags included, before the content is rendered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import NamedTuple

from services.enrollment.domain.content_check import ContentFacts, finding
from services.enrollment.domain.errors import InvalidSnippet, SnippetExists, UnknownTarget
from shared.events.message import Event
from shared.events.organization import SetSnippet, SnippetRemoved, SnippetSet

_TAG = re.compile(r"\{\{-?\s*snippets\.([a-z][a-z0-9_]{0,63})\s*-?\}\}")
_MENTION = re.compile(r"\{[{%][^{}]*\bsnippets\b[^{}]*[%}]\}")


class Snippet(NamedTuple):
    """``html`` None: the text, escaped, stands in HTML too."""

    text: str
    html: str | None


def faults(text: str, known: Mapping[str, Snippet], *, allowed: bool = True) -> Iterator[str]:
    """What is wrong with the snippets that a text names. ``allowed`` False: none may stand here."""
    if "snippets" not in text:
        return
    for mention in _MENTION.findall(text):
        tag = _TAG.fullmatch(mention)
        if not allowed:
            yield "cannot hold a snippet"
        elif tag is None:
            yield "must name a snippet by itself, as in {{ snippets.name }}"
        elif tag[1] not in known:
            yield f"names the snippet {tag[1]}, which does not exist"


def expanded(text: str, known: Mapping[str, Snippet], *, html: bool) -> str:
    """The text with its snippets in place. One that is gone stays named, so that the step is held and says what is
    missing.
    """
    if "snippets." not in text:
        return text

    def put_in(match: re.Match[str]) -> str:
        snippet = known.get(match[1])
        if snippet is None:
            return match[0]
        if not html:
            return snippet.text
        return snippet.html if snippet.html is not None else escape(snippet.text, quote=False).replace("\n", "<br>")

    return _TAG.sub(put_in, text)


# --- orders -----------------------------------------------------------------------------------------------------------


def set_snippet(known: Mapping[str, Snippet], command: SetSnippet, facts: ContentFacts) -> Iterator[Event]:
    """Raises InvalidSnippet for unknown tags, faults of syntax, and snippets within it; SnippetExists for a new one
    that has the name of another.
    """
    errors = [
        finding(place, f"uses the unknown tag {tag}") for place, tags in facts.unknown_tags.items() for tag in tags
    ]
    errors += [finding(place, fault) for place, fault in facts.faults.items()]
    for place in ("text", "html"):
        errors += [finding(place, fault) for fault in faults(getattr(command, place) or "", {}, allowed=False)]
    if errors:
        raise InvalidSnippet("; ".join(f"{each['field']}: {each['problem']}" for each in errors), errors=errors)
    if command.new and command.name in known:
        raise SnippetExists("there is such a snippet already", errors=[finding("name", "is taken")])
    if known.get(command.name) != Snippet(command.text, command.html):
        yield SnippetSet(name=command.name, text=command.text, html=command.html)


def remove_snippet(known: Mapping[str, Snippet], name: str) -> Iterator[Event]:
    """Raises UnknownTarget."""
    if name not in known:
        raise UnknownTarget("snippet", name)
    yield SnippetRemoved(name=name)


def snippets_after(known: Mapping[str, Snippet], event: SnippetSet | SnippetRemoved) -> dict[str, Snippet]:
    """The organization's snippets after an event."""
    snippets = {name: snippet for name, snippet in known.items() if name != event.name}
    if isinstance(event, SnippetSet):
        snippets[event.name] = Snippet(event.text, event.html)
    return snippets
