"""Business time is continued, scaled and never turned back; machine time is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine

from shared.clock import (
    Anchor,
    ClockError,
    ManualClock,
    ScaledClock,
    SystemClock,
    load_clock,
    touch_anchor,
    write_anchor,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_a_home_without_a_clock_runs_on_the_systems(tmp_path: Path) -> None:
    clock = load_clock(tmp_path)
    assert isinstance(clock, SystemClock)
    touch_anchor(tmp_path, clock)
    assert not list(tmp_path.iterdir())


def test_a_scaled_clock_runs_business_time_faster_and_the_wall_not(tmp_path: Path) -> None:
    with time_machine.travel(NOON, tick=False) as traveller:
        write_anchor(tmp_path, speed=60)
        clock = load_clock(tmp_path)
        traveller.shift(timedelta(seconds=10))
        assert clock.now() == NOON + timedelta(minutes=10)
        assert clock.wall() == NOON + timedelta(seconds=10)
    assert clock.to_wall_seconds(timedelta(minutes=1)) == 1
    assert clock.to_wall_seconds(timedelta(minutes=-1)) == 0


def test_the_next_run_continues_after_the_last_touch_whatever_the_wall_says(tmp_path: Path) -> None:
    with time_machine.travel(NOON, tick=False) as traveller:
        write_anchor(tmp_path, speed=3600)
        first = load_clock(tmp_path)
        traveller.shift(timedelta(seconds=5))
        touch_anchor(tmp_path, first)
        seen = first.now()
        traveller.shift(timedelta(hours=1))  # switched off: business time stands still
        write_anchor(tmp_path, speed=60)
        assert load_clock(tmp_path).now() == seen == NOON + timedelta(hours=5)
        write_anchor(tmp_path, speed=1, business=NOON)  # asked to go back
        assert load_clock(tmp_path).now() == seen


def test_a_touch_changes_no_clock(tmp_path: Path) -> None:
    with time_machine.travel(NOON, tick=False) as traveller:
        write_anchor(tmp_path, speed=100)
        early = load_clock(tmp_path)
        traveller.shift(timedelta(seconds=7))
        touch_anchor(tmp_path, early)
        late = load_clock(tmp_path)
        traveller.shift(timedelta(seconds=7))
        assert early.now() == late.now()


@pytest.mark.parametrize("clock", [SystemClock(), ScaledClock(Anchor(NOON, NOON, 10.0))])
def test_business_time_stands_still_while_the_systems_clock_is_behind(clock: SystemClock | ScaledClock) -> None:
    with time_machine.travel(NOON + timedelta(hours=1), tick=False) as traveller:
        latest = clock.now()
        traveller.shift(timedelta(minutes=-30))
        assert clock.now() == latest


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"business": "x", "wall": "y", "speed": 1}',
        '{"business": "2026-01-01T00:00:00", "wall": "2026-01-01T00:00:00", "speed": 1}',
    ],
)
def test_a_broken_clock_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "clock.json").write_text(content)
    with pytest.raises(ClockError, match=r"clock\.json"):
        load_clock(tmp_path)


@pytest.mark.parametrize("speed", [0, -1, float("nan"), 1e6])
def test_a_speed_that_makes_no_sense_is_refused(tmp_path: Path, speed: float) -> None:
    with pytest.raises(ClockError, match="speed"):
        write_anchor(tmp_path, speed=speed)


def test_a_manual_clock_moves_all_hands_and_never_back() -> None:
    clock = ManualClock(NOON, speed=60)
    clock.advance(timedelta(hours=1))
    assert clock.now() == NOON + timedelta(hours=1)
    assert clock.monotonic() == 60
    assert clock.wall() == NOON + timedelta(minutes=1)
    with pytest.raises(ClockError, match="backwards"):
        clock.set(NOON)
