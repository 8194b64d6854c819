"""The demo funnel: leads come in over the day as they do in life, as messages that any funnel could send."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta

import httpx
import orjson
import structlog

from shared.clock import Clock
from shared.messaging.errors import BrokerAway, PublishUnknown
from shared.messaging.publisher import Publisher
from shared.messaging.topology import LEADS
from tendril.demo.api import Api, ApiRefused
from tendril.demo.people import lead_number
from tendril.demo.progress import ProgressFile

log = structlog.get_logger(__name__)

LEADS_PER_DAY = 60
FIRST_LEADS = 12  #: a webinar has just ended
MOST_ACTIVE = 1_500  #: enrollments; above it the funnel pauses
MOST_PER_SECOND = 10.0  #: of the wall, however fast business time runs
ASK_SECONDS = 5.0
#: How busy each hour of a day is (UTC; people from all over the world).
_BUSY = (4, 4, 3, 3, 4, 5, 8, 12, 14, 15, 15, 14, 13, 15, 16, 15, 14, 12, 11, 10, 9, 8, 6, 5)


class Funnel:
    """Publishes until it is cancelled."""

    def __init__(self, publisher: Publisher, api: Api, clock: Clock, progress: ProgressFile) -> None:
        self._publisher = publisher
        self._api = api
        self._clock = clock
        self._progress = progress
        self._draw = random.Random()
        self._full = False

    async def run(self) -> None:
        """Never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_how_full())
            group.create_task(self._publish_leads())

    async def _publish_leads(self) -> None:
        while self._progress.progress.next_lead < FIRST_LEADS:
            await self._publish_next()
        while True:
            gap = timedelta(days=1) / (LEADS_PER_DAY * _share_of_hour(self._clock.now()))
            wait = self._clock.to_wall_seconds(gap) * self._draw.expovariate(1.0)
            await asyncio.sleep(max(wait, 1 / MOST_PER_SECOND))
            if not self._full:
                await self._publish_next()

    async def _publish_next(self) -> None:
        """Tried with the same id until the broker has it, so that it is one lead however often it is sent."""
        number, seed = self._progress.progress.next_lead, self._progress.progress.seed
        body = {**lead_number(number, seed), "occurred_at": self._clock.now().isoformat()}
        while True:
            try:
                await self._publisher.publish_body(
                    LEADS,
                    "lead.created",
                    orjson.dumps(body),
                    content_type="application/json",
                    message_id=f"demo-{seed:x}-{number}",
                )
            except (BrokerAway, PublishUnknown):
                await asyncio.sleep(1.0)
            else:
                break
        self._progress.change(next_lead=number + 1)

    async def _watch_how_full(self) -> None:
        while True:
            try:
                self._full = await self._api.active_enrollments() >= MOST_ACTIVE
            except (ApiRefused, httpx.TransportError) as error:
                log.debug("overview_unread", problem=str(error))
            await asyncio.sleep(ASK_SECONDS)


def _share_of_hour(now: datetime) -> float:
    """1.0 for an average hour."""
    return _BUSY[now.hour] * len(_BUSY) / sum(_BUSY)
