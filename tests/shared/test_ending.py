"""Whoever is told to end does, also where the word comes in the same turn of the loop as what was waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from services.enrollment.committer import Committer
from services.enrollment.scheduler import Scheduler
from services.tracker.outbox import Outbox
from services.tracker.spool import Spool
from shared.clock import SystemClock
from shared.ending import ended
from tests.support.waiting import eventually
from tests.tracker.test_outbox import Broker, opened

#: Longer than anything here: reached only by what hangs.
HANGS_SECONDS = 20.0
#: Turns of the loop between a word to go on and the word to end.
TURNS = range(6)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def waited_for(event: asyncio.Event) -> None:
    await eventually(lambda: bool(cast("Any", event)._waiters))


async def beside_the_word(woken: asyncio.Event, work: Callable[[], Coroutine[Any, Any, None]], count: int) -> bool:
    """Whether one cancellation was enough for a task that waited for the event, ``count`` turns after this was set."""
    task = asyncio.create_task(work())
    await waited_for(woken)
    woken.set()
    await turns(count)
    task.cancel()
    _, left = await asyncio.wait([task], timeout=0.1)
    async with asyncio.timeout(HANGS_SECONDS):
        await ended(task, again_seconds=0.01)
    return not left


@pytest.mark.parametrize("count", TURNS)
async def test_a_task_that_misses_a_cancellation_is_told_again(count: int) -> None:
    woken = asyncio.Event()

    async def work() -> None:
        while True:
            await asyncio.wait_for(woken.wait(), 60)
            woken.clear()

    await beside_the_word(woken, work, count)


async def test_how_a_task_ended_is_left_to_its_owner_and_none_is_no_task() -> None:
    async def failing() -> None:
        raise ValueError("no")

    failed, waiting = asyncio.create_task(failing()), asyncio.create_task(asyncio.sleep(60))
    await turns(2)
    await ended(failed, None, waiting)
    assert isinstance(failed.exception(), ValueError)
    assert waiting.cancelled()
    await ended()


class NothingDue:
    """A store without timers."""

    def timers_due(self, *_: Any, **__: Any) -> list[Any]:
        return []


@pytest.mark.parametrize("count", TURNS)
async def test_a_scheduler_that_is_just_woken_ends(count: int) -> None:
    scheduler = Scheduler(cast("Any", NothingDue()), cast("Committer", None), SystemClock())
    assert await beside_the_word(scheduler._changed, scheduler.run, count)


@pytest.mark.parametrize("count", TURNS)
async def test_an_outbox_whose_drainer_is_just_woken_closes(tmp_path: Path, count: int) -> None:
    broker, spool = Broker(), Spool(tmp_path)
    outbox = Outbox(broker, spool)
    await outbox.start()
    await waited_for(outbox._work)
    broker.refuse = True
    signal = asyncio.create_task(outbox.put(opened(1)))
    await turns(count)
    async with asyncio.timeout(HANGS_SECONDS):
        await outbox.close()
        await signal
    assert not spool.is_empty
    spool.close()
