"""Which sequence takes a lead: the best match by priority, then by how specific its trigger is. Every refusal has its
rule.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from services.enrollment.domain.conditions import evaluate
from services.enrollment.domain.flow import Version, first_message
from services.enrollment.domain.funnel import Funnel
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.planning import Scene
from services.enrollment.domain.reach import barrier
from services.enrollment.domain.work import Work
from services.enrollment.domain.world import CatalogueEntry, World
from shared.events.definition import ScoreRange, Trigger
from shared.events.why import Why

DUPLICATE = "duplicate"
#: Refusals of a sequence that say nothing any more once the lead's score has crossed its threshold.
BEFORE_A_CROSSING = frozenset({"occasion", "score", "threshold"})
Occasion = Literal["created", "score_reached"]


class Match(NamedTuple):
    """``best`` is None when no sequence takes the lead. ``refused`` holds the rule of each one not chosen, by
    sequence id.
    """

    best: CatalogueEntry | None
    why: Why
    refused: dict[str, Why]


def match(work: Work, lead: Lead, occasion: Occasion, *, score_before: int = 0) -> Match:
    """The best sequence of the catalogue for a lead. ``score_before`` matters for ``score_reached`` only."""
    refused: dict[str, Why] = {}
    fitting: list[tuple[int, int, str, CatalogueEntry]] = []
    for entry in work.world.catalogue(work.organization_id):
        trigger = entry.definition.trigger
        why = _unmet(work, lead, entry, occasion, score_before) or _barred(work, lead, entry)
        if why is not None:
            refused[str(entry.sequence_id)] = why
        else:
            fitting.append((-trigger.priority, -specificity(entry), str(entry.sequence_id), entry))
    if not fitting:
        return Match(None, Why(rule="no_match", inputs={"on": occasion, "looked_at": len(refused)}), refused)
    fitting.sort(key=lambda each: each[:3])
    best = fitting[0][3]
    for negative_priority, negative_specificity, sequence_id, _ in fitting[1:]:
        inputs = {"priority": -negative_priority, "specificity": -negative_specificity, "chosen": fitting[0][2]}
        refused[sequence_id] = Why(rule="better_match", inputs=inputs)
    why = Why(
        rule="best_match",
        inputs={
            "on": occasion,
            "priority": -fitting[0][0],
            "specificity": -fitting[0][1],
            "looked_at": len(refused) + 1,
        },
    )
    return Match(best, why, refused)


def unmet(world: World, lead: Lead, entry: CatalogueEntry, occasion: Occasion, score_before: int = 0) -> Why | None:
    """What a sequence's trigger says against a lead; None when it takes it. Nothing is decided by this."""
    return _unmet(Work(world, lead.organization_id), lead, entry, occasion, score_before)


def crossed(work: Work, lead: Lead, score_before: int) -> list[str]:
    """Sequences whose range of scores the lead has just come into, whatever else they ask for: their ids."""
    found = []
    for entry in work.world.catalogue(work.organization_id):
        trigger = entry.definition.trigger
        if trigger.score is None or trigger.start == "manual" or "score_reached" not in trigger.on:
            continue
        if _within(trigger.score, lead.score) and _crosses(trigger, score_before):
            found.append(str(entry.sequence_id))
    return found


def fallback_of(work: Work, lead: Lead, funnel: Funnel, unmatched: Match) -> Match:
    """The funnel's sequence for leads that no other takes, unless the lead cannot go there either."""
    entry = next((e for e in work.world.catalogue(work.organization_id) if e.sequence_id == funnel.fallback), None)
    if entry is None:
        return unmatched
    refused = dict(unmatched.refused)
    why = _barred(work, lead, entry)
    refused.pop(str(entry.sequence_id), None)
    if why is not None:
        refused[str(entry.sequence_id)] = why
        return unmatched._replace(refused=refused)
    return Match(entry, Why(rule="fallback", inputs={"funnel": funnel.funnel_id, **unmatched.why.inputs}), refused)


def specificity(entry: CatalogueEntry) -> int:
    """How many kinds of criteria narrow a sequence."""
    trigger = entry.definition.trigger
    lists = (entry.funnels, trigger.sources, trigger.statuses, trigger.temperatures, trigger.tags)
    named = sum(1 for each in lists if each) + (1 if trigger.score is not None else 0)
    return named + (1 if trigger.conditions is not None else 0)


def _unmet(work: Work, lead: Lead, entry: CatalogueEntry, occasion: Occasion, score_before: int) -> Why | None:
    return _off(entry, lead, occasion, score_before) or _own_conditions(work, lead, entry)


