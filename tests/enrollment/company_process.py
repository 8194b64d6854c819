"""A clerk that stops the leads of one company after a reply, in a process of its own, and prints what stands in the
log. Run: python company_process.py HOME"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import UUID

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from services.enrollment.company_stops import CompanyStops
from shared.events.engagement import RecordSignal
from shared.events.enrollment import RecordSent, WakeTimer
from shared.events.lead import LeadBody, LeadCreated
from shared.events.why import TimerClass
from shared.ids import dispatch_id
from tests.enrollment.clerk_process import STEP, Writer

#: Leads of the company, more than two pages of orders; and of another.
COLLEAGUES, OTHERS = 600, 20
DEFINITION = {
    "name": "Test",
    "settings": {"stop_on": [{"on": "reply", "company": True}]},
    "steps": [STEP],
}


class CompanyWriter(Writer):
    """The clerk with its stops of companies."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, CompanyStops, lambda store: store.company_stops(1))

    async def prepare(self) -> None:
        """Everybody enrolled; the first lead's message went out and is replied to."""
        await self.found(DEFINITION)
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


async def main(home: Path) -> None:
    writer = CompanyWriter(home)
    await writer.committer.start()
    await writer.prepare()
    await writer.carry_out()
    topics = writer.topics()
    await writer.close()
    sys.stdout.write(orjson.dumps(topics).decode() + "\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
