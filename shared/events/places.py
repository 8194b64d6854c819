"""What is wrong in a body, place by place, as people read it.

A place is a path such as ``steps.opened.config.when.any[0].value``: names joined by dots, items of lists by their
number from 0. Steps and variants stand under their own ids, not under the steps around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from shared.events.patterns import in_plain_words
from shared.events.step_ids import ARMS, with_step_ids

#: What pydantic puts into a path to tell the forms of a union apart, or a key from its value.
_FORM = re.compile(
    r"[A-Z]\w*|.*\[.*|(?:str|int|float|bool|none|date|datetime|time|timedelta|uuid|decimal)|constrained-\w+",
    re.DOTALL,
)
#: An id that can stand in a place.
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
#: What it puts before the words of our own validators.
_PREFIXES = ("Value error, ", "Assertion failed, ")


class _Refused(Protocol):
    """A ValidationError of pydantic."""

    def errors(self, *, include_url: bool, include_context: bool, include_input: bool) -> Sequence[Mapping[str, Any]]:
        """What was wrong."""


def reasons_of(error: _Refused, raw: Any = None) -> list[dict[str, str]]:
    """A pydantic error as ``{"field", "problem"}`` pairs, without the rejected values (they may be personal). ``raw``
    is what was read: it knows the steps' ids. The field of a whole body is empty."""
    return reasons(error.errors(include_url=False, include_input=False, include_context=False), raw)


def reasons(details: Iterable[Mapping[str, Any]], raw: Any = None) -> list[dict[str, str]]:
    """The same of pydantic's details of errors (``type``, ``loc``, ``msg``)."""
    root = _Root(raw)
    return [
        {
            "field": root.place(detail["loc"], missing=detail["type"] == "missing"),
            "problem": problem_of(str(detail["msg"])),
        }
        for detail in details
    ]


def problem_of(text: str) -> str:
    """A message of pydantic without what it puts before the words of our own validators, patterns by their
    meaning."""
    for prefix in _PREFIXES:
        text = text.removeprefix(prefix)
    return in_plain_words(text)


class _Root:
    """A body to walk in; its steps have ids."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._named: dict[int, Any] = {}

    def place(self, location: Sequence[int | str], *, missing: bool) -> str:
        """``missing``: the last part names a field, whatever it looks like."""
        at, path, home, last = self._raw, "", "", ""
        for number, part in enumerate(location, 1):
            if isinstance(part, int):
                at = at[part] if isinstance(at, list) and 0 <= part < len(at) else None
                own_id = at.get("variant_id" if last == "variants" else "step_id") if isinstance(at, Mapping) else None
                if isinstance(own_id, str) and _ID.fullmatch(own_id) and (last == "variants" or home):
                    path = f"{path if last == 'variants' else home}.{own_id}"
                else:
                    path = f"{path}[{part}]"
                last = ""
                continue
            inside = isinstance(at, Mapping) and part in at
            named = inside or (missing and number == len(location))
            if not named and _FORM.fullmatch(part):
                continue
            at = self._with_ids(at)[part] if inside else None
            path = f"{path}.{part}" if path else part
            last = part
            home = path if part == "steps" else home if part in ARMS else ""
        return path

    def _with_ids(self, raw: Any) -> Any:
        """Of a definition, the same with ids for all steps."""
        if "steps" not in raw:
            return raw
        if id(raw) not in self._named:
            self._named[id(raw)] = with_step_ids(raw)
        return self._named[id(raw)]
