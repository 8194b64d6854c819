"""Many commands given together and waited for together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.enrollment.committer import Committer
from services.enrollment.domain.handling import handle
from services.enrollment.states import States
from shared.clock import SystemClock
from shared.events.envelope import Envelope
from shared.events.lead import EraseLead, LeadBody, LeadCreated, TagLead
from shared.events.message import Message
from shared.events.organization import FoundOrganization
from shared.events.query import Answer
from shared.events.task import OpenTask
from shared.ids import derived_id
from shared.persistence.eventstore import EventStore, open_url

NOBODY = derived_id("lead", "nobody")


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return open_url(f"sqlite:///{tmp_path / 'tendril.db'}", master_key=b"k" * 32)


@pytest.fixture
async def committer(store: EventStore) -> AsyncIterator[Committer]:
    # Two in a batch: a page then comes back from several.
    made = Committer(store, States(store, shared=False), SystemClock(), partitions=16, max_batch=2)
    await made.start()
    yield made
    await made.close()
    store.close()


def said(message: Message, message_id: str) -> Envelope:
    return Envelope(id=message_id, message=message, source="tests", time=SystemClock().now(), organization_id="demo")


async def known_lead(committer: Committer) -> UUID:
    await committer.submit(said(FoundOrganization(name="Demo"), "found"), exchange=None)
    body = LeadBody(email="ada@example.com")
    answer = await committer.submit(said(LeadCreated(organization_id="demo", lead=body), "lead"), exchange="tests")
    return UUID(answer.result["lead_id"])


async def test_answers_come_in_the_order_given_refusals_among_them(committer: Committer) -> None:
    lead_id = await known_lead(committer)
    orders = [TagLead(lead_id=each, add=["vip"]) for each in (lead_id, NOBODY, lead_id)]
    answers = await committer.submit_page([said(each, f"m{n}") for n, each in enumerate(orders)], exchange="tests")
    first, refused, again = (each for each in answers if isinstance(each, Answer))
    assert first.ok
    assert first.position is not None
    assert refused.problem is not None
    assert refused.problem.code == "unknown_target"
    assert again.ok
    assert again.position is None


async def test_a_repeated_page_is_told_what_was_decided(committer: Committer) -> None:
    lead_id = await known_lead(committer)
    page = [said(TagLead(lead_id=each, add=["vip"]), f"m{n}") for n, each in enumerate((lead_id, NOBODY))]
    assert await committer.submit_page(page, exchange="tests") == await committer.submit_page(page, exchange="tests")


async def test_what_a_defect_stops_is_its_own_error_and_harms_no_other(
    committer: Committer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_id = await known_lead(committer)

    def faulty(envelope: Envelope, *rest: Any) -> Any:
        if envelope.id == "m1":
            raise ZeroDivisionError
        return handle(envelope, *rest)

    monkeypatch.setattr("services.enrollment.round.handle", faulty)
    page = [said(TagLead(lead_id=lead_id, add=[f"t{n}"]), f"m{n}") for n in range(4)]
    answers = await committer.submit_page(page, exchange="tests")
    assert [type(each) for each in answers] == [Answer, ZeroDivisionError, Answer, Answer]


async def test_an_erasure_withdraws_a_task_that_was_opened_by_hand_in_the_same_batch(
    committer: Committer, store: EventStore
) -> None:
    lead_id, task_id = await known_lead(committer), derived_id("task", "by hand")
    task = OpenTask(task_id=task_id, lead_id=lead_id, title="Ring", due_at=SystemClock().now())
    page = [said(task, "task"), said(EraseLead(lead_id=lead_id), "erase")]
    await committer.submit_page(page, exchange="tests")
    assert [each.topic for each in store.load(task_id)] == ["task.opened.v1", "task.withdrawn.v1"]


async def test_nothing_given_is_answered_at_once_and_closing_waits_for_a_page(committer: Committer) -> None:
    assert await committer.submit_page([], exchange="tests") == []
    lead_id = await known_lead(committer)
    page = [said(TagLead(lead_id=lead_id, add=[f"t{n}"]), f"m{n}") for n in range(5)]
    waiting = asyncio.create_task(committer.submit_page(page, exchange="tests"))
    await asyncio.sleep(0)
    await committer.close()
    answers = await waiting
    assert all(isinstance(each, Answer) and each.ok for each in answers)
