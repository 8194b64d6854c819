"""What the relay publishes of a page whose events are large: frames within bounds, in order, with nothing missing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.enrollment import relay as relay_module
from services.enrollment.committer import Committer
from services.enrollment.dressing import Dresser
from services.enrollment.relay import Relay, frames_of
from services.enrollment.states import States
from shared.clock import SystemClock
from shared.events import Envelope
from shared.events.lead import LeadCaptured
from shared.ids import new_id
from shared.messaging.frames import MAX_FRAME_BYTES, encode_raw, raw_events
from shared.persistence.eventstore import EventStore, open_url
from tests.eventstore.builders import MASTER_KEY, NOW, placed
from tests.support.waiting import eventually

LIMIT = 50_000


class Sent(NamedTuple):
    exchange: str
    key: str
    message_id: str
    size: int
    headers: dict[str, Any]
    events: list[dict[str, Any]]


class Broker:
    """Confirms a message some turns later. ``together``: of one exchange and key, those on their way at once."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.together = 0
        self._on_their_way: defaultdict[tuple[str, str], int] = defaultdict(int)

    async def publish_body(self, exchange: str, key: str, body: bytes, **options: Any) -> None:
        self._on_their_way[exchange, key] += 1
        self.together = max(self.together, self._on_their_way[exchange, key])
        for _ in range(3):
            await asyncio.sleep(0)
        self._on_their_way[exchange, key] -= 1
        events = raw_events(body, options["content_type"])
        self.sent.append(Sent(exchange, key, options["message_id"], len(body), options["headers"] or {}, events))

    def of(self, exchange: str) -> dict[str, list[Sent]]:
        found: dict[str, list[Sent]] = {}
        for each in self.sent:
            if each.exchange == exchange:
                found.setdefault(each.key, []).append(each)
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with closing(open_url(f"sqlite:///{tmp_path}/events.db", master_key=MASTER_KEY)) as opened:
        yield opened


def captured(lead_id: UUID, version: int, size: int) -> Envelope:
    message = LeadCaptured(email="ada@example.com", custom_fields={"text": "x" * size}, occurred_at=NOW)
    return placed(message, lead_id, version, lead_id=lead_id)


async def relayed(store: EventStore) -> Broker:
    """What was published once the relay had followed the log to its end."""
    broker, clock = Broker(), SystemClock()
    states = States(store, shared=False)
    committer = Committer(store, states, clock, partitions=16)
    relay = Relay(store, broker, committer, Dresser(store, states, committer.versions), clock)  # type: ignore[arg-type]
    running = asyncio.create_task(relay.run())
    try:
        await eventually(lambda: relay.position == store.last_position() or running.done(), timeout_seconds=30)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert relay.position == store.last_position()
    return broker


async def test_large_events_are_cut_into_frames_by_their_bytes(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "FRAME_BYTES", LIMIT)
    leads = [new_id() for _ in range(3)]
    store.append([captured(lead, version, 9_000) for version in range(1, 30) for lead in leads])
    store.append([captured(leads[0], 30, 3 * LIMIT), captured(leads[0], 31, 10)])
    log = store.page_events(0, 1_000)
    broker = await relayed(store)
    assert broker.together == 1, "a frame waits until the one before it is confirmed"
    assert len({each.message_id for each in broker.sent}) == len(broker.sent)
    for each in broker.sent:
        assert each.size <= LIMIT or len(each.events) == 1, "only an event that is too large goes alone"
    for partition, frames in broker.of("tendril.feed").items():
        assert len(frames) > 5
        assert [event for frame in frames for event in frame.events] == [
            event for event in log if event["partition"] == partition
        ]
        before = 0
        for frame in frames:
            assert frame.headers == {"previous_position": before, "last_position": frame.events[-1]["position"]}
            before = frame.events[-1]["position"]
    [frames] = broker.of("tendril.events").values()
    assert [event for frame in frames for event in frame.events] == log


async def test_events_of_the_usual_size_share_a_frame_as_before(store: EventStore) -> None:
    lead = new_id()
    store.append([captured(lead, version, 100) for version in range(1, 201)])
    broker = await relayed(store)
    assert [(each.exchange, len(each.events)) for each in broker.sent] == [
        ("tendril.feed", 200),
        ("tendril.events", 200),
    ]


def test_every_consumer_takes_a_frame_of_the_largest_size() -> None:
    assert 2 * relay_module.FRAME_BYTES <= MAX_FRAME_BYTES


@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=40))
def test_frames_hold_everything_in_order_and_only_what_is_too_large_goes_alone(sizes: list[int]) -> None:
    events = [{"position": number, "text": "x" * size} for number, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay_module, "FRAME_BYTES", 2_000)
        cuts = list(frames_of(events))
    held = [raw_events(cut.body, cut.content_type) for cut in cuts]
    assert [event for frame in held for event in frame] == events
    assert [(frame[0]["position"], frame[-1]["position"]) for frame in held] == [(cut.first, cut.last) for cut in cuts]
    assert all(len(cut.body) <= 2_000 or cut.first == cut.last for cut in cuts)
    assert (len(cuts) == 1) == (len(encode_raw(events)[0]) <= 2_000 or len(events) == 1)
