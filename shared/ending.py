"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any

#: What a task may take to clear up before it is told again.
AGAIN_SECONDS = 5.0


async def ended(*tasks: asyncio.Future[Any] | None, again_seconds: float = AGAIN_SECONDS) -> None:
    """Cancels them, and returns once all are over; how they ended is theirs to tell. None is no task.

    A task may miss a cancellation: ``asyncio.wait_for`` of Python 3.11 answers as if nothing had happened when what it
    waits for comes in the same turn of the loop, and drivers use it too. So those still there are told again.
    """
    every = {task for task in tasks if task is not None}
    left = every
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_seconds)
    for task in every:
        if not task.cancelled():
            task.exception()  # seen: nobody need warn of it
