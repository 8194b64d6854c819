"""Pages on their way: asked for in the background, applied by the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from services.projector.errors import ReaderAway
from services.projector.pages import Page, Pages

log = structlog.get_logger()

#: Events of the log in one page.
PAGE_EVENTS = 2_000
RETRY_SECONDS = 1.0


@dataclass(slots=True)
class Fetch:
    """A page asked for: what comes after ``after``, for these partitions."""

    task: asyncio.Task[Page]
    after: int
    partitions: tuple[int, ...]


def ask(pages: Pages, after: int, up_to: int | None, partitions: Sequence[int], arrived: Callable[[], None]) -> Fetch:
    """Ask for a page, again and again while no reader answers; ``arrived`` is called when it is there."""

    async def fetch() -> Page:
        while True:
            try:
                return await pages.page(after, up_to, partitions, PAGE_EVENTS)
            except ReaderAway as error:
                log.warning("reader_away", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    task = asyncio.create_task(fetch(), name="page")
    task.add_done_callback(lambda _: arrived())
    return Fetch(task, after, tuple(partitions))


def take(fetch: Fetch | None) -> tuple[Fetch | None, Page | None]:
    """A fetch that has ended, with its page; nothing while it is under way."""
    if fetch is None or not fetch.task.done() or fetch.task.cancelled():
        return None, None
    return fetch, fetch.task.result()
