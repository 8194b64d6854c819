"""A clerk that stops the leads of one company after a reply, in a process of its own, and prints what stands in the
log. Run: python company_process.py HOME"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from pathlib import Path
from uuid import UUID

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from services.enrollment.committer import Committer
from services.enrollment.company_stops import CompanyStops
from services.enrollment.states import States
from shared.clock import SystemClock
from shared.events.definition import SequenceDefinition
from shared.events.engagement import RecordSignal
from shared.events.enrollment import RecordSent, WakeTimer
from shared.events.envelope import Envelope
from shared.events.lead import LeadBody, LeadCreated
from shared.events.message import Message
from shared.events.organization import FoundOrganization, SetSender
from shared.events.query import Answer
from shared.events.sequence import DraftSequence
from shared.events.why import TimerClass
from shared.ids import derived_id, dispatch_id
from shared.persistence.eventstore import EventStore, open_url

#: Leads of the company, more than two pages of orders; and of another.
COLLEAGUES, OTHERS = 600, 20
SEQUENCE = derived_id("sequence", 1)
DEFINITION = {
    "name": "Test",
    "settings": {"stop_on": [{"on": "reply", "company": True}]},
    "steps": [{"step_id": "a", "kind": "email", "config": {"subject": "Hi", "text": "Hi"}}],
}


class Writer:
    """Store, committer and runner, as the clerk has them."""

    def __init__(self, home: Path) -> None:
        self.store: EventStore = open_url(f"sqlite:///{home / 'tendril.db'}", master_key=b"k" * 32)
        self.clock = SystemClock()
        self.committer = Committer(self.store, States(self.store, shared=False), self.clock, partitions=16)
        self.stops = CompanyStops(self.store, self.committer, self.clock)

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

    async def prepare(self) -> None:
        """Everybody enrolled; the first lead's message went out and is replied to."""
        await self.send(FoundOrganization(name="Demo"), "found")
        await self.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"), "sender")
        definition = SequenceDefinition.model_validate(DEFINITION)
        await self.send(DraftSequence(sequence_id=SEQUENCE, definition=definition, activate=True), "sequence")
        companies = ["Acme Inc."] * COLLEAGUES + ["Other"] * OTHERS
        bodies = [LeadBody(email=f"lead{n}@example.com", company=name) for n, name in enumerate(companies)]
        answers = await asyncio.gather(
            *(self.enqueue(LeadCreated(organization_id="demo", lead=body), f"l{n}") for n, body in enumerate(bodies))
        )
        enrollment_id = answers[0].result["enrollment_id"]
        step = {"enrollment_id": enrollment_id, "execution": 1, "attempt": 1}
        await self.send(WakeTimer.model_validate({**step, "timer_class": TimerClass.FIRST_TOUCH}), "wake")
        dispatch = dispatch_id("demo", UUID(enrollment_id), 1, "a")
        sent = {**step, "dispatch_id": dispatch, "sent_at": self.clock.now()}
        await self.send(RecordSent.model_validate(sent), "sent")
        signal = {"enrollment_id": enrollment_id, "execution": 1, "signal": "replied", "at": self.clock.now()}
        await self.send(RecordSignal.model_validate(signal), "reply")

    async def carry_out(self) -> None:
        """Until no stop is left."""
        running = asyncio.create_task(self.stops.run())
        while await asyncio.to_thread(self.store.company_stops, 1):
            if running.done():
                running.result()
            await asyncio.sleep(0.01)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def main(home: Path) -> None:
    writer = Writer(home)
    await writer.committer.start()
    await writer.prepare()
    await writer.carry_out()
    topics = Counter(event["type"] for event in writer.store.page_events(0, 100_000))
    await writer.committer.close()
    writer.store.close()
    sys.stdout.write(orjson.dumps(topics).decode() + "\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
