"""A bulk carried out by a clerk that is killed at each point between two instructions whose order matters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.enrollment.bulk_process import BULK, LEADS, UNDO, UNREACHABLE

pytestmark = pytest.mark.faults

PROGRAM = Path(__file__).with_name("bulk_process.py")
REACHED = LEADS - LEADS // UNREACHABLE


def run(home: Path, crash_at: str = "") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "TENDRIL_CRASH_AT": crash_at}
    return subprocess.run(
        [sys.executable, str(PROGRAM), str(home)], env=environment, capture_output=True, timeout=120, check=False
    )


def outcome(home: Path) -> dict[str, Any]:
    finished = run(home)
    assert finished.returncode == 0, finished.stderr.decode()[-2_000:]
    found: dict[str, Any] = orjson.loads(finished.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "point",
    ["bulk.before_chunk:2", "bulk.after_chunk:2", "bulk.after_progress:3", "bulk.after_chunk:5"],
)
def test_killed_at_any_point_a_bulk_reaches_every_lead_once_and_its_report_is_right(tmp_path: Path, point: str) -> None:
    assert run(tmp_path, point).returncode == -signal.SIGKILL
    found = outcome(tmp_path)
    topics = found["topics"]
    assert topics["enrollment.started.v1"] == REACHED
    assert topics["enrollment.exited.v1"] == REACHED
    [report], [undo] = found["reports"][str(BULK)], found["reports"][str(UNDO)]
    assert report == {
        "done": REACHED,
        "unchanged": 0,
        "refused": LEADS - REACHED,
        "reasons": {"unreachable": LEADS - REACHED},
    }
    assert undo == {"done": REACHED, "unchanged": LEADS - REACHED, "refused": 0, "reasons": {}}
