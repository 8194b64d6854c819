"""A clerk that carries out two publishings in a row, a deletion and a restoring over 1,200 leads, in a process of its
own, and prints what stands in the log. Run: python moving_process.py HOME"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from services.enrollment.bulk_runner import BulkRunner
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import Enroll
from shared.events.lead import LeadBody, LeadCreated
from shared.events.sequence import (
    ActivateSequence,
    ApproveSequence,
    DeleteSequence,
    EditSequence,
    RestoreSequence,
    SubmitSequence,
)
from shared.persistence.eventstore import EventStore
from tests.enrollment.clerk_process import SEQUENCE, Writer

#: More than a page of targets.
LEADS = 1_200
#: Leads that come in between the publishings, and after the sequence was restored.
LATER = 5


def definition(step_id: str) -> dict[str, Any]:
    """One message on the third day; each version gives it another name, and the moves lead from one to the next."""
    mail = {"step_id": step_id, "kind": "email", "delay": {"amount": 3, "unit": "days"}}
    return {
        "name": "Moving",
        "trigger": {"start": "manual"},
        "steps": [{**mail, "config": {"subject": "Hi", "text": "Hi"}}],
    }


class MovingWriter(Writer):
    """The clerk with its runner of bulks."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, BulkRunner, EventStore.running_bulks)

    async def enroll(self, name: str, count: int) -> None:
        answers = await asyncio.gather(
            *(
                self.enqueue(
                    LeadCreated(organization_id="demo", lead=LeadBody(email=f"{name}{n}@example.com")),
                    f"{name}-lead-{n}",
                )
                for n in range(count)
            )
        )
        orders = [Enroll(lead_id=UUID(answer.result["lead_id"]), sequence_id=SEQUENCE) for answer in answers]
        await asyncio.gather(*(self.enqueue(order, f"{name}-enroll-{n}") for n, order in enumerate(orders)))

    async def publish(self, step_id: str, moves: dict[str, str]) -> UUID:
        made = SequenceDefinition.model_validate(definition(step_id))
        await self.send(EditSequence(sequence_id=SEQUENCE, definition=made), f"edit-{step_id}")
        await self.send(SubmitSequence(sequence_id=SEQUENCE), f"submit-{step_id}")
        await self.send(ApproveSequence(sequence_id=SEQUENCE), f"approve-{step_id}")
        order = ActivateSequence(sequence_id=SEQUENCE, inside="move", moves=moves)
        return UUID((await self.send(order, f"activate-{step_id}")).result["bulk_id"])


async def main(home: Path) -> None:
    writer = MovingWriter(home)
    await writer.committer.start()
    await writer.found(definition("one"))
    await writer.enroll("first", LEADS)
    bulks = [await writer.publish("two", {"one": "two"})]
    await writer.enroll("second", LATER)
    bulks.append(await writer.publish("three", {"two": "three"}))
    await writer.enroll("third", LATER)
    await writer.carry_out()
    order = DeleteSequence(sequence_id=SEQUENCE, enrollments="exit")
    bulks.append(UUID((await writer.send(order, "delete")).result["bulk_id"]))
    await writer.send(RestoreSequence(sequence_id=SEQUENCE), "restore")
    await writer.send(ActivateSequence(sequence_id=SEQUENCE), "again")
    await writer.enroll("fourth", LATER)
    await writer.carry_out()
    reports = [
        [each.message.model_dump(mode="json") for each in writer.store.load(bulk) if each.topic == "bulk.finished.v1"]
        for bulk in bulks
    ]
    moves = Counter(
        f"{event['data']['from_version']}-{event['data']['to_version']}"
        for event in writer.store.page_events(0, 100_000)
        if event["type"] == "enrollment.migrated.v1"
    )
    topics = writer.topics()
    await writer.close()
    sys.stdout.write(orjson.dumps({"topics": topics, "moves": moves, "reports": reports}).decode() + "\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
