"""Moves of those inside, ordered with the publishing itself: carried out once by a clerk that is killed at each point,
two publishings in a row one after the other, and a deletion that reaches nobody who came after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.enrollment.moving_process import LATER, LEADS

pytestmark = pytest.mark.faults

PROGRAM = Path(__file__).with_name("moving_process.py")


def run(home: Path, crash_at: str = "") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "TENDRIL_CRASH_AT": crash_at}
    return subprocess.run(
        [sys.executable, str(PROGRAM), str(home)], env=environment, capture_output=True, timeout=240, check=False
    )


@pytest.mark.parametrize("point", ["bulk.before_page:1", "bulk.after_page:1", "bulk.begun:1", "bulk.after_chunk:3"])
def test_killed_at_any_point_everybody_moves_and_leaves_once(tmp_path: Path, point: str) -> None:
    assert run(tmp_path, point).returncode == -signal.SIGKILL
    finished = run(tmp_path)
    assert finished.returncode == 0, finished.stderr.decode()[-2_000:]
    found = orjson.loads(finished.stdout.splitlines()[-1])
    assert found["moves"] == {"1-2": LEADS, "2-3": LEADS + LATER}
    assert found["topics"]["enrollment.started.v1"] == LEADS + 3 * LATER
    assert found["topics"]["enrollment.exited.v1"] == LEADS + 2 * LATER  # not those who came after the deletion
    first, second, deletion = found["reports"]
    assert [(each["done"], each["unchanged"], each["refused"]) for each in first] == [(LEADS, 0, 0)]
    assert [(each["done"], each["unchanged"], each["refused"]) for each in second] == [(LEADS + LATER, 0, 0)]
    assert [(each["done"], each["unchanged"], each["refused"]) for each in deletion] == [(LEADS + 2 * LATER, 0, 0)]
