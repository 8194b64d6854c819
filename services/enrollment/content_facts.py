"""What a definition's content says: its merge tags and faults of its syntax, read with the Liquid parser and handed
to the decider as data. Tags in their older form, ``{first_name}``, are rewritten in the new one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liquid import Environment
from liquid.exceptions import LiquidError

from services.enrollment.domain.content_check import ContentFacts
from shared.events.definition import TEXT_FIELDS, SequenceDefinition, Step, texts_of, walk
from shared.events.kinds import WhatsappTemplate
from shared.events.lead import PERSONAL_FIELDS, PLAIN_FIELDS
from shared.rendering.liquid_values import OLD_TAG

#: Names that stand for a value by themselves. ``lead.<field>``, ``custom_fields.<name>`` and the sender's are known
#: besides.
KNOWN_TAGS = frozenset({*PERSONAL_FIELDS, *PLAIN_FIELDS, "name", "score", "tags", "unsubscribe_url", "postal_address"})
#: What stands for nothing by itself, with a member as an example.
NAMESPACES = {
    "lead": "lead.first_name",
    "custom_fields": "custom_fields.budget",
    "lead.custom_fields": "lead.custom_fields.budget",
    "sender": "sender.name",
}
#: All but what is the message's own.
LEAD_FIELDS = (KNOWN_TAGS - {"unsubscribe_url", "postal_address"}) | {"custom_fields"}
SENDER_FIELDS = frozenset({"name", "email"})
#: What Liquid knows of a text, and of a list.
_OF_TEXT = frozenset({"size"})
_OF_LIST = frozenset({"size", "first", "last"})

_environment = Environment()


def read_content(steps: Sequence[Step]) -> dict[str, ContentFacts]:
    """Facts by step id, for steps in whose texts something is wrong."""
    found = {step.step_id: read_texts(texts_of(step)) for step in walk(list(steps))}
    return {step_id: facts for step_id, facts in found.items() if facts.unknown_tags or facts.faults}


def read_texts(texts: Mapping[str, str]) -> ContentFacts:
    """Facts of texts by their place."""
    unknown: dict[str, tuple[str, ...]] = {}
    faults: dict[str, str] = {}
    for place, text in texts.items():
        try:
            named = list(_named(text))
        except LiquidError as error:
            faults[place] = str(error)
            continue
        if tags := tuple(dict.fromkeys(".".join(path) for path in named if not _is_known(path))):
            unknown[place] = tags
        if (whole := next((".".join(path) for path in named if ".".join(path) in NAMESPACES), None)) is not None:
            faults[place] = f"names all of {whole}: name one value of it, as in {{{{ {NAMESPACES[whole]} }}}}"
    return ContentFacts(unknown, faults)


def _named(text: str) -> Iterator[list[str]]:
    """What a text names, part by part, in the new form and the old one (``{first_name}``)."""
    for uses in _environment.from_string(text).analyze().globals.values():
        for use in uses:
            yield [str(segment) for segment in use.segments]
    for match in OLD_TAG.finditer(text):
        yield match[1].split(".")


def _is_known(path: Sequence[str]) -> bool:
    """Namespaces by themselves are told of otherwise."""
    name, *members = path
    if name == "lead" and members:
        name, *members = members
        if name not in LEAD_FIELDS:
            return False
    match name:
        case "lead" | "custom_fields" | "snippets":
            return True
        case "sender":
            return not members or (members[0] in SENDER_FIELDS and set(members[1:]) <= _OF_TEXT)
        case "tags":
            return not members or members[0] in _OF_LIST or members[0].lstrip("-").isdecimal()
    return name in KNOWN_TAGS and set(members) <= _OF_TEXT


def in_new_form(definition: SequenceDefinition) -> SequenceDefinition:
    """The same definition, ``{first_name}`` written ``{{ first_name }}`` wherever the tag is known."""
    steps = steps_in_new_form(definition.steps)
    return definition if steps is definition.steps else definition.model_copy(update={"steps": steps})


def steps_in_new_form(steps: list[Step]) -> list[Step]:
    """The same of steps; the list itself where nothing changes."""
    if not any(OLD_TAG.search(text) for step in walk(steps) for text in texts_of(step).values()):
        return steps
    return _steps_in_new_form(steps)


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
        name: OLD_TAG.sub(_new_tag, config[name]) for name in TEXT_FIELDS if isinstance(config.get(name), str)
    }
    template = config.get("template")
    if isinstance(template, dict) and template.get("parameters"):
        parameters = [OLD_TAG.sub(_new_tag, text) for text in template["parameters"]]
        changed["template"] = WhatsappTemplate.model_validate({**template, "parameters": parameters})
    return changed


def _new_tag(match: re.Match[str]) -> str:
    path = match[1].split(".")
    return f"{{{{ {match[1]} }}}}" if _is_known(path) and match[1] not in NAMESPACES else match[0]
