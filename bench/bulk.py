"""How fast the write side takes a bulk enrolment. Run: python bench/bulk.py [LEADS]

One process, SQLite with syncs, no broker: the clerk's runner and the committer as they run in the service. Says how
many leads a second a bulk enrols, what one costs, and how long an order of a person waits meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from services.enrollment.bulk_runner import BulkRunner
from services.enrollment.committer import Committer
from services.enrollment.states import States
from shared.clock import SystemClock
from shared.events.bulk import PAGE, BeginBulk, NameBulkTargets, OrderBulk
from shared.events.definition import SequenceDefinition
from shared.events.envelope import Envelope
from shared.events.lead import LeadBody, LeadCreated, TagLead
from shared.events.message import Message
from shared.events.organization import FoundOrganization, SetSender
from shared.events.query import Answer
from shared.events.sequence import DraftSequence
from shared.ids import derived_id
from shared.persistence.eventstore import open_url
from shared.serving import collect_rarely

LEADS = 10_000
BULK, SEQUENCE = derived_id("bulk", 1), derived_id("sequence", 1)
STEP = {
    "step_id": "a",
    "kind": "email",
    "delay": {"amount": 1, "unit": "days"},
    "config": {"subject": "Hi", "text": "Hi"},
}
ASK_EVERY_SECONDS = 0.05


class Bench:
    def __init__(self, home: Path) -> None:
        self.store = open_url(f"sqlite:///{home / 'tendril.db'}", master_key=b"k" * 32)
        self.clock = SystemClock()
        self.committer = Committer(self.store, States(self.store, shared=False), self.clock, partitions=16)
        self.sent = 0

    async def send(self, message: Message) -> Answer:
        self.sent += 1
        envelope = Envelope(
            id=f"bench-{self.sent}", message=message, source="bench", time=self.clock.now(), organization_id="demo"
        )
        answer = await self.committer.submit(envelope, exchange="bench")
        if not answer.ok:
            raise RuntimeError(str(answer.problem))
        return answer

    async def prepare(self, leads: int) -> list[UUID]:
        """An organization, a sequence that takes nobody by itself, and leads."""
        await self.send(FoundOrganization(name="Demo"))
        await self.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"))
        drafted = {"name": "Bulk", "trigger": {"start": "manual"}, "steps": [STEP]}
        definition = SequenceDefinition.model_validate(drafted)
        await self.send(DraftSequence(sequence_id=SEQUENCE, definition=definition, activate=True))
        ids: list[UUID] = []
        for start in range(0, leads, PAGE):
            numbers = range(start, min(start + PAGE, leads))
            created = (
                LeadCreated(organization_id="demo", lead=LeadBody(email=f"lead{n}@example.com", first_name=f"L{n}"))
                for n in numbers
            )
            answers = await asyncio.gather(*(self.send(message) for message in created))
            ids += [UUID(answer.result["lead_id"]) for answer in answers]
        return ids

    async def hand_over(self, leads: list[UUID]) -> float:
        """Seconds until the write side has every target."""
        begun = time.perf_counter()
        await self.send(OrderBulk(bulk_id=BULK, kind="enroll", order={"sequence_id": str(SEQUENCE)}))
        pages = [leads[start : start + PAGE] for start in range(0, len(leads), PAGE)]
        for number, page in enumerate(pages, 1):
            await self.send(NameBulkTargets(bulk_id=BULK, page=number, targets=page))
        await self.send(BeginBulk(bulk_id=BULK, pages=len(pages)))
        return time.perf_counter() - begun

    async def carry_out(self, somebody: UUID) -> tuple[float, list[float]]:
        """Seconds of the whole bulk, and of each order that a person gave meanwhile."""
        begun = time.perf_counter()
        waits: list[float] = []
        running = asyncio.create_task(BulkRunner(self.store, self.committer, self.clock).run())
        while await asyncio.to_thread(self.store.running_bulks):
            asked = time.perf_counter()
            await self.send(TagLead(lead_id=somebody, add=[f"t{len(waits) % 50}"]))
            waits.append(time.perf_counter() - asked)
            await asyncio.sleep(ASK_EVERY_SECONDS)
        seconds = time.perf_counter() - begun
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        return seconds, waits


async def measured(leads: int) -> dict[str, Any]:
    """Figures of one bulk over so many leads."""
    collect_rarely()
    with tempfile.TemporaryDirectory() as home:
        bench = Bench(Path(home))
        await bench.committer.start()
        ids = await bench.prepare(leads)
        handed = await bench.hand_over(ids)
        cpu = time.process_time()
        seconds, waits = await bench.carry_out(ids[-1])
        cpu = time.process_time() - cpu
        await bench.committer.close()
        bench.store.close()
    waits.sort()
    return {
        "leads": leads,
        "hand_over_seconds": round(handed, 2),
        "leads_per_second": round(leads / seconds),
        "cpu_ms_per_lead": round(1_000 * cpu / leads, 3),
        "other_order_ms_median": round(1_000 * waits[len(waits) // 2], 1),
        "other_order_ms_p99": round(1_000 * waits[int(len(waits) * 0.99)], 1),
    }


def run(leads: int = LEADS) -> dict[str, Any]:
    """For ``tendril bench bulk``."""
    return {"bulk": asyncio.run(measured(leads))}


if __name__ == "__main__":
    sys.stdout.write(orjson.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else LEADS)).decode() + "\n")
