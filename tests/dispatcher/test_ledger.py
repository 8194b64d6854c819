"""One contract suite for both ledgers, with hand-written expectations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.dispatcher.errors import HandOverRefused, LedgerAway
from services.dispatcher.ledger import RESTORED, Answered, Dropped, Held, Ledger
from services.dispatcher.ledger_memory import MemoryLedger
from services.dispatcher.ledger_mongo import MongoLedger
from services.dispatcher.outcomes import (
    DeferredEnding,
    InDoubtEnding,
    RejectedEnding,
    SentEnding,
    StoppedEnding,
    UndressedEnding,
    ending_from_document,
)
from services.dispatcher.states import Claim, State, Step
from services.dispatcher.stops import key_name
from shared.persistence.mongo import connect
from tests.dispatcher.making import LATER, LEAD, ORGANIZATION, SEQUENCE, T, dressed, step_of, stop

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MESSAGE = {"to": "ada@example.com", "raw": b"x"}
SENT = SentEnding(T, "<id@x>", "250 taken")
WAIT = DeferredEnding("window", fault=False)


@pytest.fixture(params=["memory", "mongo"])
async def ledger(request: pytest.FixtureRequest) -> AsyncIterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    client = connect(request.getfixturevalue("mongo_url"))
    ledger = MongoLedger(client.database(f"test{uuid4().hex[:12]}_ledger"), owner="test")
    await ledger.start()
    yield ledger
    await client.drop_database(ledger._dispatches._collection.database.name)
    await client.close()


async def claimed(ledger: Ledger, step: Step, now: datetime = NOW) -> Claim:
    claim = await ledger.claim(step, now)
    assert isinstance(claim, Claim)
    return claim


async def state(ledger: Ledger, step: Step) -> State | None:
    row = await ledger.row(step.dispatch_id)
    return None if row is None else row.state


async def test_a_step_goes_from_claimed_to_sent(ledger: Ledger) -> None:
    step = step_of()
    claim = await claimed(ledger, step)
    assert await state(ledger, step) is State.CLAIMED
    await ledger.hand_over(claim, MESSAGE, NOW)
    assert await state(ledger, step) is State.HANDING_OVER
    assert await ledger.conclude(claim, SENT, NOW) == SENT
    row = await ledger.row(step.dispatch_id)
    assert row is not None
    assert row.state is State.SENT
    assert row.message == MESSAGE
    assert ending_from_document(row.ending) == SENT


async def test_a_sent_step_is_answered_from_its_row_whatever_the_attempt(ledger: Ledger) -> None:
    source = dressed()
    claim = await claimed(ledger, step_of(source))
    await ledger.hand_over(claim, MESSAGE, NOW)
    await ledger.conclude(claim, SENT, NOW)
    for attempt in (1, 2):
        answer = await ledger.claim(step_of(source.model_copy(update={"attempt": attempt})), NOW + LATER)
        assert isinstance(answer, Answered)
        assert answer.row.ending is not None
        assert ending_from_document(answer.row.ending) == SENT


async def test_a_living_claim_holds_and_a_lapsed_one_is_taken_with_a_new_token(ledger: Ledger) -> None:
    step = step_of()
    first = await claimed(ledger, step)
    assert isinstance(await ledger.claim(step, NOW + timedelta(seconds=29)), Held)
    second = await claimed(ledger, step, NOW + LATER)
    assert second.token != first.token
    with pytest.raises(HandOverRefused):
        await ledger.hand_over(first, MESSAGE, NOW + LATER)
    await ledger.hand_over(second, MESSAGE, NOW + LATER)


async def test_a_lease_counts_as_run_out_only_before_the_given_moment(ledger: Ledger) -> None:
    step = step_of()
    await claimed(ledger, step)
    assert isinstance(await ledger.claim(step, NOW + LATER, NOW + timedelta(seconds=20)), Held)


async def test_renewal_lengthens_a_lease_and_not_that_of_another(ledger: Ledger) -> None:
    step, other = step_of(), step_of()
    claim, stale = await claimed(ledger, step), await claimed(ledger, other)
    taken = await claimed(ledger, other, NOW + LATER)
    await ledger.renew([claim, stale], NOW + LATER)
    assert isinstance(await ledger.claim(step, NOW + timedelta(seconds=60)), Held)
    await ledger.hand_over(taken, MESSAGE, NOW + LATER)


async def test_a_deferred_step_takes_only_a_later_attempt(ledger: Ledger) -> None:
    source = dressed()
    claim = await claimed(ledger, step_of(source))
    assert await ledger.conclude(claim, WAIT, NOW) == WAIT
    again = await ledger.claim(step_of(source), NOW)
    assert isinstance(again, Answered)
    later = await claimed(ledger, step_of(source.model_copy(update={"attempt": 2}), position=20))
    assert (later.attempt, later.position) == (2, 20)
    assert isinstance(await ledger.claim(step_of(source), NOW + LATER), Dropped)


async def test_an_undressed_step_may_be_dressed_later(ledger: Ledger) -> None:
    source = dressed()
    claim = await claimed(ledger, step_of(source))
    ending = UndressedEnding("no value", ("nickname",))
    assert await ledger.conclude(claim, ending, NOW) == ending
    answer = await ledger.claim(step_of(source), NOW)
    assert isinstance(answer, Answered)
    assert ending_from_document(answer.row.ending) == ending
    await claimed(ledger, step_of(source.model_copy(update={"attempt": 2})))


async def test_a_refusal_after_the_dot_keeps_the_message_for_the_next_attempt(ledger: Ledger) -> None:
    source = dressed()
    claim = await claimed(ledger, step_of(source))
    await ledger.hand_over(claim, MESSAGE, NOW)
    await ledger.conclude(claim, DeferredEnding("451", fault=True), NOW)
    later = await claimed(ledger, step_of(source.model_copy(update={"attempt": 2})))
    assert later.message == MESSAGE


async def test_a_lapsed_hand_over_is_in_doubt_and_a_late_answer_settles_it(ledger: Ledger) -> None:
    step = step_of()
    claim = await claimed(ledger, step)
    await ledger.hand_over(claim, MESSAGE, NOW)
    assert isinstance(await ledger.claim(step, NOW + timedelta(seconds=29)), Held)
    answer = await ledger.claim(step, NOW + LATER)
    assert isinstance(answer, Answered)
    assert answer.row.state is State.IN_DOUBT
    assert await ledger.conclude(claim, SENT, NOW + LATER) == SENT
    assert await state(ledger, step) is State.SENT


async def test_a_late_refusal_ends_a_doubt_as_rejected(ledger: Ledger) -> None:
    step = step_of()
    claim = await claimed(ledger, step)
    await ledger.hand_over(claim, MESSAGE, NOW)
    await ledger.conclude(claim, InDoubtEnding("no answer"), NOW)
    assert await ledger.conclude(claim, DeferredEnding("451", fault=True), NOW) == RejectedEnding("451")
    assert await state(ledger, step) is State.REJECTED


async def test_the_sweep_doubts_each_lapsed_hand_over_once(ledger: Ledger) -> None:
    step, living = step_of(), step_of()
    claim = await claimed(ledger, step)
    await ledger.hand_over(claim, MESSAGE, NOW)
    await claimed(ledger, living)
    assert await ledger.lapsed(NOW + timedelta(seconds=29), 100) == []
    [row] = await ledger.lapsed(NOW + LATER, 100)
    assert (row.dispatch_id, row.state) == (step.dispatch_id, State.IN_DOUBT)
    assert await ledger.lapsed(NOW + LATER, 100) == []


async def test_a_doubt_is_settled_once(ledger: Ledger) -> None:
    step = step_of()
    claim = await claimed(ledger, step)
    await ledger.hand_over(claim, MESSAGE, NOW)
    await ledger.conclude(claim, InDoubtEnding("no answer"), NOW)
    settled = await ledger.settle(step.dispatch_id, "not_sent", "member:1", T)
    assert settled is not None
    assert settled.state is State.REJECTED
    again = await ledger.settle(step.dispatch_id, "sent", "opened", T)
    assert again is not None
    assert again.state is State.REJECTED
    assert await ledger.settle(uuid4(), "sent", "opened", T) is None


async def test_taking_back_frees_the_row_at_once(ledger: Ledger) -> None:
    step = step_of()
    claim = await claimed(ledger, step)
    await ledger.hand_over(claim, MESSAGE, NOW)
    await ledger.take_back(claim, NOW)
    second = await claimed(ledger, step, NOW + timedelta(seconds=1))
    await ledger.take_back(claim, NOW + timedelta(seconds=2))
    await ledger.hand_over(second, MESSAGE, NOW + timedelta(seconds=2))


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("enrollment", None),
        ("lead", f"{LEAD}:email"),
        ("address", "aa"),
        ("domain", "dd"),
        ("sequence", str(SEQUENCE)),
        ("sender", f"{ORGANIZATION}:s1"),
        ("organization", ORGANIZATION),
    ],
)
async def test_a_stop_of_every_scope_holds_below_its_position_only(ledger: Ledger, scope: Any, key: str | None) -> None:
    below, at = step_of(position=10), step_of(position=11)
    key = key or str(below.enrollment_id)
    await ledger.apply_stop(key_name(scope, key, ORGANIZATION), stop(scope, key, 11))
    found = await ledger.stop_for(below.keys, 10)
    assert found is not None
    assert found.reason == "paused"
    assert await ledger.stop_for(at.keys, 11) is None


async def test_a_stop_moves_claimed_and_deferred_rows_and_no_other(ledger: Ledger) -> None:
    claimed_step, deferred, handed, later = step_of(), step_of(), step_of(), step_of(position=50)
    holder = await claimed(ledger, claimed_step)
    await ledger.conclude(await claimed(ledger, deferred), WAIT, NOW)
    too_late = await claimed(ledger, handed)
    await ledger.hand_over(too_late, MESSAGE, NOW)
    await claimed(ledger, later)
    name = key_name("sequence", str(SEQUENCE), ORGANIZATION)
    key = await ledger.apply_stop(name, stop("sequence", str(SEQUENCE), 20))
    rows = await ledger.stop_rows(name, key, NOW)
    assert {row.dispatch_id for row in rows} == {claimed_step.dispatch_id, deferred.dispatch_id}
    assert {row.state for row in rows} == {State.STOPPED}
    assert await ledger.stop_rows(name, key, NOW) == []
    with pytest.raises(HandOverRefused):
        await ledger.hand_over(holder, MESSAGE, NOW)
    assert await ledger.conclude(too_late, SENT, NOW) == SENT
    assert await state(ledger, later) is State.CLAIMED


async def test_the_holder_of_a_stopped_row_learns_that_it_was_stopped(ledger: Ledger) -> None:
    step = step_of()
    claim = await claimed(ledger, step)
    name = step.keys[0]
    key = await ledger.apply_stop(name, stop("enrollment", str(step.enrollment_id), 11))
    await ledger.stop_rows(name, key, NOW)
    assert await ledger.conclude(claim, WAIT, NOW) == StoppedEnding("paused")


async def test_a_provisional_stop_holds_until_it_is_confirmed(ledger: Ledger) -> None:
    step = step_of(position=1000)
    name = key_name("lead", f"{LEAD}:email", ORGANIZATION)
    await ledger.apply_stop(name, stop("lead", f"{LEAD}:email", None))
    assert await ledger.stop_for(step.keys, 1000) is not None
    await ledger.apply_stop(name, stop("lead", f"{LEAD}:email", 900, at=T + timedelta(seconds=5)))
    assert await ledger.stop_for(step.keys, 899) is not None
    assert await ledger.stop_for(step.keys, 1000) is None
    await ledger.apply_stop(name, stop("lead", f"{LEAD}:email", None, at=T - timedelta(minutes=5)))
    assert await ledger.stop_for(step.keys, 1000) is None, "it came late: the log had confirmed it already"


async def test_a_reminder_for_an_unknown_step_is_held_by_stops_since_it_was_due(ledger: Ledger) -> None:
    reminder = step_of(dressed(reminder=True), position=5000)
    name = key_name("sequence", str(SEQUENCE), ORGANIZATION)
    await ledger.apply_stop(name, stop("sequence", str(SEQUENCE), 100, at=T - timedelta(hours=1)))
    claim = await claimed(ledger, reminder)
    assert await ledger.stop_for(reminder.keys, claim.position, claim.since) is None
    await ledger.apply_stop(name, stop("sequence", str(SEQUENCE), 200, at=T + timedelta(hours=1)))
    assert await ledger.stop_for(reminder.keys, claim.position, claim.since) is not None


async def test_a_step_that_was_never_claimed_is_stopped_before_it_comes(ledger: Ledger) -> None:
    step = step_of()
    assert (await ledger.stop_unseen(step, "paused", NOW)).state is State.STOPPED
    answer = await ledger.claim(step, NOW)
    assert isinstance(answer, Answered)
    assert answer.row.state is State.STOPPED
    other = step_of()
    await claimed(ledger, other)
    assert (await ledger.stop_unseen(other, "paused", NOW)).state is State.CLAIMED


async def test_a_restored_ledger_doubts_unknown_steps_decided_before(ledger: Ledger) -> None:
    known = step_of()
    await ledger.conclude(await claimed(ledger, known), WAIT, NOW)
    await ledger.mark_restored(T + timedelta(hours=1))
    for before in (step_of(), step_of(dressed(reminder=True), at=T + timedelta(hours=2))):
        answer = await ledger.claim(before, NOW)
        assert isinstance(answer, Answered)
        assert ending_from_document(answer.row.ending) == InDoubtEnding(RESTORED)
    assert (await ledger.stop_unseen(step_of(), "paused", NOW)).state is State.IN_DOUBT
    assert isinstance(await ledger.claim(known, NOW), Answered)
    await claimed(ledger, step_of(at=T + timedelta(hours=2)))


async def test_forgetting_clears_content_and_keeps_state(ledger: Ledger) -> None:
    step = step_of()
    claim = await claimed(ledger, step)
    await ledger.hand_over(claim, MESSAGE, NOW)
    await ledger.conclude(claim, SENT, NOW)
    assert await ledger.forget(LEAD) == 1
    row = await ledger.row(step.dispatch_id)
    assert row is not None
    assert (row.state, row.message) == (State.SENT, None)
    assert ending_from_document(row.ending) == SentEnding(T, "<id@x>", None)


async def test_of_many_claims_at_once_one_wins(ledger: Ledger) -> None:
    step = step_of()
    results = await asyncio.gather(*(ledger.claim(step, NOW) for _ in range(40)))
    assert sum(isinstance(result, Claim) for result in results) == 1
    assert sum(isinstance(result, Held) for result in results) == 39


async def test_claims_and_stops_at_once_never_both_win(ledger: Ledger) -> None:
    name = key_name("sequence", str(SEQUENCE), ORGANIZATION)
    steps = [step_of() for _ in range(60)]

    async def work(step: Step) -> bool:
        claim = await claimed(ledger, step)
        if await ledger.stop_for(step.keys, claim.position) is not None:
            await ledger.conclude(claim, StoppedEnding("paused"), NOW)
            return False
        try:
            await ledger.hand_over(claim, MESSAGE, NOW)
        except HandOverRefused:
            return False
        return True

    async def halt() -> int:
        key = await ledger.apply_stop(name, stop("sequence", str(SEQUENCE), 11))
        return len(await ledger.stop_rows(name, key, NOW))

    tasks = [asyncio.create_task(work(step)) for step in steps[:30]]
    halting = asyncio.create_task(halt())
    tasks += [asyncio.create_task(work(step)) for step in steps[30:]]
    handed = [await task for task in tasks]
    await halting
    assert not any([await work(step) for step in (step_of(), step_of())])
    for step, went in zip(steps, handed, strict=True):
        assert await state(ledger, step) is (State.HANDING_OVER if went else State.STOPPED)


async def test_a_missing_mongodb_is_told_apart() -> None:
    client = connect("mongodb://127.0.0.1:1/?directConnection=true", server_selection_seconds=0.05)
    ledger = MongoLedger(client.database("nowhere"), owner="test")
    with pytest.raises(LedgerAway):
        await ledger.claim(step_of(), NOW)
    with pytest.raises(LedgerAway):
        await ledger.apply_stop("x", stop("sequence", "x", 1))
    await client.close()


async def test_stops_never_scan(mongo_url: str) -> None:
    client = connect(mongo_url)
    database = client.database(f"test{uuid4().hex[:12]}_ledger")
    ledger = MongoLedger(database, owner="test")
    await ledger.start()
    await claimed(ledger, step_of())
    for query in (
        {"keys": "x", "open": True, "position": {"$lt": 5}},
        {"state": "handing_over", "claim.until": {"$lte": NOW}},
        {"lead_id": "x"},
    ):
        plan = await database.collection("dispatches").explain(query)
        assert "IXSCAN" in str(plan["queryPlanner"]["winningPlan"])
    await client.drop_database(database.name)
    await client.close()
