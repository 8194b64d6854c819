"""A clerk that carries out one bulk over 600 leads, in a process of its own, and prints what stands in the log.
Run: python bulk_process.py HOME"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import UUID

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from services.enrollment.bulk_runner import BulkRunner
from shared.events.bulk import PAGE, BeginBulk, NameBulkTargets, OrderBulk, UndoBulk
from shared.events.lead import LeadBody, LeadCreated
from shared.ids import derived_id
from shared.persistence.eventstore import EventStore
from tests.enrollment.clerk_process import SEQUENCE, STEP, Writer

LEADS = 600
#: Every tenth lead has no address that the sequence could use.
UNREACHABLE = 10
BULK, UNDO = derived_id("bulk", 1), derived_id("bulk", 2)


class BulkWriter(Writer):
    """The clerk with its runner of bulks."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, BulkRunner, EventStore.running_bulks)

    async def prepare(self, leads: int = LEADS) -> list[UUID]:
        """An organization, a sequence that takes nobody by itself, and leads; answers their ids."""
        await self.found({"name": "Bulk", "trigger": {"start": "manual"}, "steps": [STEP]})
        bodies = [
            LeadBody(phone=f"+49151{n:07d}") if n % UNREACHABLE == 0 else LeadBody(email=f"lead{n}@example.com")
            for n in range(leads)
        ]
        answers = await asyncio.gather(
            *(self.enqueue(LeadCreated(organization_id="demo", lead=body), f"l{n}") for n, body in enumerate(bodies))
        )
        return [UUID(answer.result["lead_id"]) for answer in answers]

    async def order(self, leads: list[UUID]) -> None:
        order = {"sequence_id": str(SEQUENCE)}
        await self.send(OrderBulk(bulk_id=BULK, kind="enroll", order=order), "order")
        pages = [leads[start : start + PAGE] for start in range(0, len(leads), PAGE)]
        for number, page in enumerate(pages, 1):
            await self.send(NameBulkTargets(bulk_id=BULK, page=number, targets=page), f"page-{number}")
        await self.send(BeginBulk(bulk_id=BULK, pages=len(pages)), "begin")


async def main(home: Path) -> None:
    writer = BulkWriter(home)
    await writer.committer.start()
    await writer.order(await writer.prepare())
    await writer.carry_out()
    await writer.send(UndoBulk(bulk_id=BULK, undo_id=UNDO), "undo")
    await writer.carry_out()
    topics = writer.topics()
    reports = {
        str(bulk_id): [
            event.message.model_dump(mode="json")
            for event in writer.store.load(bulk_id)
            if event.topic == "bulk.finished.v1"
        ]
        for bulk_id in (BULK, UNDO)
    }
    await writer.close()
    sys.stdout.write(orjson.dumps({"topics": topics, "reports": reports}).decode() + "\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
