"""Micro-batching."""

from __future__ import annotations

import asyncio

import pytest

from services.dispatcher.batching import Batch


async def test_what_is_asked_together_goes_out_together() -> None:
    batches: list[list[int]] = []

    async def run(items: list[int]) -> list[int]:
        batches.append(items)
        return [item * 2 for item in items]

    batch: Batch[int, int] = Batch(run, most=10, lanes=1)
    assert await asyncio.gather(*(batch.ask(n) for n in range(25))) == [n * 2 for n in range(25)]
    assert [len(each) for each in batches] == [10, 10, 5]


async def test_an_error_reaches_everyone_of_its_batch_and_no_other() -> None:
    async def run(items: list[int]) -> list[int]:
        if 3 in items:
            raise KeyError(3)
        return items

    batch: Batch[int, int] = Batch(run, most=2, lanes=1)
    results = await asyncio.gather(*(batch.ask(n) for n in range(6)), return_exceptions=True)
    assert [isinstance(result, KeyError) for result in results] == [False, False, True, True, False, False]


async def test_who_stops_waiting_harms_nobody() -> None:
    gate = asyncio.Event()

    async def run(items: list[int]) -> list[int]:
        await gate.wait()
        return items

    batch: Batch[int, int] = Batch(run)
    first, second = asyncio.create_task(batch.ask(1)), asyncio.create_task(batch.ask(2))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert await second == 2
    with pytest.raises(asyncio.CancelledError):
        await first


def test_knobs_are_checked() -> None:
    async def run(items: list[int]) -> list[int]:
        return items

    with pytest.raises(ValueError, match="1 or more"):
        Batch(run, most=0)
