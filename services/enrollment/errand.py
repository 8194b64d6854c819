"""What the clerk does beside scheduler and relay: it looks whether there is something to do, and does it in turns."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar

import structlog

from shared.persistence.eventstore import StoreUnavailable

log = structlog.get_logger()

#: How often it looks: an indexed query of a table that is mostly empty.
POLL_SECONDS = 0.25
RETRY_SECONDS = 1.0


class Errand(ABC):
    """Run by the clerk alone. What is still to do stands in the store: a turn that was broken off is taken again."""

    NAME: ClassVar[str]

    async def run(self) -> None:
        """Until cancelled. A store that is away is waited for."""
        while True:
            try:
                pause = 0.0 if await self.turn() else POLL_SECONDS
            except StoreUnavailable as error:
                log.warning("errand_waits", errand=self.NAME, error=str(error))
                pause = RETRY_SECONDS
            if pause:
                await asyncio.sleep(pause)

    @abstractmethod
    async def turn(self) -> bool:
        """A part of what is to do; False when there is nothing. Raises StoreUnavailable."""
