"""Ends what `tendril up` started when `up` itself is killed. Run by its path, with nothing but the standard library.

Everything that `up` starts, and all that these start in turn, inherits a mark in its environment. When standard input
ends without the word ``done``, `up` is gone: whoever carries the mark is told to end, and killed when it does not.

usage: warden.py MARK
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

VARIABLE = "TENDRIL_UP_MARK"
GRACE_SECONDS = 8.0
POLL_SECONDS = 0.1


def main(mark: str) -> None:
    """Reads until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.read().strip() == "done":
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        told: set[int] = set()
        deadline = time.monotonic() + GRACE_SECONDS
        while (living := marked(mark)) and time.monotonic() < deadline:
            for pid in living - told:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            told |= living
            time.sleep(POLL_SECONDS)


def marked(mark: str) -> set[int]:
    """Every other process that carries the mark; one that has ended and waits to be buried carries nothing."""
    wanted = f"{VARIABLE}={mark}".encode()
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.add(int(folder.name))
    return found


if __name__ == "__main__":
    main(sys.argv[1])
