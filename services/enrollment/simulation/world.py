"""The world of a simulation: states put in place, and what the store knows around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from services.enrollment.domain.memory_world import MemoryWorld


def _no_suppression(organization_id: str, channel: str, address: str) -> str | None:
    del organization_id, channel, address
    return None


def _unused(organization_id: str, scope: str, slot: str) -> int:
    del organization_id, scope, slot
    return 0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a simulation asks the store for: why an address is suppressed, and how much of a quota slot is used
    already. The defaults know nothing.
    """

    suppression: Callable[[str, str, str], str | None] = _no_suppression
    quota_used: Callable[[str, str, str], int] = _unused
    active_sequences: int = 1  #: how many sequences of the organization share its limits


class SimulatedWorld(MemoryWorld):
    """See ``MemoryWorld``; what the simulation itself has suppressed or taken comes on top of its surroundings."""

    def __init__(self, now: datetime, *, seed: object = None, around: Surroundings | None = None) -> None:
        super().__init__(now, seed=seed)
        self._around = around or Surroundings()
        self._suppressed: dict[tuple[str, str, str], str | None] = {}

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

    def active_sequences(self, organization_id: str) -> int:
        return max(self._around.active_sequences, super().active_sequences(organization_id))

    def move_to(self, moment: datetime) -> None:
        """Time passes, by both clocks; it never goes back."""
        if moment > self.now:
            self.now = self.wall_now = moment
