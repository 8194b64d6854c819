"""What a definition's content says: its merge tags and faults of its syntax, read with the Liquid parser and handed
to the decider as data. Tags in their older form, ``{first_name}``, are rewritten in the new one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from liquid import Environment
from liquid.exceptions import LiquidError

from services.enrollment.domain.content_check import ContentFacts
from shared.events.definition import TEXT_FIELDS, SequenceDefinition, Step, texts_of, walk
from shared.events.kinds import WhatsappTemplate
from shared.events.lead import PERSONAL_FIELDS, PLAIN_FIELDS

#: Names that stand for a value by themselves. ``lead.<field>`` and ``custom_fields.<name>`` are known besides.
KNOWN_TAGS = frozenset({*PERSONAL_FIELDS, *PLAIN_FIELDS, "name", "score", "tags", "unsubscribe_url", "postal_address"})
NAMESPACES = frozenset({"lead", "custom_fields", "sender", "snippets"})
LEAD_FIELDS = KNOWN_TAGS | {"custom_fields"}

_OLD_TAG = re.compile(r"(?<![{%])\{([a-z_][a-z0-9_]*)\}(?!\})")
_environment = Environment()


def read_content(definition: SequenceDefinition) -> dict[str, ContentFacts]:
    """Facts by step id, for steps in whose texts something is wrong."""
    found = {step.step_id: read_texts(texts_of(step)) for step in walk(definition.steps)}
    return {step_id: facts for step_id, facts in found.items() if facts.unknown_tags or facts.faults}


def read_texts(texts: Mapping[str, str]) -> ContentFacts:
    """Facts of texts by their place."""
    unknown: dict[str, tuple[str, ...]] = {}
    faults: dict[str, str] = {}
    for place, text in texts.items():
        try:
            tags = tuple(dict.fromkeys(_unknown_tags(text)))
        except LiquidError as error:
            faults[place] = str(error)
        else:
            if tags:
                unknown[place] = tags
    return ContentFacts(unknown, faults)


def _unknown_tags(text: str) -> Iterator[str]:
    """Tags that nobody knows, in the new form and the old one (``{first_name}``)."""
    for name, uses in _environment.from_string(text).analyze().globals.items():
        for use in uses:
            segments = [str(segment) for segment in use.segments]
            if name in NAMESPACES:
                if name == "lead" and len(segments) > 1 and segments[1] not in LEAD_FIELDS:
                    yield ".".join(segments)
            elif name not in KNOWN_TAGS:
                yield name
    for match in _OLD_TAG.finditer(text):
        if match.group(1) not in KNOWN_TAGS and not text.lstrip().startswith("{%"):
            yield match.group(1)


def in_new_form(definition: SequenceDefinition) -> SequenceDefinition:
    """The same definition, ``{first_name}`` written ``{{ first_name }}`` wherever the tag is known."""
    if not any(_OLD_TAG.search(text) for step in walk(definition.steps) for text in texts_of(step).values()):
        return definition
    return definition.model_copy(update={"steps": _steps_in_new_form(definition.steps)})


def _steps_in_new_form(steps: list[Step]) -> list[Step]:
    return [
        step.model_copy(
            update={
                "config": step.config.model_copy(update=_changed(step.config.model_dump())),
                "variants": [
                    variant.model_copy(update={"config": _varied(variant.config)}) for variant in step.variants
                ],
                "then": _steps_in_new_form(step.then),
                "else_": _steps_in_new_form(step.else_),
            }
        )
        for step in steps
    ]


def _varied(config: Mapping[str, Any]) -> dict[str, Any]:
    changed = {**config, **_changed(config)}
    template = changed.get("template")
    return {**changed, "template": template.model_dump()} if isinstance(template, WhatsappTemplate) else changed


def _changed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The texts of a config, its tags in their new form."""
    changed: dict[str, Any] = {
        name: _OLD_TAG.sub(_new_tag, config[name]) for name in TEXT_FIELDS if isinstance(config.get(name), str)
    }
    template = config.get("template")
    if isinstance(template, dict) and template.get("parameters"):
        parameters = [_OLD_TAG.sub(_new_tag, text) for text in template["parameters"]]
        changed["template"] = WhatsappTemplate.model_validate({**template, "parameters": parameters})
    return changed


def _new_tag(match: re.Match[str]) -> str:
    return f"{{{{ {match.group(1)} }}}}" if match.group(1) in KNOWN_TAGS else match.group(0)