def _off(entry: CatalogueEntry, lead: Lead, occasion: Occasion, score_before: int) -> Why | None:
    """The first criterion that the lead does not meet."""
    trigger = entry.definition.trigger
    if trigger.start == "manual":
        return Why(rule="manual")
    if occasion not in trigger.on:
        return Why(rule="occasion", inputs={"on": occasion})
    if (why := _wrong_funnel(entry, lead)) is not None:
        return why
    if trigger.score is not None and not _within(trigger.score, lead.score):
        low, high = trigger.score.min, trigger.score.max
        return Why(rule="score", inputs={"score": lead.score, "min": low, "max": high})
    if occasion == "score_reached" and not _crosses(trigger, score_before):
        return Why(rule="threshold", inputs={"before": score_before, "after": lead.score})
    for rule, wanted, value in (
        ("source", trigger.sources, lead.source),
        ("status", trigger.statuses, lead.status),
        ("temperature", trigger.temperatures, lead.temperature),
    ):
        if wanted and value not in wanted:
            return Why(rule=rule, inputs={"value": value, "wanted": wanted})
    if trigger.tags and not lead.tags & set(trigger.tags):
        return Why(rule="tag", inputs={"wanted": trigger.tags})
    return None


def _wrong_funnel(entry: CatalogueEntry, lead: Lead) -> Why | None:
    """The lead came through none of its funnels, or it has lost them all."""
    if entry.funnels:
        return None if lead.funnels & entry.funnels else Why(rule="funnel", inputs={"wanted": sorted(entry.funnels)})
    lost = entry.narrowed and not entry.definition.trigger.any_funnel
    return Why(rule="no_funnel") if lost else None


def _own_conditions(work: Work, lead: Lead, entry: CatalogueEntry) -> Why | None:
    """What the trigger's condition tree says against the lead; None when there is none or it holds."""
    if entry.definition.trigger.conditions is None:
        return None
    version = work.world.version(entry.sequence_id, entry.version)
    if version is None or version.trigger is None:
        return None
    verdict = evaluate(version.trigger, Scene(work, version, lead), None)
    return None if verdict.holds else Why(rule="condition", inputs=verdict.inputs)


def _crosses(trigger: Trigger, score_before: int) -> bool:
    """Was the lead outside the range before? Without a range nothing can be crossed."""
    return trigger.score is not None and not _within(trigger.score, score_before)


def _within(wanted: ScoreRange, score: int) -> bool:
    """Both ends belong to the range."""
    return (wanted.min is None or score >= wanted.min) and (wanted.max is None or score <= wanted.max)


def _barred(work: Work, lead: Lead, entry: CatalogueEntry) -> Why | None:
    """What keeps a lead out that the trigger would take. A lead that is inside already is not kept out: it stays in
    its best match.
    """
    version = work.world.version(entry.sequence_id, entry.version)
    if version is None:
        return None
    inside = any(each.ended_at is None for each in lead.memberships(entry.sequence_id))
    return first_barrier(work, lead, version) or (None if inside else crowded(work, lead, version))


def first_barrier(work: Work, lead: Lead, version: Version) -> Why | None:
    """What keeps the sequence's first message from the lead; None when it can be reached or no message is sure to
    come.
    """
    node = first_message(version)
    if node is None or node.channel is None:
        return None
    return barrier(work, lead, node.channel, version.sequence_id)


def already_in(work: Work, lead: Lead, version: Version) -> Why | None:
    """Duplicates are refused; who has been in before comes in again only by the sequence's rule."""
    past = lead.memberships(version.sequence_id)
    if not past:
        return None
    if any(each.ended_at is None for each in past):
        return Why(rule=DUPLICATE)
    rule = version.settings.reenroll
    ended = max(each.ended_at for each in past if each.ended_at is not None)
    inputs = {"times": len(past), "ended_at": ended.isoformat()}
    if rule is None:
        return Why(rule="reenroll", inputs=inputs)
    if rule.at_most is not None and len(past) > rule.at_most:
        return Why(rule="reenroll", inputs={**inputs, "at_most": rule.at_most})
    free_at = ended + timedelta(days=rule.after_days)
    if free_at <= work.now:
        return None
    return Why(rule="reenroll", inputs={**inputs, "not_before": free_at.isoformat(), "after_days": rule.after_days})


def crowded(work: Work, lead: Lead, version: Version) -> Why | None:
    """How many sequences a lead may be in at once: the organization's number, and sequences that are exclusive,
    altogether or within a group.
    """
    inside = [each for each in lead.enrollments.values() if each.ended_at is None]
    if not inside:
        return None
    organization = work.find_organization()
    most = organization.max_open_enrollments if organization is not None else 0
    if most and len(inside) >= most:
        return Why(rule="max_open_enrollments", inputs={"open": len(inside), "most": most})
    mine = version.settings.exclusive
    for each in inside:
        other = work.world.version(each.sequence_id, each.version)
        theirs = other.settings.exclusive if other is not None else False
        if True in (mine, theirs) or (mine and mine == theirs):
            return Why(rule="exclusive", inputs={"sequence_id": str(each.sequence_id), "group": mine or theirs})
    return None


def nth(lead: Lead, sequence_id: UUID) -> int:
    """The number, from 1, of the lead's next enrollment in a sequence."""
    return len(lead.memberships(sequence_id)) + 1
