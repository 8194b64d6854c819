"""Ends what `tendril up` started when `up` itself is killed. Run by its path, with nothing but the standard library.

Each line on standard input is the whole list of process ids (each the leader of a group) that live now. When input
ends without the word ``done``, `up` is gone: the groups of the last list are told to end, and killed when they do not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

GRACE_SECONDS = 8.0
POLL_SECONDS = 0.1


def main() -> None:
    """Reads until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: list[int] = []
    for line in sys.stdin:
        if line.strip() == "done":
            return
        groups = [int(word) for word in line.split()]
    for number in (signal.SIGTERM, signal.SIGKILL):
        _tell(groups, number)
        deadline = time.monotonic() + GRACE_SECONDS
        while (groups := [group for group in groups if _lives(group)]) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if not groups:
            return


def _tell(groups: list[int], number: int) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    main()
