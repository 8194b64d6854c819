"""Two committers on one PostgreSQL store: a limit is never exceeded, and nobody is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from uuid import UUID

import pytest

from services.enrollment.committer import Committer
from services.enrollment.states import States
from shared.clock import SystemClock
from shared.events.definition import Limits, SequenceDefinition
from shared.events.enrollment import Enroll, EnrollmentStarted, StepDue, WakeTimer
from shared.events.envelope import Envelope
from shared.events.lead import LeadBody, LeadCreated
from shared.events.message import Message
from shared.events.organization import FoundOrganization, SetOrganization, SetSender
from shared.events.query import Answer
from shared.events.sequence import DraftSequence
from shared.ids import derived_id
from shared.persistence.eventstore import EventStore, TimerRow, open_url

pytestmark = pytest.mark.postgres

LEADS, PER_DAY = 60, 20
STEP = {"step_id": "a", "kind": "email", "config": {"subject": "Hi", "text": "Hi"}}


class Process:
    """A store and its committer, as one process of two has them."""

    def __init__(self, url: str) -> None:
        self.store: EventStore = open_url(url, master_key=b"k" * 32)
        self.clock = SystemClock()
        self.committer = Committer(self.store, States(self.store, shared=True), self.clock, partitions=16)

    async def close(self) -> None:
        await self.committer.close()
        await asyncio.to_thread(self.store.close)

    def send(self, message: Message, message_id: str) -> asyncio.Future[Answer]:
        envelope = Envelope(
            id=message_id, message=message, source="tests", time=self.clock.now(), organization_id="demo"
        )
        return self.committer.enqueue(envelope, exchange="tests")

    async def wake(self, timer: TimerRow) -> None:
        command = WakeTimer(
            enrollment_id=timer.aggregate_id,
            execution=timer.execution,
            attempt=timer.attempt,
            timer_class=timer.timer_class,
        )
        envelope = Envelope(
            id=f"wake-{timer.aggregate_id}",
            message=command,
            source="tests",
            time=self.clock.now(),
            organization_id="demo",
        )
        answer = await self.committer.enqueue(envelope, exchange=None)
        assert answer.ok, answer.problem


@pytest.fixture
async def processes(postgres_url: str) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as opened:
        made = []
        for _ in range(2):
            process = await asyncio.to_thread(partial(Process, postgres_url))
            opened.push_async_callback(process.close)
            await process.committer.start()
            made.append(process)
        yield made


async def test_a_limit_is_never_exceeded_by_two(processes: list[Process]) -> None:
    first, second = processes
    definition = SequenceDefinition.model_validate({"name": "Test", "steps": [STEP]})
    for number, order in enumerate(
        [
            FoundOrganization(name="Demo"),
            SetSender(sender_id="default", name="Demo", email="demo@example.com"),
            DraftSequence(sequence_id=derived_id("sequence", 1), definition=definition, activate=True),
        ]
    ):
        assert (await first.send(order, f"order{number}")).ok
    bodies = [LeadBody(email=f"lead{number}@example.com") for number in range(LEADS)]
    created = [LeadCreated(organization_id="demo", lead=body) for body in bodies]
    # All are due at once, before there is a limit; then each process wakes every one of them.
    await asyncio.gather(*(processes[n % 2].send(message, f"lead{n}") for n, message in enumerate(created)))
    assert (await first.send(SetOrganization(limits=Limits(per_day=PER_DAY)), "limit")).ok
    due = await asyncio.to_thread(first.store.timers_due, first.clock.now(), LEADS * 2)
    assert len(due) == LEADS
    await asyncio.gather(*(first.wake(timer) for timer in due), *(second.wake(timer) for timer in reversed(due)))
    events = [each for each in first.store.page(0, 10_000) if isinstance(each, Envelope)]
    sent = [each.message for each in events if isinstance(each.message, StepDue)]
    by_day = {slot.slot for event in sent for slot in event.quotas}
    assert len(sent) == PER_DAY * len(by_day)  # one day, or two where midnight passed
    assert len({each.subject for each in events if isinstance(each.message, StepDue)}) == len(sent)
    taken = first.store.quota_used("demo", [("organization", slot) for slot in by_day])
    assert set(taken.values()) == {PER_DAY}
    assert first.store.timers_count()["waiting"] == LEADS


async def test_what_both_saw_missing_is_made_once(processes: list[Process]) -> None:
    """Each notes in one look that none of the enrollments exists; the other may make them meanwhile."""
    first, second = processes
    definition = SequenceDefinition.model_validate({"name": "Test", "trigger": {"start": "manual"}, "steps": [STEP]})
    sequence_id = derived_id("sequence", 1)
    for number, order in enumerate(
        [
            FoundOrganization(name="Demo"),
            SetSender(sender_id="default", name="Demo", email="demo@example.com"),
            DraftSequence(sequence_id=sequence_id, definition=definition, activate=True),
        ]
    ):
        assert (await first.send(order, f"order{number}")).ok
    made = await asyncio.gather(
        *(
            first.send(LeadCreated(organization_id="demo", lead=LeadBody(email=f"lead{n}@example.com")), f"lead{n}")
            for n in range(LEADS)
        )
    )
    orders = [Enroll(lead_id=UUID(each.result["lead_id"]), sequence_id=sequence_id) for each in made]
    answers = await asyncio.gather(
        *(process.send(order, f"enroll{n}") for n, order in enumerate(orders) for process in processes)
    )
    assert [answer.ok for answer in answers] == [True] * len(answers)  # the same message: a repeat is told the same
    again = await asyncio.gather(*(second.send(order, f"again{n}") for n, order in enumerate(orders)))
    assert {answer.problem.code for answer in again if answer.problem} == {"already_enrolled"}
    events = [each for each in first.store.page(0, 10_000) if isinstance(each, Envelope)]
    started = [each.originator_id for each in events if isinstance(each.message, EnrollmentStarted)]
    assert len(started) == len(set(started)) == LEADS
