"""Waking who waits for new events."""

from __future__ import annotations

from threading import Condition


class Wakeup:
    """The highest position known to be committed, and those who wait for a higher one. Safe for any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._position = 0
        self._closed = False

    def signal(self, position: int) -> None:
        with self._changed:
            if position > self._position:
                self._position = position
                self._changed.notify_all()

    def wait_beyond(self, after: int, timeout_seconds: float) -> bool:
        """True as soon as there is a position above ``after``; False when the time is over or the store was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._position > after or self._closed, timeout_seconds)
            return self._position > after

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
