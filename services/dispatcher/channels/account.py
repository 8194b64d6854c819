"""One account with a provider: how fast it is used, and whether it is used at all.

The limiter only smooths what this process sends; limits are kept by the write side. So two processes with one account
each smooth their own share, and nothing is shared between them. The breaker too is each process's own judgement of a
line it sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Breaker:
    """Opens after ``failures`` faults in a row for ``open_seconds`` of machine time; then lets one try through at a
    time.
    """

    def __init__(self, monotonic: Callable[[], float], *, failures: int = 5, open_seconds: float = 30.0) -> None:
        if failures < 1:
            raise ValueError(f"failures must be 1 or more, got {failures}")
        self._monotonic = monotonic
        self._failures = failures
        self._open_seconds = open_seconds
        self._in_a_row = 0
        self._open_until = 0.0
        self._trying = False

    def open_for(self) -> float:
        """Seconds for which nothing may be tried; 0 when something may. A granted try must end in ``well``, ``fault``
        or ``unclear``.
        """
        if self._in_a_row < self._failures:
            return 0.0
        rest = self._open_until - self._monotonic()
        if rest > 0:
            return rest
        if self._trying:
            return 1.0
        self._trying = True
        return 0.0

    def well(self) -> None:
        """The line works."""
        self._in_a_row = 0
        self._trying = False

    def fault(self) -> None:
        """The line failed."""
        self._in_a_row += 1
        self._trying = False
        if self._in_a_row >= self._failures:
            self._open_until = self._monotonic() + self._open_seconds

    def unclear(self) -> None:
        """The try ended without saying anything about the line."""
        self._trying = False


class Limiter:
    """Spaces sends evenly: ``per_second`` of them, 0 = as fast as they come."""

    def __init__(self, monotonic: Callable[[], float], *, per_second: float = 0.0) -> None:
        if per_second < 0:
            raise ValueError(f"per_second must be 0 or more, got {per_second}")
        self._monotonic = monotonic
        self._interval = 1 / per_second if per_second else 0.0
        self._next = 0.0

    async def turn(self, patience_seconds: float) -> float:
        """Waits for a turn and answers 0; when that would take longer than the patience, answers at once with the
        seconds it would take.
        """
        if not self._interval:
            return 0.0
        now = self._monotonic()
        wait = max(self._next - now, 0.0)
        if wait > patience_seconds:
            return wait
        self._next = max(self._next, now) + self._interval
        await asyncio.sleep(wait)
        return 0.0
