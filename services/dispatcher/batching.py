"""Micro-batching: what handlers ask for while a round trip is under way goes out together in the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batch(Generic[Item, Result]):
    """Gathers items and gives them to ``run`` in batches of at most ``most``, at most ``lanes`` at once.

    ``run`` answers with one result per item, in order; an exception it raises goes to every item of that batch. No
    timer is involved: the first item leaves in the next turn of the loop, together with all that were added in this
    one.
    """

    def __init__(
        self, run: Callable[[list[Item]], Awaitable[Sequence[Result]]], *, most: int = 500, lanes: int = 4
    ) -> None:
        if most < 1 or lanes < 1:
            raise ValueError(f"most and lanes must be 1 or more, got {most} and {lanes}")
        self._run = run
        self._most = most
        self._lanes = lanes
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._flushing: set[asyncio.Task[None]] = set()

    async def ask(self, item: Item) -> Result:
        """The result for this item. Raises what ``run`` raised."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._flushing) < self._lanes:
            task = asyncio.create_task(self._flush())
            self._flushing.add(task)
            task.add_done_callback(self._flushing.discard)
        return await future

    async def _flush(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                results = await self._run([item for item, _ in taken])
            except asyncio.CancelledError:
                for _, future in taken:
                    future.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - handed to everyone who waits for it
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(taken, results, strict=True):
                if not future.done():
                    future.set_result(result)
