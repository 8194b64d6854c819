"""What every errand of the clerk has in common: turns, pauses, and a store that is away."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from services.enrollment import errand
from services.enrollment.errand import Errand
from shared.persistence.eventstore import StoreUnavailable

AWAY = StoreUnavailable("away")


class Told(Errand):
    """Does as it is told, turn by turn; a turn that nothing is told of reports that all are over, and is the last."""

    NAME = "told"

    def __init__(self, *turns: bool | Exception) -> None:
        self.turns = list(turns)
        self.over = asyncio.Event()

    async def turn(self) -> bool:
        if not self.turns:
            self.over.set()
            await asyncio.Event().wait()
        answer = self.turns.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Those taken, none of which lasts."""
    taken: list[float] = []

    async def sleep(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr(errand, "asyncio", SimpleNamespace(sleep=sleep))
    return taken


async def played(told: Told) -> None:
    running = asyncio.create_task(told.run())
    over = asyncio.create_task(told.over.wait())
    await asyncio.wait({running, over}, return_when=asyncio.FIRST_COMPLETED)
    for each in (running, over):
        each.cancel()
    await asyncio.gather(running, over, return_exceptions=True)
    if not running.cancelled():
        running.result()


async def test_while_there_is_something_to_do_it_does_not_pause(pauses: list[float]) -> None:
    await played(Told(True, True, True))
    assert pauses == []


async def test_it_looks_again_after_a_pause_when_there_is_nothing_to_do(pauses: list[float]) -> None:
    await played(Told(True, False, False, True))
    assert pauses == [errand.POLL_SECONDS] * 2


async def test_a_store_that_is_away_is_waited_for(pauses: list[float]) -> None:
    await played(Told(AWAY, AWAY, True))
    assert pauses == [errand.RETRY_SECONDS] * 2


async def test_a_defect_ends_it_so_that_the_clerk_notices(pauses: list[float]) -> None:
    with pytest.raises(ValueError, match="defect"):
        await played(Told(True, ValueError("defect"), True))
    assert pauses == []
