"""Does a definition make sense as a whole? Errors refuse it; warnings are only told. Each names the step and the
field.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.enrollment.domain.condition_check import check_condition
from services.enrollment.domain.lead_values import is_known
from services.enrollment.domain.windows import UTC_ZONE, Hours, days_off, hours_of, next_open, zone_named
from shared.events.definition import (
    ConditionConfig,
    SequenceDefinition,
    SequenceSettings,
    Step,
    Window,
    walk,
)
from shared.events.kinds import Channel, EmailConfig, StepKind

Finding = dict[str, str]
#: Where the search for an hour in which all windows are open begins.
SOME_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
LONG_SUBJECT = 78
MANY_LINKS = 10
_LINK = re.compile(r"""href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_GOOD_LINK = re.compile(r"^(https?://[^\s/]+|mailto:[^\s]+@|tel:\+?[0-9]|#|\{\{)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ContentFacts:
    """What a parser read in a step's content: tags that nobody knows, and faults of its syntax."""

    unknown_tags: Sequence[str] = field(default_factory=tuple)
    faults: Sequence[str] = field(default_factory=tuple)


NO_FACTS = ContentFacts()


def validate(
    definition: SequenceDefinition, facts: Mapping[str, ContentFacts] | None = None
) -> tuple[list[Finding], list[Finding]]:
    """Errors and warnings as ``{"field", "problem"}``; ``facts`` by step id."""
    steps = walk(definition.steps)
    errors = [*_settings(definition.settings), *_ids(steps), *_trigger(definition)]
    warnings: list[Finding] = []
    for step in steps:
        errors += _step(step, {each.step_id for each in steps})
        for content in step.contents:
            if isinstance(content.config, EmailConfig):
                errors += _content(content, content.config, (facts or {}).get(step.step_id, NO_FACTS))
                warnings += _advice(content, content.config)
    errors += _unreachable(definition.steps)
    return _each_once(errors), _each_once(warnings)


def _each_once(findings: list[Finding]) -> list[Finding]:
    """Variants share what they do not replace, and the faults in it."""
    return [finding for at, finding in enumerate(findings) if finding not in findings[:at]]


def _finding(where: str, problem: str) -> Finding:
    return {"field": where, "problem": problem}


def _settings(settings: SequenceSettings) -> Iterator[Finding]:
    if settings.timezone not in {"lead", "organization"} and zone_named(settings.timezone) is None:
        yield _finding("settings.timezone", "must be lead, organization or a name of the tz database")
    if settings.windows and not any(window.days for window in settings.windows):
        yield _finding("settings.windows", "must name at least one day")
    elif (
        settings.windows
        and settings.skip_weekends
        and all(set(window.days) <= {"sat", "sun"} for window in settings.windows)
    ):
        yield _finding("settings.windows", "lie on weekends, which are skipped")
    for channel, windows in settings.channel_windows.items():
        yield from _channel_windows(settings, channel, windows)
    if settings.holidays is not None and not days_off(settings.holidays, 2026):
        yield _finding("settings.holidays", "must be a country such as DE, or a part of one such as DE-BY")


def _channel_windows(settings: SequenceSettings, channel: Channel, windows: Sequence[Window]) -> Iterator[Finding]:
    where = f"settings.channel_windows.{channel.value}"
    if not any(window.days for window in windows):
        yield _finding(where, "must name at least one day")
    elif next_open(SOME_MOMENT, [(Hours(windows), UTC_ZONE), (hours_of(settings) or Hours([]), UTC_ZONE)]) is None:
        yield _finding(where, "and settings.windows are never open together: a message must be inside both")


def _trigger(definition: SequenceDefinition) -> Iterator[Finding]:
    score = definition.trigger.score
    if score is not None and score.min is not None and score.max is not None and score.min > score.max:
        yield _finding("trigger.score", "min must not be above max")
    if "score_reached" in definition.trigger.on and (score is None or (score.min is None and score.max is None)):
        yield _finding("trigger.score", "is required for score_reached")
    if definition.trigger.conditions is not None:
        yield from check_condition(definition.trigger.conditions, "trigger.conditions", None)


def _ids(steps: Sequence[Step]) -> Iterator[Finding]:
    for step_id, count in Counter(step.step_id for step in steps).items():
        if count > 1:
            yield _finding(f"steps.{step_id}.step_id", f"is used by {count} steps")


def _step(step: Step, known: set[str]) -> Iterator[Finding]:
    where = f"steps.{step.step_id}"
    if step.delay.from_ == "field" and not step.delay.field:
        yield _finding(f"{where}.delay.field", "must name the field that the delay counts from")
    if step.delay.from_ == "field" and step.delay.field and is_known(step.delay.field):
        yield _finding(f"{where}.delay.field", f"{step.delay.field} holds no date: name a custom field")
    if step.conditions is not None:
        yield from check_condition(step.conditions, f"{where}.conditions", known)
    if isinstance(step.config, ConditionConfig):
        yield from check_condition(step.config.when, f"{where}.config.when", known)
    if step.kind is StepKind.CONDITION and not step.then and not step.else_:
        yield _finding(f"{where}.then", "a condition needs a step in one of its arms")


def _content(step: Step, config: EmailConfig, facts: ContentFacts) -> Iterator[Finding]:
    where = f"steps.{step.step_id}.config"
    if not config.subject.strip():
        yield _finding(f"{where}.subject", "must not be blank")
    if "\n" in config.subject or "\r" in config.subject:
        yield _finding(f"{where}.subject", "must be one line")
    for tag in facts.unknown_tags:
        yield _finding(where, f"uses the unknown tag {tag}")
    for fault in facts.faults:
        yield _finding(where, fault)
    for link in _LINK.findall(config.html or ""):
        if not _GOOD_LINK.match(link):
            yield _finding(f"{where}.html", f"has a link that is not well-formed: {link[:100]}")


def _advice(step: Step, config: EmailConfig) -> Iterator[Finding]:
    where = f"steps.{step.step_id}.config"
    if len(config.subject) > LONG_SUBJECT:
        yield _finding(f"{where}.subject", f"is longer than {LONG_SUBJECT} characters")
    if len(_LINK.findall(config.html or "")) > MANY_LINKS:
        yield _finding(f"{where}.html", f"has more than {MANY_LINKS} links")


def _unreachable(steps: Sequence[Step]) -> Iterator[Finding]:
    """Steps after an exit in the same list are never reached."""
    ended = False
    for step in steps:
        if ended:
            yield _finding(f"steps.{step.step_id}", "is never reached: an exit stands before it")
        yield from _unreachable(step.then)
        yield from _unreachable(step.else_)
        ended = ended or (step.kind is StepKind.EXIT and step.active and step.conditions is None)
