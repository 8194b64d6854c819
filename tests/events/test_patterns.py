"""Whoever writes a text of the wrong form reads what the right one is, and no regular expression."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import StringConstraints, TypeAdapter, ValidationError

from shared.events.patterns import CHOSEN_ID, MEANINGS, in_plain_words
from shared.events.places import reasons_of

DOCS = Path(__file__).parents[2] / "docs"


def patterns_in(document: Any) -> Iterator[str]:
    """Of values and of names, wherever a schema has one."""
    match document:
        case dict():
            if isinstance(document.get("pattern"), str):
                yield document["pattern"]
            yield from document.get("patternProperties", {})
            for each in document.values():
                yield from patterns_in(each)
        case list():
            for each in document:
                yield from patterns_in(each)


def test_every_pattern_of_the_api_has_a_meaning() -> None:
    of_the_api = set(patterns_in(json.loads((DOCS / "openapi.json").read_text())))
    assert CHOSEN_ID in of_the_api
    assert of_the_api <= MEANINGS.keys()


def test_every_pattern_of_a_message_has_a_meaning() -> None:
    of_messages = {each for path in DOCS.glob("schemas/*.json") for each in patterns_in(json.loads(path.read_text()))}
    assert CHOSEN_ID in of_messages
    assert of_messages <= MEANINGS.keys()


@pytest.mark.parametrize("pattern", sorted(MEANINGS))
def test_a_text_of_another_form_is_told_the_meaning(pattern: str) -> None:
    text = TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])
    with pytest.raises(ValidationError) as refused:
        text.validate_python("\n")
    [reason] = reasons_of(refused.value)
    assert reason["problem"] == f"must be {MEANINGS[pattern]}"
    assert not re.search(r"[\^$\[\]{}]", reason["problem"])


def test_a_pattern_that_nobody_explained_is_shown() -> None:
    assert in_plain_words("String should match pattern '^x$'") == "String should match pattern '^x$'"
    assert in_plain_words("Field required") == "Field required"
