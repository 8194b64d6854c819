"""The ledger under any interleaving of holders, stops, lapses, late answers and settlements.

What must hold: a dispatch is accepted by the provider at most once unless a refusal came between; nothing is sent
under a claim made after a stop was applied; a final state never changes; an answer given once is given for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.dispatcher.errors import HandOverRefused
from services.dispatcher.ledger import Ledger
from services.dispatcher.ledger_memory import MemoryLedger
from services.dispatcher.outcomes import DeferredEnding, InDoubtEnding, RejectedEnding, SentEnding, StoppedEnding
from services.dispatcher.states import Claim, State, Step
from tests.dispatcher.making import T, dressed, step_of, stop

R = TypeVar("R")
FINAL = {State.SENT, State.REJECTED, State.STOPPED}


class Holder:
    """A process at work on a claim, maybe frozen for as long as it likes."""

    def __init__(self, claim: Claim, stopped_before: bool) -> None:
        self.claim = claim
        self.stopped_before = stopped_before
        self.stage = "claimed"


class LedgerMachine(RuleBasedStateMachine):
    """One dispatch, many holders."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.ledger: Ledger = MemoryLedger()
        self.now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
        self.source = dressed()
        self.attempt = 1
        self.position = 10
        self.holders: list[Holder] = []
        self.accepted = 0
        self.final: State | None = None
        self.stopped_up_to = 0

    def wait(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return self.loop.run_until_complete(coroutine)

    def step(self, attempt: int | None = None) -> Step:
        return step_of(self.source.model_copy(update={"attempt": attempt or self.attempt}), position=self.position)

    @initialize()
    def begin(self) -> None:
        self.deliver(0)

    @rule(back=st.integers(0, 1))
    def deliver(self, back: int) -> None:
        result = self.wait(self.ledger.claim(self.step(max(1, self.attempt - back)), self.now))
        if isinstance(result, Claim):
            self.holders.append(Holder(result, result.position < self.stopped_up_to))

    @rule(seconds=st.sampled_from([1, 15, 31]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: any(h.stage == "claimed" for h in self.holders))
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from([h for h in self.holders if h.stage == "claimed"]))
        found = self.wait(self.ledger.stop_for(self.step().keys, holder.claim.position))
        assert found is not None or not holder.stopped_before, "a stop applied before the claim is seen"
        if found is not None:
            self.wait(self.ledger.conclude(holder.claim, StoppedEnding(found.reason), self.now))
            holder.stage = "gone"
            return
        holder.stage = "checked"

    @precondition(lambda self: any(h.stage == "checked" for h in self.holders))
    @rule(data=st.data())
    def hand_over(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from([h for h in self.holders if h.stage == "checked"]))
        try:
            self.wait(self.ledger.hand_over(holder.claim, {"raw": b"x"}, self.now))
            holder.stage = "handed"
        except HandOverRefused:
            holder.stage = "gone"

    @precondition(lambda self: any(h.stage == "handed" for h in self.holders))
    @rule(data=st.data(), answer=st.sampled_from(["sent", "deferred", "rejected", "lost", "dies", "takes_back"]))
    def answer(self, data: st.DataObject, answer: str) -> None:
        holder = data.draw(st.sampled_from([h for h in self.holders if h.stage == "handed"]))
        holder.stage = "gone"
        match answer:
            case "sent":
                self.accepted += 1
                self.wait(self.ledger.conclude(holder.claim, SentEnding(T), self.now))
            case "deferred":
                self.wait(self.ledger.conclude(holder.claim, DeferredEnding("451", fault=True), self.now))
            case "rejected":
                self.wait(self.ledger.conclude(holder.claim, RejectedEnding("550"), self.now))
            case "lost":
                self.accepted += 1
                self.wait(self.ledger.conclude(holder.claim, InDoubtEnding("no answer"), self.now))
            case "takes_back":
                self.wait(self.ledger.take_back(holder.claim, self.now))
            case _:
                self.accepted += 1

    @rule(renewing=st.booleans())
    def keep(self, renewing: bool) -> None:
        if renewing:
            self.wait(self.ledger.renew([h.claim for h in self.holders if h.stage != "gone"], self.now))
        else:
            self.wait(self.ledger.lapsed(self.now, 10))

    @rule()
    def halt(self) -> None:
        before = self.position + 1
        name = self.step().keys[0]
        key = self.wait(self.ledger.apply_stop(name, stop("enrollment", str(self.source.enrollment_id), before)))
        self.wait(self.ledger.stop_rows(name, key, self.now))
        self.stopped_up_to = before

    @rule(outcome=st.sampled_from(["sent", "not_sent"]))
    def settle(self, outcome: Any) -> None:
        self.wait(self.ledger.settle(self.source.dispatch_id, outcome, "member:1", T))

    @rule()
    def next_attempt(self) -> None:
        row = self.wait(self.ledger.row(self.source.dispatch_id))
        if row is not None and row.state is State.DEFERRED:
            self.attempt = row.attempt + 1
            self.position += 10

    @invariant()
    def accepted_once(self) -> None:
        assert self.accepted <= 1

    @invariant()
    def final_is_final(self) -> None:
        row = self.wait(self.ledger.row(self.source.dispatch_id))
        if self.final is not None:
            assert row is not None
            assert row.state is self.final
        if row is not None and row.state in FINAL:
            self.final = row.state
            assert row.ending is not None
        if row is not None and row.state is State.STOPPED:
            assert self.accepted == 0

    def teardown(self) -> None:
        self.loop.close()


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
