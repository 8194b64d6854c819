"""A test that never ends fails, and says what it waited for.

After ``PATIENCE_SECONDS`` its stack and that of every asyncio task and thread are printed, and it fails. Where even its
end hangs, ``faulthandler_timeout`` in pyproject.toml ends the worker.
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

#: For setup, call and teardown together: several times what the longest takes on a busy machine.
PATIENCE_SECONDS = 300.0


@contextmanager
def patience(name: str, seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Fails the block, which runs in the main thread, when it takes longer."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        said = sys.__stderr__ or sys.stderr
        print(f"\n{name} did not end in {seconds:g} s", file=said)
        faulthandler.dump_traceback(said, all_threads=True)
        for task in _tasks():
            task.print_stack(file=said)
        pytest.fail(f"did not end in {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _tasks() -> set[asyncio.Task[object]]:
    """Those of the loop that runs in this thread, if one does."""
    try:
        return asyncio.all_tasks()
    except RuntimeError:
        return set()
