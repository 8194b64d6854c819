"""What a definition's content says: its merge tags and faults of its syntax, read with the Liquid parser and handed
to the decider as data."""

from __future__ import annotations

import re
from collections.abc import Iterator

from liquid import Environment
from liquid.exceptions import LiquidError

from services.enrollment.domain.definition_check import ContentFacts
from shared.events.definition import SequenceDefinition, Step, walk
from shared.events.kinds import EmailConfig
from shared.events.lead import PERSONAL_FIELDS, PLAIN_FIELDS

#: Names that stand for a value by themselves. ``lead.<field>`` and ``custom_fields.<name>`` are known besides.
KNOWN_TAGS = frozenset({*PERSONAL_FIELDS, *PLAIN_FIELDS, "name", "score", "tags", "unsubscribe_url", "postal_address"})
NAMESPACES = frozenset({"lead", "custom_fields", "sender"})
LEAD_FIELDS = KNOWN_TAGS | {"custom_fields"}

_OLD_TAG = re.compile(r"(?<!\{)\{([a-z_][a-z0-9_]*)\}(?!\})")
_environment = Environment()


def read_content(definition: SequenceDefinition) -> dict[str, ContentFacts]:
    """Facts by step id, for steps that have content."""
    return {
        step.step_id: ContentFacts(unknown_tags=tuple(unknown), faults=tuple(faults))
        for step in walk(definition.steps)
        if isinstance(step.config, EmailConfig)
        for unknown, faults in [_read_all(step)]
    }


def _read_all(step: Step) -> tuple[list[str], list[str]]:
    """What all variants say."""
    read = [_read(each.config) for each in step.contents if isinstance(each.config, EmailConfig)]
    unknown = dict.fromkeys(tag for tags, _ in read for tag in tags)
    faults = dict.fromkeys(fault for _, found in read for fault in found)
    return list(unknown), list(faults)


def _read(config: EmailConfig) -> tuple[list[str], list[str]]:
    unknown: list[str] = []
    faults: list[str] = []
    for text in (config.subject, config.html, config.text, config.preheader):
        if not text:
            continue
        try:
            unknown += [tag for tag in _tags(text) if tag not in unknown]
        except LiquidError as error:
            faults.append(str(error))
    return unknown, faults


def _tags(text: str) -> Iterator[str]:
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
