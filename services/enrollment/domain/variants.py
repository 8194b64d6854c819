"""Which variant of a message a lead gets, what is counted for the next draw, and when one of them has won.

A draw depends on the enrollment, the step and the counts at that moment, and goes into the event with all of them: it
is never made again. Counts are kept per content, so that a variant that says something else starts anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from math import sqrt
from typing import NamedTuple
from uuid import UUID

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.flow import Arm, Node
from services.enrollment.domain.sequence import Winner
from services.enrollment.domain.work import Work
from shared.beta import Shape, chances, deviation, mean, sample, shape
from shared.events.sequence import VariantWon
from shared.events.variants import HITS, Selection, WinnerRule
from shared.events.why import Why

#: Below this many standard deviations between the two best, the probability of the best is far from every winner rule
#: and not worth computing; at it, it is 0.84.
WORTH_A_LOOK = 1.0


class Drawn(NamedTuple):
    """``number`` is what was drawn, None when nothing was."""

    arm: Arm
    why: Why
    number: float | None = None


def draw(work: Work, state: Enrollment, node: Node) -> Drawn | None:
    """The variant that the enrollment gets of a step; None for a step without variants.

    A later attempt and a repeated step keep the first one. What has won, and is to be used, comes before everything
    else.
    """
    if not node.arms:
        return None
    kept = _kept(state, node)
    if kept is not None:
        return Drawn(kept, Why(rule="variant_kept"))
    selection = node.step.selection
    rule = selection.winner
    needs_counts = selection.mode == "auto" or rule is not None
    counts = _counts(work, state, node) if needs_counts else {}
    winner = _winner(work, state, node, counts, rule) if rule is not None else None
    if winner is not None and winner.used:
        return Drawn(_arm(node, winner.variant), Why(rule="variant_winner", inputs={"variant": winner.variant}))
    seed = ("variant", state.organization_id, state.id, node.step.step_id)
    if selection.mode == "auto" and all(counts[arm.variant_id][0] >= selection.min_sent for arm in node.arms):
        return _by_what_is_known(work, node.arms, counts, selection, seed)
    return _by_weight(work, node.arms, seed)


def _kept(state: Enrollment, node: Node) -> Arm | None:
    """What an earlier execution of the same step was given, as long as there is such a variant."""
    for execution in reversed(list(state.executions.values())):
        if execution.step_id == node.step.step_id and execution.variant is not None:
            return next((arm for arm in node.arms if arm.variant_id == execution.variant), None)
    return None


def _by_weight(work: Work, arms: Sequence[Arm], seed: tuple[object, ...]) -> Drawn:
    number = work.world.draw(*seed)
    left = number * sum(arm.weight for arm in arms)
    weighted = [arm for arm in arms if arm.weight]
    chosen = weighted[-1]
    for arm in weighted:
        left -= arm.weight
        if left < 0:
            chosen = arm
            break
    return Drawn(chosen, Why(rule="variant_weight", inputs={arm.variant_id: arm.weight for arm in arms}), number)


def _by_what_is_known(
    work: Work,
    arms: Sequence[Arm],
    counts: Mapping[str, tuple[int, int]],
    selection: Selection,
    seed: tuple[object, ...],
) -> Drawn:
    """Thompson sampling: a share is drawn for each variant from what is known of it, and the highest one is taken."""
    draws = {
        arm.variant_id: sample(*_shape(counts[arm.variant_id]), _numbers(work, *seed, arm.variant_id)) for arm in arms
    }
    best = max(arms, key=lambda arm: draws[arm.variant_id])
    inputs = {"measure": selection.measure, **{name: list(pair) for name, pair in counts.items()}}
    return Drawn(best, Why(rule="variant_sampled", inputs=inputs), draws[best.variant_id])


def _numbers(work: Work, *seed: object) -> Iterator[float]:
    for nth in count():
        yield work.world.draw(*seed, nth)


def _shape(pair: tuple[int, int]) -> Shape:
    sent, hits = pair
    return shape(hits, sent)


def _arm(node: Node, variant_id: str) -> Arm:
    return next(arm for arm in node.arms if arm.variant_id == variant_id)


# --- counts -----------------------------------------------------------------------------------------------------------


#: What every kind of figures of variants begins with.
OF_VARIANTS = "variants:"


def kind_of(sequence_id: UUID, step_id: str) -> str:
    """Under which the counts of a step's variants are kept."""
    return f"{OF_VARIANTS}{sequence_id}:{step_id}"


def key_of(variant_id: str, content: str, figure: str) -> str:
    """``figure`` is ``sent``, ``opened``, ``clicked``, ``replied`` or ``conversions``."""
    return f"{variant_id}.{content}.{figure}"


def _counts(work: Work, state: Enrollment, node: Node) -> dict[str, tuple[int, int]]:
    """Sent and hits of every variant as it is now."""
    known = work.world.figures(state.organization_id, kind_of(state.sequence_id, node.step.step_id))
    hits = HITS[node.step.selection.measure]
    return {
        arm.variant_id: (
            known.get(key_of(arm.variant_id, arm.content, "sent"), 0),
            known.get(key_of(arm.variant_id, arm.content, hits), 0),
        )
        for arm in node.arms
    }


# --- the winner -------------------------------------------------------------------------------------------------------


def _winner(
    work: Work, state: Enrollment, node: Node, counts: Mapping[str, tuple[int, int]], rule: WinnerRule
) -> Winner | None:
    """The variant that has won already, or does now. One that won over other contents has won nothing here."""
    step_id = node.step.step_id
    contents = {arm.variant_id: arm.content for arm in node.arms}
    known = work.sequence(state.sequence_id).winners.get(step_id)
    if known is not None and known.contents == contents and known.measure == node.step.selection.measure:
        return known
    best = best_of(counts, rule)
    if best is None:
        return None
    variant, probability = best
    event = VariantWon(
        version=state.version,
        step_id=step_id,
        variant=variant,
        measure=node.step.selection.measure,
        probability=round(probability, 6),
        counts={name: list(pair) for name, pair in counts.items()},
        contents=contents,
        used=rule.act == "use",
    )
    work.record("sequence", state.sequence_id, event, None)
    return Winner(variant, event.measure, contents, event.used)


def best_of(counts: Mapping[str, tuple[int, int]], rule: WinnerRule) -> tuple[str, float] | None:
    """The variant that meets the rule, with its probability of being the best; None when none does."""
    if any(sent < rule.at_least for sent, _ in counts.values()):
        return None
    shapes = {variant: _shape(pair) for variant, pair in counts.items()}
    ranked = sorted(shapes, key=lambda variant: mean(*shapes[variant]), reverse=True)
    first, second = shapes[ranked[0]], shapes[ranked[1]]
    apart = mean(*first) - mean(*second)
    if apart < WORTH_A_LOOK * sqrt(deviation(*first) ** 2 + deviation(*second) ** 2) and rule.probability > 0.9:
        return None
    probability = chances(*shapes.values())[list(shapes).index(ranked[0])]
    return (ranked[0], probability) if probability >= rule.probability else None
