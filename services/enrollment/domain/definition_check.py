"""Does a definition make sense as a whole? Errors refuse it; warnings are only told. Each names the step and the
field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from services.enrollment.domain import content_check
from services.enrollment.domain.at_once import NOBODY_NAMED
from services.enrollment.domain.attachments import wrong_attachments
from services.enrollment.domain.condition_check import check_condition, doubtful_fields, nodes
from services.enrollment.domain.content_check import ContentFacts, Finding, finding
from services.enrollment.domain.flow import compile_version
from services.enrollment.domain.lead_values import is_known
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.reach import missing_sender
from services.enrollment.domain.snippets import Snippet, faults
from services.enrollment.domain.windows import UTC_ZONE, Hours, days_off, hours_of, next_open, zone_named
from shared.events.definition import (
    AppointmentConfig,
    Condition,
    ConditionConfig,
    Delay,
    SequenceDefinition,
    SequenceSettings,
    Step,
    Window,
    texts_of,
    walk,
)
from shared.events.kinds import Channel, FieldConfig, NotificationConfig, StepKind
from shared.events.outline import delay_minutes
from shared.ids import derived_id

__all__ = [
    "ContentFacts",
    "Finding",
    "Judgement",
    "judge",
    "not_set_up",
    "validate",
    "without_sender",
    "wrong_snippets",
]

#: Where the search for an hour in which all windows are open begins.
SOME_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
#: Arms within arms: what is deeper nobody can read, and a database would not keep it.
DEEPEST_ARMS = 30
#: Two years: a delay beyond it is a slip of the keyboard.
LONGEST_DELAY_MINUTES = 2 * 366 * 1_440
#: A quarter of a year: nobody remembers what the message before it said.
LONG_DELAY_MINUTES = 92 * 1_440
_NOT_PUBLISHED = derived_id("definition", "check")


def validate(
    definition: SequenceDefinition, facts: Mapping[str, ContentFacts] | None = None
) -> tuple[list[Finding], list[Finding]]:
    """Errors and warnings as ``{"field", "problem"}``; ``facts`` by step id."""
    steps = walk(definition.steps)
    errors = [*_settings(definition.settings), *_ids(steps), *_trigger(definition)]
    warnings: list[Finding] = []
    known = {step.step_id for step in steps}
    for step in steps:
        errors += _delay(step)
        errors += _condition(step, known)
        errors += content_check.errors(step, (facts or {}).get(step.step_id, content_check.NO_FACTS))
        warnings += content_check.advice(step)
        warnings += _long_delay(step)
    warnings += _doubtful_fields(definition)
    errors += _order(definition.steps)
    goal = definition.settings.stop_rule("goal")
    errors += _unreachable(definition.steps, goal_ends=goal is not None and goal.do == "exit")
    errors += _depth(definition.steps)
    _at_once(definition.steps, warnings)
    return errors, warnings


class Judgement(NamedTuple):
    """What forbids saving a definition, what is only unwise, and what forbids publishing it besides."""

    errors: list[Finding]
    warnings: list[Finding]
    unready: list[Finding]


def judge(
    definition: SequenceDefinition,
    facts: Mapping[str, ContentFacts] | None,
    organization: Organization | None,
    serves: Callable[[str], bool],
) -> Judgement:
    """All that is to be said of a definition in this organization, whether it is saved or only asked about."""
    errors, warnings = validate(definition, facts)
    errors += wrong_snippets(definition, organization.snippets if organization is not None else {})
    errors += wrong_attachments(definition, organization.attachments if organization is not None else {})
    warnings += _unknown_members(definition, organization)
    return Judgement(errors, warnings, [*without_sender(definition, organization), *not_set_up(definition, serves)])


def _unknown_members(definition: SequenceDefinition, organization: Organization | None) -> Iterator[Finding]:
    """Where somebody is named who is no active member now: a task would be left to the lead's owner, a notification
    would reach everybody, a lead would get no owner.
    """
    members = organization.members.values() if organization is not None else ()
    known = {str(member.member_id) for member in members if member.active}
    for place, named in _named_members(definition):
        if named not in known:
            yield finding(place, "is no active member's id")


def _named_members(definition: SequenceDefinition) -> Iterator[tuple[str, str]]:
    if definition.owner is not None:
        yield "owner", definition.owner
    for step in walk(definition.steps):
        where, config = f"steps.{step.step_id}.config", step.config
        if isinstance(config, NotificationConfig):
            if config.to not in NOBODY_NAMED:
                yield f"{where}.to", config.to
        elif isinstance(config, FieldConfig):
            if config.owner is not None:
                yield f"{where}.owner", str(config.owner)
        elif (assignee := getattr(config, "assignee", None)) is not None:
            yield f"{where}.assignee", assignee


def without_sender(definition: SequenceDefinition, organization: Organization | None) -> list[Finding]:
    """Message steps for which the organization has no active sender."""
    nodes = compile_version(_NOT_PUBLISHED, 1, definition).nodes
    missing = {step_id: missing_sender(organization, node) for step_id, node in nodes.items()}
    return [
        finding(
            f"steps.{step_id}.config.sender", f"the organization has no active sender {sender}: add it under senders"
        )
        for step_id, sender in missing.items()
        if sender is not None
    ]


def wrong_snippets(definition: SequenceDefinition, known: Mapping[str, Snippet]) -> list[Finding]:
    """Snippets that do not exist, and those that stand where none may: only what is sent can hold them."""
    return [
        finding(f"steps.{step.step_id}.{place}", fault)
        for step in walk(definition.steps)
        for place, text in texts_of(step).items()
        for fault in faults(text, known, allowed=getattr(step.config, "channel", None) is not None)
    ]


def not_set_up(definition: SequenceDefinition, serves: Callable[[str], bool]) -> list[Finding]:
    """Message steps whose channel nobody serves."""
    nodes = compile_version(_NOT_PUBLISHED, 1, definition).nodes
    return [
        finding(f"steps.{step_id}.config.channel", f"channel {node.channel} is not set up")
        for step_id, node in nodes.items()
        if node.channel is not None and node.step.active and not serves(node.channel)
    ]


# --- settings and trigger ---------------------------------------------------------------------------------------------


def _settings(settings: SequenceSettings) -> Iterator[Finding]:
    if settings.timezone not in {"lead", "organization"} and zone_named(settings.timezone) is None:
        yield finding("settings.timezone", "must be lead, organization or a name of the tz database")
    if settings.windows and not any(window.days for window in settings.windows):
        yield finding("settings.windows", "must name at least one day")
    elif (
        settings.windows
        and settings.skip_weekends
        and all(set(window.days) <= {"sat", "sun"} for window in settings.windows)
    ):
        yield finding("settings.windows", "lie on weekends, which are skipped")
    for channel, windows in settings.channel_windows.items():
        yield from _channel_windows(settings, channel, windows)
    if settings.holidays is not None and not days_off(settings.holidays, 2026):
        yield finding("settings.holidays", "must be a country such as DE, or a part of one such as DE-BY")


def _channel_windows(settings: SequenceSettings, channel: Channel, windows: Sequence[Window]) -> Iterator[Finding]:
    where = f"settings.channel_windows.{channel.value}"
    if not any(window.days for window in windows):
        yield finding(where, "must name at least one day")
    elif next_open(SOME_MOMENT, [(Hours(windows), UTC_ZONE), (hours_of(settings) or Hours([]), UTC_ZONE)]) is None:
        yield finding(where, "and settings.windows are never open together: a message must be inside both")


def _trigger(definition: SequenceDefinition) -> Iterator[Finding]:
    score = definition.trigger.score
    if score is not None and score.min is not None and score.max is not None and score.min > score.max:
        yield finding("trigger.score", "min must not be above max")
    if definition.trigger.any_funnel and definition.trigger.funnels:
        yield finding("trigger.any_funnel", "goes with no funnels: name some, or take leads of any")
    if "score_reached" in definition.trigger.on and (score is None or (score.min is None and score.max is None)):
        yield finding("trigger.score", "is required for score_reached")
    if definition.trigger.conditions is not None:
        yield from check_condition(definition.trigger.conditions, "trigger.conditions", None)


# --- steps, one by one ------------------------------------------------------------------------------------------------


def _ids(steps: Sequence[Step]) -> Iterator[Finding]:
    for step_id, count in Counter(step.step_id for step in steps).items():
        if count > 1:
            yield finding(f"steps.{step_id}.step_id", f"is used by {count} steps")


def _delay(step: Step) -> Iterator[Finding]:
    yield from _wrong_delay(f"steps.{step.step_id}.delay", step.delay)
    if isinstance(step.config, AppointmentConfig):
        yield from _wrong_delay(f"steps.{step.step_id}.config.start", step.config.start)


def _wrong_delay(where: str, delay: Delay) -> Iterator[Finding]:
    if delay.from_ == "field" and not delay.field:
        yield finding(f"{where}.field", "must name the field that the delay counts from")
    if delay.from_ == "field" and delay.field and is_known(delay.field):
        yield finding(f"{where}.field", f"{delay.field} holds no date: name a custom field")
    if abs(_minutes(delay)) > LONGEST_DELAY_MINUTES:
        yield finding(f"{where}.amount", "is longer than two years")


def _long_delay(step: Step) -> Iterator[Finding]:
    if LONG_DELAY_MINUTES < abs(_minutes(step.delay)) <= LONGEST_DELAY_MINUTES:
        yield finding(f"steps.{step.step_id}.delay.amount", "is longer than three months")


def _minutes(delay: Delay) -> float:
    return delay_minutes(delay.model_dump())


def _condition(step: Step, known: Collection[str]) -> Iterator[Finding]:
    for where, condition in _conditions(step):
        yield from check_condition(condition, where, known)
    if step.kind is StepKind.CONDITION and not step.then and not step.else_:
        yield finding(f"steps.{step.step_id}.then", "a condition needs a step in one of its arms")


def _conditions(step: Step) -> Iterator[tuple[str, Condition]]:
    """A step's conditions with the place each stands in."""
    if step.conditions is not None:
        yield f"steps.{step.step_id}.conditions", step.conditions
    if isinstance(step.config, ConditionConfig):
        yield f"steps.{step.step_id}.config.when", step.config.when


