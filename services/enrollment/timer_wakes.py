"""Wakes the many timers that a changed rule concerns, page by page: what is still to do is a row, written with the
event that asked for it and moved on with each page, so that no crash leaves a timer asleep.
"""

from __future__ import annotations

import asyncio

from services.enrollment.errand import Errand
from shared.clock import Clock
from shared.faults import crash_point
from shared.persistence.eventstore import EventStore

#: Orders that advance together, so that a large organization's does not hold up a small one's.
TURN = 16


class TimerWakes(Errand):
    NAME = "wakes"

    def __init__(self, store: EventStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def turn(self) -> bool:
        """A page of each order; False when there is none. After a page it rests as long as the page took, so that
        others have the store at least half of the time."""
        orders = await asyncio.to_thread(self._store.timer_wakes, TURN)
        for order in orders:
            crash_point("wakes.before_page")
            begun = self._clock.monotonic()
            await asyncio.to_thread(self._store.wake_timers, order)
            crash_point("wakes.after_page")
            await asyncio.sleep(self._clock.monotonic() - begun)
        return bool(orders)
