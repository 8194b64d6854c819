"""Where somebody who stands in one version of a sequence goes on in another: one rule for a move and its preview."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from services.enrollment.domain.flow import Version

NO_SUCH_STEP = "no_such_step"
REPEATS = "repeats"


class Standing(NamedTuple):
    """Where somebody stands in a version: at ``step_id``, or behind it once it is ``concluded`` (by ``arm``, for a
    condition). ``step_id`` is None before the first step. ``done`` holds the steps that took effect.
    """

    step_id: str | None
    concluded: bool = False
    arm: str | None = None
    done: frozenset[str] = frozenset()


class Place(NamedTuple):
    """Where one goes on in the new version; ``step_id`` None: nothing is left there. ``rule``: ``first_step``,
    ``same_step``, ``moved`` or ``after_step``. ``repeats``: the step was done before and is to be done again.
    """

    step_id: str | None
    rule: str
    repeats: bool = False


class NoPlace(NamedTuple):
    """Why one cannot move: ``no_such_step`` in the new version, or the move ``repeats`` what was done."""

    rule: str
    step_id: str


def place(
    old: Version, new: Version, standing: Standing, moves: Mapping[str, str], *, repeats: bool = False
) -> Place | NoPlace:
    """Where one goes on in ``new``: where a move leads, else at the same step, else behind it."""
    at = standing.step_id
    if at is None:
        return Place(new.first, "first_step")
    target = moves.get(at)
    if target is not None and not (standing.concluded and target == at):
        if target not in new.nodes:
            return NoPlace(NO_SUCH_STEP, target)
        done = target in standing.done
        return NoPlace(REPEATS, target) if done and not repeats else Place(target, "moved", repeats=done)
    if at in new.nodes:
        if not standing.concluded:
            return Place(at, "same_step")
        follower = new.after(at, standing.arm)
        return Place(follower.step.step_id if follower is not None else None, "after_step")
    behind = old.after(at, standing.arm) if standing.concluded else None
    if behind is None:
        return NoPlace(NO_SUCH_STEP, at)
    return place(old, new, Standing(behind.step.step_id, done=standing.done), moves, repeats=repeats)


def wrong_moves(old: Version, new: Version, moves: Mapping[str, str], *, repeats: bool) -> list[dict[str, str]]:
    """Faults of a plan of moves, whoever it is for: unknown steps, and moves back to what comes before, which would
    lead round in a circle.
    """
    found = []
    for source, target in moves.items():
        if source not in old.nodes:
            problem = "is no step of the version that is left"
        elif target not in new.nodes:
            problem = f"leads to {target}, which is no step of the new version"
        elif not repeats and target in old.nodes and old.nodes[target].index < old.nodes[source].index:
            problem = f"leads back to {target}, which comes before it: say repeats to do it again"
        else:
            continue
        found.append({"field": f"moves.{source}", "problem": problem})
    return found
