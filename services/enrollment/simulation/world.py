"""The world of a simulation: states put in place, and what the store knows around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from services.enrollment.domain.best_hour import OF_HOURS
from services.enrollment.domain.memory_world import MemoryWorld
from services.enrollment.domain.variants import OF_VARIANTS

#: Figures that a simulation goes on from; those of the brake count in it alone.
GONE_ON_FROM = (OF_VARIANTS, OF_HOURS)


def _no_suppression(organization_id: str, channel: str, address: str) -> str | None:
    del organization_id, channel, address
    return None


def _unused(organization_id: str, scope: str, slot: str) -> int:
    del organization_id, scope, slot
    return 0


def _no_figures(organization_id: str, kind: str) -> Mapping[str, int]:
    del organization_id, kind
    return {}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a simulation asks the store for: why an address is suppressed, how much of a quota slot is used already,
    what is counted of variants, and at which hours leads answer. The defaults know nothing.
    """

    suppression: Callable[[str, str, str], str | None] = _no_suppression
    quota_used: Callable[[str, str, str], int] = _unused
    figures: Callable[[str, str], Mapping[str, int]] = _no_figures
    active_sequences: int = 1  #: how many sequences of the organization share its limits


class SimulatedWorld(MemoryWorld):
    """See ``MemoryWorld``; what the simulation itself has suppressed or taken comes on top of its surroundings."""

    def __init__(self, now: datetime, *, seed: object = None, around: Surroundings | None = None) -> None:
        super().__init__(now, seed=seed)
        self._around = around or Surroundings()
        self._suppressed: dict[tuple[str, str, str], str | None] = {}
        self._known_figures: set[tuple[str, str]] = set()

    def suppression(self, organization_id: str, channel: str, address: str) -> str | None:
        if self.suppressions and (reason := super().suppression(organization_id, channel, address)) is not None:
            return reason
        key = (organization_id, channel, address)
        if key not in self._suppressed:
            self._suppressed[key] = self._around.suppression(*key)
        return self._suppressed[key]

    def quota_used(self, organization_id: str, scope: str, slot: str) -> int:
        key = (organization_id, scope, slot)
        used = self.quotas.get(key)
        if used is None:
            used = self.quotas[key] = self._around.quota_used(*key)
        return used

    def figures(self, organization_id: str, kind: str) -> Mapping[str, int]:
        if (organization_id, kind) not in self._known_figures and kind.startswith(GONE_ON_FROM):
            self._known_figures.add((organization_id, kind))
            own = self.counted.setdefault((organization_id, kind), {})
            for key, count in self._around.figures(organization_id, kind).items():
                own[key] = own.get(key, 0) + count
        return super().figures(organization_id, kind)

    def active_sequences(self, organization_id: str) -> int:
        return max(self._around.active_sequences, super().active_sequences(organization_id))

    def move_to(self, moment: datetime) -> None:
        """Time passes, by both clocks; it never goes back."""
        if moment > self.now:
            self.now = self.wall_now = moment