def _doubtful_fields(definition: SequenceDefinition) -> Iterator[Finding]:
    if definition.trigger.conditions is not None:
        yield from doubtful_fields(definition.trigger.conditions, "trigger.conditions")
    for step in walk(definition.steps):
        for where, condition in _conditions(step):
            yield from doubtful_fields(condition, where)


# --- steps in their order ---------------------------------------------------------------------------------------------


def _order(steps: Sequence[Step]) -> Iterator[Finding]:
    """A condition can only test what was done before it, on the same way."""
    known = {step.step_id for step in walk(list(steps))}
    yield from _tests_earlier(steps, set(), known)


def _tests_earlier(steps: Sequence[Step], done: set[str], known: set[str]) -> Iterator[Finding]:
    """``done``: steps that can have been done when the first of these begins; grows by these."""
    for step in steps:
        for where, condition in _conditions(step):
            for place, tested in _tested_steps(condition, where):
                if tested in known and tested not in done:
                    yield finding(place, f"tests step {tested}, which is not done before it")
        before = done | {step.step_id}
        in_then, in_else = set(before), set(before)
        yield from _tests_earlier(step.then, in_then, known)
        yield from _tests_earlier(step.else_, in_else, known)
        done |= in_then | in_else


def _tested_steps(condition: Condition, where: str) -> Iterator[tuple[str, str]]:
    """Each step that is tested, with the place in the tree that names it."""
    for node, place, _ in nodes(condition, where):
        if node.engagement is not None and node.engagement.step is not None:
            yield f"{place}.engagement.step", node.engagement.step


