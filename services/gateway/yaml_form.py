"""Sequences as YAML: what people can read, send each other and keep beside their code.

Plain YAML only: no tags, no anchors, and of YAML's many readings of a bare word only null, true, false and numbers, so
that ``on`` stays a word and ``09:00`` a text.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from shared.events.definition import SequenceDefinition

MOST_BYTES = 256 * 1024
DEEPEST = 100

_SCALARS = (
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]{0,17})$"), list("-+0123456789")),
    ("tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?$"), list("-+0123456789")),
)


#: Breaks of a line in YAML 1.1 that only an escape keeps: a reader folds them.
_ODD_BREAKS = re.compile("[\r\x85\u2028\u2029]")


class BadYaml(ValueError):
    """The text is no YAML, or not of the plain kind."""


class _Plain(yaml.SafeLoader):
    """Stops at what could make a small text large, or a text an object."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # the library's own attribute, filled below

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise BadYaml(f"line {line}: anchors and aliases are not read")
        if getattr(event, "tag", None) is not None:
            raise BadYaml(f"line {line}: tags are not read")
        if self._depth >= DEEPEST:
            raise BadYaml(f"line {line}: nested deeper than {DEEPEST} levels")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _tag, _form, _first in _SCALARS:
    _Plain.add_implicit_resolver(_tag, _form, _first)


def parse(raw: bytes) -> Any:
    """What the text says, as JSON would hold it. Raises BadYaml."""
    if len(raw) > MOST_BYTES:
        raise BadYaml(f"is longer than {MOST_BYTES} bytes")
    try:
        loader = _Plain(raw.decode())
        found = loader.get_single_data()
    except UnicodeDecodeError:
        raise BadYaml("is not UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise BadYaml(f"{where}{getattr(error, 'problem', None) or 'cannot be read'}") from None
    except (ValueError, RecursionError, TypeError) as error:
        raise error if isinstance(error, BadYaml) else BadYaml("cannot be read") from None
    return found


def written(definition: SequenceDefinition) -> str:
    """The definition without what is left at its default; long texts as blocks."""
    plain = definition.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.dump(plain, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=120)


class _Readable(yaml.SafeDumper):
    """Texts of many lines stand as blocks."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if _ODD_BREAKS.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Readable.add_representer(str, _text)
