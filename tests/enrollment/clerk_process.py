"""What programs need that play the clerk in a process of their own, so that a test can kill it: store, committer and
one errand beside them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from services.enrollment.committer import Committer
from services.enrollment.errand import Errand
from services.enrollment.states import States
from shared.clock import Clock, SystemClock
from shared.events.definition import SequenceDefinition
from shared.events.envelope import Envelope
from shared.events.message import Message
from shared.events.organization import FoundOrganization, SetSender
from shared.events.query import Answer
from shared.events.sequence import DraftSequence
from shared.ids import derived_id
from shared.persistence.eventstore import EventStore, open_url

SEQUENCE = derived_id("sequence", 1)
STEP = {"step_id": "a", "kind": "email", "config": {"subject": "Hi", "text": "Hi"}}


class Writer:
    """Store, committer and errand, as the clerk has them. ``errand`` makes the one and ``left`` asks whether it still
    has something to do."""

    def __init__(
        self,
        home: Path,
        errand: Callable[[EventStore, Committer, Clock], Errand],
        left: Callable[[EventStore], object],
    ) -> None:
        self.store: EventStore = open_url(f"sqlite:///{home / 'tendril.db'}", master_key=b"k" * 32)
        self.clock = SystemClock()
        self.committer = Committer(self.store, States(self.store, shared=False), self.clock, partitions=16)
        self._errand = errand(self.store, self.committer, self.clock)
        self._left = left

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

    async def found(self, definition: object) -> None:
        """An organization with a sender and one active sequence."""
        await self.send(FoundOrganization(name="Demo"), "found")
        await self.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"), "sender")
        sequence = SequenceDefinition.model_validate(definition)
        await self.send(DraftSequence(sequence_id=SEQUENCE, definition=sequence, activate=True), "sequence")

    async def carry_out(self) -> None:
        """Until nothing is left."""
        running = asyncio.create_task(self._errand.run())
        while await asyncio.to_thread(self._left, self.store):
            if running.done():
                running.result()
            await asyncio.sleep(0.01)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    def topics(self) -> Counter[str]:
        """How many events of each kind stand in the log."""
        return Counter(event["type"] for event in self.store.page_events(0, 100_000))

    async def close(self) -> None:
        await self.committer.close()
        self.store.close()