def _unreachable(steps: Sequence[Step], *, goal_ends: bool) -> Iterator[Finding]:
    """Steps after one at which every way ends. ``goal_ends``: who reaches a goal leaves."""
    ended = False
    for step in steps:
        if ended:
            yield finding(f"steps.{step.step_id}", "is never reached: every way ends before it")
        yield from _unreachable(step.then, goal_ends=goal_ends)
        yield from _unreachable(step.else_, goal_ends=goal_ends)
        ended = ended or _ends(step, goal_ends=goal_ends)


def _ends(step: Step, *, goal_ends: bool) -> bool:
    """Does nobody get past this step?"""
    if not step.active or step.conditions is not None:
        return False
    if step.kind is StepKind.EXIT or (goal_ends and step.kind is StepKind.GOAL):
        return True
    return all(any(_ends(each, goal_ends=goal_ends) for each in arm) for arm in (step.then, step.else_))


def _depth(steps: Sequence[Step], depth: int = 0) -> Iterator[Finding]:
    for step in steps:
        if depth > DEEPEST_ARMS:
            yield finding(f"steps.{step.step_id}", f"lies in more than {DEEPEST_ARMS} arms within each other")
            return
        yield from _depth(step.then, depth + 1)
        yield from _depth(step.else_, depth + 1)


def _at_once(steps: Sequence[Step], found: list[Finding], *, just_sent: bool = False) -> bool:
    """Finds messages without a wait after the message before them; tells whether the last of these steps was sent
    just now.
    """
    for step in steps:
        if not step.active:
            continue
        if step.delay.amount != 0 or step.delay.from_ != "previous" or step.delay.at is not None:
            just_sent = False
        if content_check.reaches_lead(step):
            if just_sent:
                found.append(finding(f"steps.{step.step_id}.delay", "is sent at once after the message before it"))
            just_sent = True
        elif step.kind is StepKind.EXIT:
            just_sent = False
        elif step.then or step.else_:
            after_then = _at_once(step.then, found, just_sent=just_sent)
            just_sent = _at_once(step.else_, found, just_sent=just_sent) or after_then
    return just_sent
