"""Snippets: pieces of content of the organization that messages share, named by ``{{ snippets.name }}``.

A snippet stands in for its tag as it is, merge tags included, before the content is rendered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import NamedTuple

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
