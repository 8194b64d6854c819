"""What the gateway itself keeps of a person goes once the person is erased: dead letters and the demo mailbox's mails.

The views are asked again and again rather than one event awaited: a letter may die, or a mail come, after the erasure.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from shared.persistence.erasure import KEPT_BY_GATEWAY
from shared.persistence.mongo import Database, is_unavailable
from shared.persistence.views import ViewReader

EVERY_SECONDS = 60.0
#: Leads looked up in one query.
BATCH = 1_000

_log = structlog.get_logger(__name__)


class Erasure:
    """Any number of gateways may do it together. Answers of orders hold ids only, and expire by themselves."""

    def __init__(self, database: Database, views: ViewReader) -> None:
        self._database = database
        self._views = views

    async def run(self) -> None:
        """Sweeps every minute, until cancelled."""
        while True:
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001
                if not is_unavailable(error):
                    _log.error("erased leads not forgotten", exc_info=error)
            await asyncio.sleep(EVERY_SECONDS)

    async def forget(self, lead_id: UUID) -> int:
        """Deletes what is kept of one lead, who was erased just now; how many documents that were."""
        deleted = 0
        for name in KEPT_BY_GATEWAY:
            found = await self._database.collection(name).delete_many({"lead_id": str(lead_id)})
            deleted += found.deleted_count
        return deleted

    async def sweep(self) -> int:
        """Deletes what is kept of erased leads; how many documents that were."""
        leads = await self._views.collection("leads")
        deleted = 0
        for name in KEPT_BY_GATEWAY:
            documents = self._database.collection(name)
            named = [each for each in await documents.distinct("lead_id") if isinstance(each, str)]
            for some in (named[start : start + BATCH] for start in range(0, len(named), BATCH)):
                erased = await leads.find({"_id": {"$in": some}, "erased": True}, {"_id": 1}).to_list()
                if erased:
                    found = await documents.delete_many({"lead_id": {"$in": [each["_id"] for each in erased]}})
                    deleted += found.deleted_count
        return deleted
