"""The stop of a company's leads, carried out by a clerk that is killed between any two of its steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.enrollment.company_process import COLLEAGUES

pytestmark = pytest.mark.faults

PROGRAM = Path(__file__).with_name("company_process.py")


def run(home: Path, crash_at: str = "") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "TENDRIL_CRASH_AT": crash_at}
    return subprocess.run(
        [sys.executable, str(PROGRAM), str(home)], env=environment, capture_output=True, timeout=120, check=False
    )


@pytest.mark.parametrize("point", ["company.before_page:1", "company.after_page:1", "company.after_page:3"])
def test_killed_at_any_point_every_colleague_stops_once_and_nobody_else(tmp_path: Path, point: str) -> None:
    assert run(tmp_path, point).returncode == -signal.SIGKILL
    finished = run(tmp_path)
    assert finished.returncode == 0, finished.stderr.decode()[-2_000:]
    topics = orjson.loads(finished.stdout.splitlines()[-1])
    assert topics["enrollment.company_stop_asked.v1"] == 1
    assert topics.get("enrollment.exited.v1", 0) + topics.get("enrollment.completed.v1", 0) == COLLEAGUES
