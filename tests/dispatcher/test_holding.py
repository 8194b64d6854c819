"""What a process still knows when MongoDB goes away, and noticing a restored ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.dispatcher.attaching import Files
from services.dispatcher.channels.null import NullChannel
from services.dispatcher.epoch import Epoch
from services.dispatcher.errors import LedgerAway
from services.dispatcher.handler import StepHandler
from services.dispatcher.holding import PATIENCE_SECONDS, Holdings
from services.dispatcher.ledger import Held
from services.dispatcher.ledger_memory import MemoryLedger
from services.dispatcher.outcomes import Ending, SentEnding
from services.dispatcher.preparing import Preparer
from services.dispatcher.reports import Reporter
from services.dispatcher.states import Claim, Row, State
from shared.clock import ManualClock
from shared.events import Envelope, InvalidMessage
from shared.events.enrollment import RecordDeferred, RecordSent
from shared.messaging import frames
from shared.messaging.delivery import Delivery
from shared.persistence.mongo import connect
from shared.tokens import Tokens
from tests.dispatcher.making import Store, T, dressed, envelope, step_of
from tests.support.waiting import eventually


class Outbox:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.outcomes: list[Envelope] = []

    async def publish(self, _exchange: str, _key: str, envelopes: list[Envelope]) -> None:
        self.outcomes += envelopes


class AwayLedger(MemoryLedger):
    """Loses the answer to the named change: it takes place, and the caller sees an outage."""

    def __init__(self) -> None:
        super().__init__()
        self.away: set[str] = set()

    async def hand_over(self, claim: Claim, message: dict[str, Any], now: datetime) -> None:
        await super().hand_over(claim, message, now)
        if "hand_over" in self.away:
            raise LedgerAway("gone")

    async def conclude(self, claim: Claim, ending: Ending, now: datetime) -> Ending | None:
        if "conclude" in self.away:
            raise LedgerAway("gone")
        return await super().conclude(claim, ending, now)

    async def take_back(self, claim: Claim, now: datetime) -> None:
        if "take_back" in self.away:
            raise LedgerAway("gone")
        await super().take_back(claim, now)


class Bench:
    """A handler over the ledger, without broker or network."""

    def __init__(self) -> None:
        self.clock = ManualClock(T)
        self.ledger = AwayLedger()
        self.outbox = Outbox()
        self.lapsed: list[Row] = []
        reporter = Reporter(self.outbox, self.clock)  # type: ignore[arg-type]  # the part of a publisher it uses

        async def note(rows: list[Row]) -> None:
            self.lapsed += rows

        self.holdings = Holdings(self.ledger, self.clock, note, renew_seconds=0.02)
        preparer = Preparer(
            Tokens(["0123456789abcdef0123"]), "https://t.example", "in.example", self.clock, Files(Store())
        )
        self.handler = StepHandler(
            self.ledger, self.holdings, reporter, preparer, {"email": NullChannel()}, self.clock, hold_seconds=0.0
        )

    async def handle(self, *steps: Any, headers: dict[str, Any] | None = None) -> Delivery:
        envelopes = [envelope(step) for step in steps]
        body, content_type = frames.encode(envelopes)
        delivery = Delivery(
            envelopes=envelopes, queue="q", exchange="", routing_key="email", headers=headers or {}, message_id="m",
            reply_to=None, correlation_id=None, redelivered=False, body=body, content_type=content_type,
            publisher=self.outbox,  # type: ignore[arg-type]
        )  # fmt: skip
        await self.handler.handle(delivery)
        return delivery


async def test_an_outage_at_the_hand_over_puts_nothing_in_doubt() -> None:
    bench, step = Bench(), dressed()
    bench.ledger.away = {"hand_over", "take_back"}
    with pytest.raises(LedgerAway):
        await bench.handle(step)
    assert bench.ledger.rows[step.dispatch_id].state is State.HANDING_OVER
    bench.clock.advance(timedelta(minutes=5))
    bench.holdings.outage()
    bench.holdings.start()
    bench.ledger.away = set()
    await eventually(lambda: bench.ledger.rows[step.dispatch_id].state is State.CLAIMED)
    await bench.handle(step)
    await bench.holdings.close()
    [outcome] = bench.outbox.outcomes
    assert isinstance(outcome.message, RecordSent)
    assert bench.lapsed == []


async def test_an_answer_that_met_an_outage_is_kept_and_brought() -> None:
    bench, step = Bench(), dressed()
    bench.ledger.away = {"conclude"}
    with pytest.raises(LedgerAway):
        await bench.handle(step)
    bench.holdings.start()
    bench.ledger.away = set()
    await eventually(lambda: bench.ledger.rows[step.dispatch_id].state is State.SENT)
    await bench.handle(step)
    await bench.holdings.close()
    [outcome] = bench.outbox.outcomes
    assert isinstance(outcome.message, RecordSent)


async def test_leases_of_others_are_not_judged_right_after_an_outage() -> None:
    bench, step = Bench(), step_of()
    claim = await bench.ledger.claim(step, bench.clock.wall())
    assert isinstance(claim, Claim)
    await bench.ledger.hand_over(claim, {}, bench.clock.wall())
    bench.clock.advance(timedelta(seconds=31))
    bench.holdings.outage()
    assert isinstance(await bench.ledger.claim(step, bench.clock.wall(), bench.holdings.lapse()), Held)
    bench.clock.advance(timedelta(seconds=PATIENCE_SECONDS + 1))
    assert not isinstance(await bench.ledger.claim(step, bench.clock.wall(), bench.holdings.lapse()), Held)


async def test_the_sweep_reports_what_nobody_asks_about() -> None:
    bench, step = Bench(), step_of()
    claim = await bench.ledger.claim(step, bench.clock.wall())
    assert isinstance(claim, Claim)
    await bench.ledger.hand_over(claim, {}, bench.clock.wall())
    bench.clock.advance(timedelta(seconds=31))
    bench.holdings.start()
    await eventually(lambda: bench.lapsed)
    await bench.holdings.close()
    assert [row.state for row in bench.lapsed] == [State.IN_DOUBT]
    assert await bench.ledger.conclude(claim, SentEnding(T), bench.clock.wall()) == SentEnding(T)


async def test_living_claims_are_renewed() -> None:
    bench, step = Bench(), step_of()
    claim = await bench.ledger.claim(step, bench.clock.wall())
    assert isinstance(claim, Claim)
    bench.holdings.hold(claim)
    bench.clock.advance(timedelta(seconds=25))
    bench.holdings.start()
    later = bench.clock.wall() + timedelta(seconds=29)
    await eventually(lambda: (bench.ledger.rows[step.dispatch_id].until or T) > later)
    await bench.holdings.close()


async def test_a_stale_step_is_deferred_without_fault() -> None:
    bench = Bench()
    await bench.handle(dressed(valid_until=T))
    [outcome] = bench.outbox.outcomes
    assert isinstance(outcome.message, RecordDeferred)
    assert (outcome.message.reason, outcome.message.fault) == ("stale", False)


async def test_a_bad_member_does_not_take_its_frame_along() -> None:
    bench = Bench()
    good = envelope(dressed())
    bad = Envelope(id="x", message=dressed(), source="s", time=T, organization_id=None)
    delivery = Delivery(
        envelopes=[good, bad], queue="q", exchange="", routing_key="email", headers={}, message_id="m", reply_to=None,
        correlation_id=None, redelivered=False, body=b"", content_type=None, publisher=bench.outbox,  # type: ignore[arg-type]
    )  # fmt: skip
    await bench.handler.handle(delivery)
    assert len(bench.outbox.outcomes) == len(delivery.unreadable) == 1


async def test_replayed_steps_are_refused() -> None:
    bench = Bench()
    with pytest.raises(InvalidMessage, match="never sent"):
        await bench.handle(dressed(), headers={"replay": True})
    assert bench.outbox.outcomes == []


async def test_a_ledger_older_than_its_witness_is_noticed(mongo_url: str, tmp_path: Path) -> None:
    client = connect(mongo_url)
    database = client.database(f"test{uuid4().hex[:12]}_ledger")
    first, second = Epoch(database, tmp_path / "ledger.json"), Epoch(database, tmp_path / "ledger.json")
    noon = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    for epoch in (first, second, first):
        assert await epoch.raise_count(noon) is None
    meta = database.collection("meta")
    await meta.update_one({"_id": "ledger"}, {"$set": {"count": 1}})
    assert await second.raise_count(noon) == noon
    assert await first.raise_count(noon + timedelta(hours=1)) == noon, "noticed once, kept for good"
    await client.drop_database(database.name)
    assert await first.raise_count(noon + timedelta(hours=2)) == noon + timedelta(hours=2), "another ledger altogether"
    (tmp_path / "ledger.json").write_text("nonsense")
    assert await first.raise_count(noon) == noon + timedelta(hours=2)
    await client.drop_database(database.name)
    await client.close()
