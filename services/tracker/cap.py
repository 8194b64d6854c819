"""The cap: so many hits of one token in a minute go out one by one, the rest as a count at the minute's end.

It protects the log from a picture that is fetched a thousand times. Hits of machines are counted apart from those of
persons, so that they neither keep one back nor are taken for it. Each process has its own; the count of a minute is
kept in memory until the minute is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

HITS_PER_MINUTE = 20
WINDOW_SECONDS = 60.0


class Cap(Generic[T]):
    """Counts hits by key; ``T`` is whatever makes a signal of the latest one."""

    def __init__(self, monotonic: Callable[[], float], *, hits: int = HITS_PER_MINUTE) -> None:
        if hits < 1:
            raise ValueError(f"hits must be 1 or more, got {hits}")
        self._monotonic = monotonic
        self._hits = hits
        self._ends = monotonic() + WINDOW_SECONDS
        self._counts: dict[object, int] = {}
        self._latest: dict[object, T] = {}

    def admits(self, key: object, hit: T) -> bool:
        """Whether this hit goes out by itself. The minute is the process's, not the token's."""
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        if count <= self._hits:
            return True
        self._latest[key] = hit
        return False

    def collect(self, *, everything: bool = False) -> list[tuple[T, int]]:
        """At the end of a minute, or at once: for each key the latest of the hits held back, and their number."""
        if not everything and self._monotonic() < self._ends:
            return []
        rest = [(hit, self._counts[key] - self._hits) for key, hit in self._latest.items()]
        self._counts, self._latest = {}, {}
        self._ends = self._monotonic() + WINDOW_SECONDS
        return rest
