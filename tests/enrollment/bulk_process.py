"""A clerk that carries out one bulk over 600 leads, in a process of its own, and prints what stands in the log.
Run: python bulk_process.py HOME"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from pathlib import Path
from uuid import UUID

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from services.enrollment.bulk_runner import BulkRunner
from services.enrollment.committer import Committer
from services.enrollment.states import States
from shared.clock import SystemClock
from shared.events.bulk import PAGE, BeginBulk, NameBulkTargets, OrderBulk, UndoBulk
from shared.events.definition import SequenceDefinition
from shared.events.envelope import Envelope
from shared.events.lead import LeadBody, LeadCreated
from shared.events.message import Message
from shared.events.organization import FoundOrganization, SetSender
from shared.events.query import Answer
from shared.events.sequence import DraftSequence
from shared.ids import derived_id
from shared.persistence.eventstore import EventStore, open_url

LEADS = 600
#: Every tenth lead has no address that the sequence could use.
UNREACHABLE = 10
BULK, UNDO, SEQUENCE = derived_id("bulk", 1), derived_id("bulk", 2), derived_id("sequence", 1)
STEP = {"step_id": "a", "kind": "email", "config": {"subject": "Hi", "text": "Hi"}}


class Writer:
    """Store, committer and runner, as the clerk has them."""

    def __init__(self, home: Path) -> None:
        self.store: EventStore = open_url(f"sqlite:///{home / 'tendril.db'}", master_key=b"k" * 32)
        self.clock = SystemClock()
        self.committer = Committer(self.store, States(self.store, shared=False), self.clock, partitions=16)
        self.runner = BulkRunner(self.store, self.committer, self.clock)

    def enqueue(self, message: Message, message_id: str) -> asyncio.Future[Answer]:
        envelope = Envelope(
            id=message_id,
            message=message,
            source="tests",
            time=self.clock.now(),
            organization_id="demo",
            actor="member:1",
        )
        return self.committer.enqueue(envelope, exchange="tests")

    async def send(self, message: Message, message_id: str) -> Answer:
        answer = await self.enqueue(message, message_id)
        assert answer.ok, answer.problem
        return answer

    async def prepare(self, leads: int = LEADS) -> list[UUID]:
        """An organization, a sequence that takes nobody by itself, and leads; answers their ids."""
        await self.send(FoundOrganization(name="Demo"), "found")
        await self.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"), "sender")
        manual = {"name": "Bulk", "trigger": {"start": "manual"}, "steps": [STEP]}
        definition = SequenceDefinition.model_validate(manual)
        await self.send(DraftSequence(sequence_id=SEQUENCE, definition=definition, activate=True), "sequence")
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

    async def carry_out(self) -> None:
        """Until no bulk is left."""
        running = asyncio.create_task(self.runner.run())
        while await asyncio.to_thread(self.store.running_bulks):
            if running.done():
                running.result()
            await asyncio.sleep(0.01)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def main(home: Path) -> None:
    writer = Writer(home)
    await writer.committer.start()
    await writer.order(await writer.prepare())
    await writer.carry_out()
    await writer.send(UndoBulk(bulk_id=BULK, undo_id=UNDO), "undo")
    await writer.carry_out()
    topics = Counter(event["type"] for event in writer.store.page_events(0, 100_000))
    reports = {
        str(bulk_id): [
            event.message.model_dump(mode="json")
            for event in writer.store.load(bulk_id)
            if event.topic == "bulk.finished.v1"
        ]
        for bulk_id in (BULK, UNDO)
    }
    await writer.committer.close()
    writer.store.close()
    sys.stdout.write(orjson.dumps({"topics": topics, "reports": reports}).decode() + "\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
