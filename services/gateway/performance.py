"""From what the statistics have counted to the figures that the API shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.beta import chances, interval, mean, shape
from shared.events.definition import SequenceDefinition, Step, content_digest, walk
from shared.events.variants import HITS
from shared.persistence.field_names import original_name
from shared.persistence.figures import add_up

_STATS = (
    "enrolled",
    "completed",
    "exited",
    "sent",
    "delivered",
    "opened",
    "clicked",
    "replied",
    "bounced",
    "unsubscribed",
    "complained",
    "failed",
    "skipped",
    "in_doubt",
    "meetings",
    "conversions",
    "machine_opened",
    "machine_clicked",
)
#: Reasons for leaving that a sequence is made for.
SUCCESSES = frozenset({"replied", "meeting_booked", "converted", "goal"})
Counts = Mapping[str, int]
Tree = Mapping[str, Any]


def rate(part: int, whole: int) -> float:
    """A share, 0 to 1, with four places; 0 of nothing."""
    return round(min(part / whole, 1.0), 4) if whole > 0 else 0.0


def rates(figures: Counts) -> dict[str, float]:
    """Shares of what was sent; of bounces the share of what was handed over, whose receiver may refuse it at once."""
    sent = figures.get("sent", 0)
    signals = {"open": "opened", "click": "clicked", "reply": "replied"}
    signals |= {"unsubscribe": "unsubscribed", "complaint": "complained", "conversion": "conversions"}
    shares = {name: rate(figures.get(figure, 0), sent) for name, figure in signals.items()}
    return {**shares, "bounce": rate(figures.get("bounced", 0), sent + figures.get("bounced_unsent", 0))}


def counted(figures: Counts) -> dict[str, Any]:
    """Figures of anything that sends, with shares."""
    return {**{name: figures.get(name, 0) for name in _STATS}, "rates": rates(figures)}


def of_sequence(tree: Tree) -> dict[str, Any]:
    """A sequence's figures since the beginning. ``completion_rate`` is the share of the enrolled who did every step,
    ``success_rate`` of those who left because they replied, booked, converted or reached the goal.
    """
    figures, now, reasons = tree.get("n", {}), tree.get("now", {}), tree.get("reasons", {})
    enrolled, timed = figures.get("enrolled", 0), figures.get("timed", 0)
    return {
        **counted(figures),
        "pending": now.get("pending", 0),
        "active": now.get("active", 0),
        "paused": now.get("paused", 0),
        "exited_by_reason": {original_name(reason): count for reason, count in sorted(reasons.items())},
        "completion_rate": rate(figures.get("completed", 0), enrolled),
        "success_rate": rate(sum(count for reason, count in reasons.items() if reason in SUCCESSES), enrolled),
        "average_seconds_to_complete": figures.get("took_seconds", 0) // timed if timed else None,
    }


def of_senders(tree: Tree) -> list[dict[str, Any]]:
    """Figures by sender, the one who sent most first."""
    rows = [{"sender_id": original_name(name), **counted(figures)} for name, figures in tree.get("senders", {}).items()]
    return sorted(rows, key=lambda row: (-row["sent"], row["sender_id"]))


def of_steps(tree: Tree, order: Sequence[str]) -> list[dict[str, Any]]:
    """Figures by step in this order; steps that are not in it come last."""
    steps = tree.get("steps", {})
    known = [*order, *sorted(set(steps) - set(order))]
    return [{"step_id": step_id, **counted(steps.get(step_id, {}))} for step_id in known]


def of_variants(definition: SequenceDefinition, tree: Tree, winners: Tree) -> list[dict[str, Any]]:
    """A row for every step with variants, in reading order. What a variant said earlier is counted apart."""
    found = tree.get("variants", {})
    return [
        _step_variants(step, found.get(step.step_id, {}), winners.get(step.step_id))
        for step in walk(definition.steps)
        if step.variants
    ]


def _step_variants(step: Step, found: Tree, winner: Tree | None) -> dict[str, Any]:
    measure = step.selection.measure
    contents = {each.variant_id: content_digest(step.with_variant(each)) for each in step.variants}
    now = {name: found.get(name, {}).get(content, {}) for name, content in contents.items()}
    shapes = {name: shape(figures.get(HITS[measure], 0), figures.get("sent", 0)) for name, figures in now.items()}
    best = dict(zip(shapes, chances(*shapes.values()), strict=True))
    rows = []
    for variant in step.variants:
        name = variant.variant_id
        earlier: dict[str, int] = {}
        for content, figures in found.get(name, {}).items():
            if content != contents[name]:
                add_up(earlier, figures)
        low, high = interval(*shapes[name])
        rows.append(
            {
                "variant_id": name,
                "name": variant.name,
                "weight": variant.weight,
                **counted(now[name]),
                "share": round(mean(*shapes[name]), 4),
                "interval": [round(low, 4), round(high, 4)],
                "probability_best": round(best[name], 4),
                "earlier": counted(earlier) if earlier else None,
            }
        )
    stands = winner is not None and winner.get("contents") == contents and winner.get("measure") == measure
    return {
        "step_id": step.step_id,
        "name": step.name or step.step_id,
        "measure": measure,
        "selection": step.selection.model_dump(mode="json"),
        "winner": winner if stands else None,
        "variants": rows,
    }
