"""Targets: the generations of views that are written, and what a batch does to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.projector.event import Event
from services.projector.ops import Ops
from services.projector.views import View
from shared.persistence.views import collection_name, target_key


@dataclass(frozen=True, slots=True)
class Target:
    """One generation of one view."""

    view: View
    generation: int

    @property
    def key(self) -> str:
        """Its name in checkpoints: ``leads:1``."""
        return target_key(self.view.name, self.generation)

    @property
    def collection(self) -> str:
        """Its collection: ``leads.g1``."""
        return collection_name(self.view.name, self.generation)


@dataclass(slots=True)
class Checkpoint:
    """What this process believes about a partition it owns.

    ``head`` is the position up to which the feed has been taken in; targets in step stand there too. ``positions`` is
    by target key (a
    missing one stands at 0), ``broken`` names the targets set aside. ``epoch`` is the lease's: together they are the
    fence.
    """

    partition: int
    epoch: int
    head: int
    positions: dict[str, int] = field(default_factory=dict)
    broken: dict[str, dict[str, Any]] = field(default_factory=dict)

    def position(self, target: Target) -> int:
        """How far a target has come."""
        return self.positions.get(target.key, 0)

    def in_step(self, target: Target) -> bool:
        """Whether the feed's next events go to this target."""
        return self.position(target) == self.head and target.key not in self.broken

    def behind(self, target: Target) -> bool:
        """Whether the target is still being built here."""
        return self.position(target) < self.head and target.key not in self.broken


@dataclass(slots=True)
class TargetWork:
    """Events for one target of a partition; ``after`` is where it will stand."""

    target: Target
    after: int
    events: Sequence[Event]


@dataclass(slots=True)
class PartitionWork:
    """What one transaction does in one partition. ``head`` is where the partition will stand (unchanged when only
    building).
    """

    checkpoint: Checkpoint
    head: int
    items: list[TargetWork]
    events: Sequence[Event] = ()  #: new to the partition: these are announced
    set_aside: dict[str, dict[str, Any]] = field(default_factory=dict)  #: targets found broken by this work


@dataclass(slots=True)
class Applied:
    """Orders for a target from all partitions of a batch."""

    target: Target
    parts: list[Ops] = field(default_factory=list)


def live_work(checkpoint: Checkpoint, targets: Iterable[Target], events: Sequence[Event], head: int) -> PartitionWork:
    """The next events of the feed, for every target that is in step."""
    items = [TargetWork(target, head, events) for target in targets if checkpoint.in_step(target)]
    return PartitionWork(checkpoint, head, items, events)


def building_work(
    checkpoint: Checkpoint, targets: Iterable[Target], events: Sequence[Event], after: int, looked_at: int
) -> PartitionWork | None:
    """A page of the log for the targets still being built; none passes the head, so that it joins the feed exactly
    there.
    """
    until = min(looked_at, checkpoint.head)
    items = []
    for target in targets:
        position = checkpoint.position(target)
        # One that stands below the page's beginning was not there yet when the page was asked for.
        if checkpoint.behind(target) and after <= position < until:
            items.append(TargetWork(target, until, [event for event in events if position < event.position <= until]))
    return PartitionWork(checkpoint, checkpoint.head, items) if items else None
