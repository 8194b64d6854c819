"""The two hands of time. Business time may be scaled for a demo; machine time never is.

Delays, windows and quotas ask `now()`; leases, watchdogs and timeouts ask `wall()` or `monotonic()`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

CLOCK_FILE = "clock.json"


class ClockError(Exception):
    """The stored clock cannot be used."""


class Clock(Protocol):
    """What the time is. All moments are UTC-aware."""

    @property
    def speed(self) -> float:
        """Business seconds in a second of the wall; 1.0 is real time."""

    def now(self) -> datetime:
        """Business time; never goes back within a process."""

    def wall(self) -> datetime:
        """Machine time as the system tells it; may jump when the system's clock is set."""

    def monotonic(self) -> float:
        """Machine seconds from an arbitrary start; for measuring durations."""

    def to_wall_seconds(self, business: timedelta) -> float:
        """How long this much business time takes; negative input gives 0."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """At this moment of the wall it was this business time, running at `speed`. Both are UTC-aware."""

    business: datetime
    wall: datetime
    speed: float

    def __post_init__(self) -> None:
        if not 0 < self.speed < 1_000_000:
            raise ClockError(f"speed must be above 0 and below 1,000,000, got {self.speed}")

    def at(self, wall: datetime) -> datetime:
        """Business time at a moment of the wall; the anchor's own business time for any earlier moment."""
        return self.business + max(wall - self.wall, timedelta()) * self.speed


class _Machine:
    """Machine time and the guard that keeps business time from running backwards."""

    def __init__(self) -> None:
        self._latest = datetime.min.replace(tzinfo=UTC)

    def wall(self) -> datetime:
        """The system's time."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""
        return time.monotonic()

    def _forward(self, moment: datetime) -> datetime:
        self._latest = max(self._latest, moment)
        return self._latest


class SystemClock(_Machine):
    """Business time is the wall's time."""

    speed = 1.0

    def now(self) -> datetime:
        """The wall's time, held still while the system's clock is behind what was already told."""
        return self._forward(self.wall())

    def to_wall_seconds(self, business: timedelta) -> float:
        """The same number of seconds."""
        return max(business.total_seconds(), 0.0)


class ScaledClock(_Machine):
    """Business time runs from an anchor at the anchor's speed."""

    def __init__(self, anchor: Anchor) -> None:
        super().__init__()
        self.anchor = anchor

    @property
    def speed(self) -> float:
        """Business seconds in a second of the wall."""
        return self.anchor.speed

    def now(self) -> datetime:
        """Business time by the anchor; every process with the same anchor tells the same."""
        return self._forward(self.anchor.at(self.wall()))

    def to_wall_seconds(self, business: timedelta) -> float:
        """Divided by the speed."""
        return max(business.total_seconds(), 0.0) / self.anchor.speed


class ManualClock:
    """For tests and simulations: stands still until it is moved, and moves all hands together."""

    def __init__(self, at: datetime | None = None, speed: float = 1.0) -> None:
        self._now = at or datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
        self._wall = self._now
        self._monotonic = 0.0
        self.speed = speed

    def now(self) -> datetime:
        """Where it was put."""
        return self._now

    def wall(self) -> datetime:
        """The start, and what has passed since, at the speed."""
        return self._wall

    def monotonic(self) -> float:
        """Machine seconds moved since it was made."""
        return self._monotonic

    def to_wall_seconds(self, business: timedelta) -> float:
        """Divided by the speed."""
        return max(business.total_seconds(), 0.0) / self.speed

    def advance(self, business: timedelta) -> None:
        """Move business time on. Raises ClockError for a negative amount."""
        if business < timedelta():
            raise ClockError(f"business time never runs backwards, asked to move by {business}")
        self._now += business
        self._wall += business / self.speed
        self._monotonic += business.total_seconds() / self.speed

    def set(self, at: datetime) -> None:
        """Move business time on to this moment. Raises ClockError when it lies in the past."""
        self.advance(at - self._now)


def load_clock(home: Path) -> Clock:
    """The clock of everything that runs on this home: the stored, scaled one, else the system's.

    Raises ClockError when the stored anchor cannot be read.
    """
    stored = _read(home)
    return SystemClock() if stored is None else ScaledClock(stored)


def write_anchor(home: Path, *, speed: float, business: datetime | None = None, wall: datetime | None = None) -> Anchor:
    """Set the speed of a home and make business time go on where the last run left it.

    `business` asks for a start; it is taken only where it lies ahead of what was already seen. Without it a first run
    starts at the wall's time. The anchor is on disk when this returns.
    """
    wall = wall or datetime.now(UTC)
    stored = _read(home)
    moments = [moment for moment in (business, stored.business if stored else None) if moment is not None]
    anchor = Anchor(business=max(moments, default=wall), wall=wall, speed=speed)
    _write(home, anchor)
    return anchor


def touch_anchor(home: Path, clock: Clock) -> None:
    """Record how far business time has come, so that the next run continues from there even after a crash.

    The anchor moves along its own line: clocks loaded before tell the same time as those loaded after. A home
    without a scaled clock is left alone.
    """
    if not isinstance(clock, ScaledClock):
        return
    wall = clock.wall()
    anchor = clock.anchor
    if wall > anchor.wall:
        _write(home, Anchor(business=anchor.at(wall), wall=wall, speed=anchor.speed))


def _read(home: Path) -> Anchor | None:
    path = home / CLOCK_FILE
    try:
        fields = json.loads(path.read_bytes())
        anchor = Anchor(
            business=datetime.fromisoformat(fields["business"]),
            wall=datetime.fromisoformat(fields["wall"]),
            speed=float(fields["speed"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ClockError(f"{path} holds no clock: {error!r}") from error
    if anchor.business.tzinfo is None or anchor.wall.tzinfo is None:
        raise ClockError(f"{path} holds a moment without a zone")
    return anchor


def _write(home: Path, anchor: Anchor) -> None:
    """Replace the file whole: a crash leaves the old anchor or the new one."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / CLOCK_FILE
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    text = json.dumps({"business": anchor.business.isoformat(), "wall": anchor.wall.isoformat(), "speed": anchor.speed})
    try:
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
