"""Counting tries by key in windows of time, alike for every gateway: what is public may be tried only so often."""

from __future__ import annotations

from datetime import timedelta

from services.gateway.errors import TooMany
from shared.clock import Clock
from shared.persistence.mongo import Database, is_duplicate_key


class Tries:
    """A collection of the gateway's database. Counts go by machine time and are forgotten with their window."""

    def __init__(self, database: Database, clock: Clock, name: str) -> None:
        self._tries = database.collection(name, majority=False)
        self._clock = clock

    async def prepare(self) -> None:
        """Makes the index."""
        await self._tries.create_index([("expires_at", 1)], expireAfterSeconds=0)

    async def count(self, key: str, limit: int, window_seconds: int) -> None:
        """Counts before it checks, so that tries at the same time count too. Raises TooMany."""
        now = self._clock.wall()
        window = timedelta(seconds=window_seconds)
        try:
            document = await self._tries.find_one_and_update(
                {"_id": key, "expires_at": {"$gt": now}},
                {"$inc": {"count": 1}, "$setOnInsert": {"expires_at": now + window}},
                upsert=True,
            )
        except Exception as error:
            if not is_duplicate_key(error):
                raise
            # The window is over, or another gateway just opened one.
            await self._tries.update_one(
                {"_id": key, "expires_at": {"$lte": now}}, {"$set": {"count": 0, "expires_at": now + window}}
            )
            document = await self._tries.find_one_and_update({"_id": key}, {"$inc": {"count": 1}}, return_after=True)
        if document is not None and document["count"] > limit:
            raise TooMany(max(1, round((document["expires_at"] - now).total_seconds())))

    async def forget(self, key: str) -> None:
        """Ends the window."""
        await self._tries.delete_one({"_id": key})
