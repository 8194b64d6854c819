"""One `up` at a time has a home."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tendril.place import read_place

LOCK_FILE = "up.lock"
LOCK_SECONDS = 20.0  #: how long what a killed `up` left behind may take to end
POLL_SECONDS = 0.2


class RunsAlready(Exception):
    """Another `up` has this home. One line."""


@contextlib.contextmanager
def alone(home: Path) -> Iterator[int]:
    """The home's lock. Raises RunsAlready; waits while the remains of a killed `up` are being ended."""
    home.mkdir(parents=True, exist_ok=True)
    lock = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                place = read_place(home)
                if place is not None or time.monotonic() > deadline:
                    who = f" (process {place.pid}, {place.gateway_url})" if place else ""
                    raise RunsAlready(f"Tendril runs already in {short(home)}{who}") from None
                time.sleep(POLL_SECONDS)
            else:
                break
        yield lock
    finally:
        os.close(lock)


def short(path: Path) -> str:
    """Relative to where the person stands, when it is below."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
