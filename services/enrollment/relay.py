"""The relay: follows the log in order and publishes it as frames.

Every event goes to its partition's frame on ``tendril.feed`` and to a frame per routing key on ``tendril.events``; a
due step goes dressed to ``tendril.dispatch``; what stops or settles goes to ``tendril.stops``, which is published
before the rest of its page. The relay's position is the highest below which all is confirmed; a restart repeats from
there with the same ids and the same chain of positions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import structlog

from services.enrollment.committer import Committer
from services.enrollment.dressing import DRESSED_TOPICS, Dresser, Undressable
from services.enrollment.stop_orders import orders_of
from services.enrollment.telemetry import RELAY_ALARMS, RELAY_BEHIND, RELAY_POSITION
from shared.clock import Clock
from shared.events.enrollment import RecordUndressed
from shared.events.envelope import Envelope, to_cloud_event
from shared.faults import crash_point
from shared.messaging.errors import BrokerAway, PublishUnknown
from shared.messaging.frames import encode_raw
from shared.messaging.publisher import Publisher
from shared.messaging.topology import event_key_of
from shared.persistence.eventstore import EventStore, RelayState, StoreUnavailable

log = structlog.get_logger()

#: Events in one go. A commit under load writes some 800; whole, they need half the frames.
PAGE = 1_000
#: Steps in one frame to a dispatcher: it acks a frame as a whole, and holds it at most 30 s.
DISPATCH_FRAME = 25
#: Bytes of events in one frame; an event that is larger goes alone. Consumers and the broker take several times that.
FRAME_BYTES = 2 << 20
#: The position is written at most this often while busy: repeating a quarter of a second is harmless and saves a sync
#: per page.
SAVE_EVERY_SECONDS = 0.25
RETRY_SECONDS = 1.0


class Outgoing(NamedTuple):
    """One AMQP message to publish."""

    exchange: str
    routing_key: str
    message_id: str
    body: bytes
    content_type: str
    headers: dict[str, Any] | None = None


class Packed(NamedTuple):
    """An event of the log, written as JSON once for all the frames it goes into."""

    position: int
    json: orjson.Fragment


class Cut(NamedTuple):
    """A frame of some of the events of a group: the numbers of its first and last one in it, and the body."""

    first: int
    last: int
    body: bytes
    content_type: str


@dataclass(slots=True)
class Page:
    """What one page of the log becomes. ``stops`` go first; each of ``chains`` holds frames that go one after the
    other; ``undressed`` are reported instead of sent."""

    stops: list[Outgoing]
    chains: list[list[Outgoing]]
    undressed: list[Envelope]
    state: RelayState


def frames_of(events: Sequence[dict[str, Any] | orjson.Fragment], before: int = 0) -> Iterator[Cut]:
    """The events, of which there is at least one, in their order and whole: in one frame, cut in halves while it is
    larger than ``FRAME_BYTES`` and holds more than one event. ``before``: how many the group has before them."""
    body, content_type = encode_raw(events)
    if len(body) <= FRAME_BYTES or len(events) == 1:
        yield Cut(before, before + len(events) - 1, body, content_type)
        return
    half = len(events) // 2
    yield from frames_of(events[:half], before)
    yield from frames_of(events[half:], before + half)


def _json(group: Sequence[Packed]) -> list[orjson.Fragment]:
    return [packed.json for packed in group]


def routing_key(event: dict[str, Any]) -> str:
    """The event's key on ``tendril.events``: with the channel where it has one."""
    data = event["data"]
    return event_key_of(event["type"], data.get("channel") if isinstance(data, dict) else None)


class Relay:
    """Run by the clerk alone. ``wake`` tells it that the log has grown."""

    def __init__(
        self, store: EventStore, publisher: Publisher, committer: Committer, dresser: Dresser, clock: Clock
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._committer = committer
        self._dresser = dresser
        self._clock = clock
        self._grown = asyncio.Event()
        self._state = RelayState(position=0, per_partition={})
        self._saved_position = 0
        self._saved_at = 0.0

    def wake(self) -> None:
        self._grown.set()

    @property
    def position(self) -> int:
        return self._state.position

    async def run(self) -> None:
        """Follows the log until cancelled. A broker or store that is away is waited for."""
        self._state = await asyncio.to_thread(self._store.relay_position)
        self._saved_position = self._state.position
        while True:
            try:
                if not await self._relay_page():
                    await self._save(force=True)
                    await self._wait_for_growth()
            except (BrokerAway, PublishUnknown, StoreUnavailable) as error:
                log.warning("relay_waits", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _wait_for_growth(self) -> None:
        self._grown.clear()
        await asyncio.to_thread(self._store.wait_for_events, self._state.position, 1.0)

    async def _relay_page(self) -> bool:
        events = await asyncio.to_thread(self._store.page_events, self._state.position, PAGE)
        if not events:
            RELAY_BEHIND.set(0)
            return False
        page = await asyncio.to_thread(self._compose, events)
        await self._publish([[stop] for stop in page.stops])
        crash_point("relay.after_stops")
        await self._publish(page.chains)
        crash_point("relay.after_publish")
        for envelope in page.undressed:
            await self._committer.submit(envelope, exchange=None)
        self._state = page.state
        RELAY_POSITION.set(page.state.position)
        await self._save(force=False)
        crash_point("relay.after_save")
        return True

    async def _publish(self, chains: Sequence[Sequence[Outgoing]]) -> None:
        results = await asyncio.gather(*(self._publish_chain(chain) for chain in chains), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _publish_chain(self, chain: Sequence[Outgoing]) -> None:
        for message in chain:
            await self._publish_one(message)

    async def _publish_one(self, message: Outgoing) -> None:
        await self._publisher.publish_body(
            message.exchange,
            message.routing_key,
            message.body,
            content_type=message.content_type,
            headers=message.headers,
            message_id=message.message_id,
            mandatory=message.exchange != "tendril.events",  # anyone may listen there, or nobody
        )

    async def _save(self, *, force: bool) -> None:
        now = self._clock.monotonic()
        if self._state.position == self._saved_position or (not force and now - self._saved_at < SAVE_EVERY_SECONDS):
            return
        await asyncio.to_thread(self._store.save_relay, self._state)
        self._saved_position, self._saved_at = self._state.position, now

    # --- in a thread --------------------------------------------------------------------------------------------------

    def _compose(self, events: Sequence[dict[str, Any]]) -> Page:
        due = [event for event in events if event["type"] in DRESSED_TOPICS and not event["data"].get("stopping")]
        if due:
            with self._store.reading_together():
                self._dresser.prepare(due)
        stops: list[Outgoing] = []
        by_partition: dict[str, list[Packed]] = {}
        by_key: dict[str, list[Packed]] = {}
        by_channel: dict[str, list[dict[str, Any]]] = {}
        undressed: list[Envelope] = []
        for event in events:
            packed = Packed(event["position"], orjson.Fragment(orjson.dumps(event)))
            by_partition.setdefault(event["partition"], []).append(packed)
            by_key.setdefault(routing_key(event), []).append(packed)
            if event.get("unreadable"):
                RELAY_ALARMS.labels("unreadable").inc()
                log.error("unreadable_event", position=event["position"], topic=event["type"])
                continue
            stops.extend(self._stops(event))
            if event["type"] in DRESSED_TOPICS and not event["data"].get("stopping"):
                self._dress(event, by_channel, undressed)
        chains, per_partition = self._feed(by_partition)
        chains += [self._events(key, group) for key, group in by_key.items()]
        chains += self._dispatches(by_channel)
        return Page(stops, chains, undressed, RelayState(position=events[-1]["position"], per_partition=per_partition))

    def _feed(self, by_partition: dict[str, list[Packed]]) -> tuple[list[list[Outgoing]], dict[int, int]]:
        per_partition = dict(self._state.per_partition)
        chains = []
        for partition, group in by_partition.items():
            number = int(partition)
            chain = []
            for cut in frames_of(_json(group)):
                previous, last = per_partition.get(number, 0), group[cut.last].position
                per_partition[number] = last
                headers = {"previous_position": previous, "last_position": last}
                name = f"feed-{partition}-{previous}-{last}"
                chain.append(Outgoing("tendril.feed", partition, name, cut.body, cut.content_type, headers))
            chains.append(chain)
        return chains, per_partition

    @staticmethod
    def _events(key: str, group: list[Packed]) -> list[Outgoing]:
        return [
            Outgoing(
                "tendril.events",
                key,
                f"events-{key}-{group[cut.first].position}-{group[cut.last].position}",
                cut.body,
                cut.content_type,
            )
            for cut in frames_of(_json(group))
        ]

    @staticmethod
    def _dispatches(by_channel: dict[str, list[dict[str, Any]]]) -> list[list[Outgoing]]:
        """Frames to dispatchers have no order among themselves."""
        return [
            [
                Outgoing(
                    "tendril.dispatch",
                    channel,
                    f"dispatch-{channel}-{group[start + cut.first]['id']}",
                    cut.body,
                    cut.content_type,
                )
            ]
            for channel, group in by_channel.items()
            for start in range(0, len(group), DISPATCH_FRAME)
            for cut in frames_of(group[start : start + DISPATCH_FRAME])
        ]

    def _stops(self, event: dict[str, Any]) -> list[Outgoing]:
        stops = []
        for index, (key, order) in enumerate(orders_of(event)):
            envelope = Envelope(
                id=f"{event['id']}:{index}",
                message=order,
                source="tendril/enrollment",
                time=self._clock.now(),
                organization_id=event["organizationid"],
                subject=UUID(event["subject"]),
                lead_id=UUID(event["leadid"]) if event.get("leadid") else None,
                position=event["position"],
                causation_id=event["id"],
            )
            stops.append(Outgoing("tendril.stops", key, envelope.id, *encode_raw([to_cloud_event(envelope)])))
        return stops

    def _dress(
        self, event: dict[str, Any], by_channel: dict[str, list[dict[str, Any]]], undressed: list[Envelope]
    ) -> None:
        try:
            channel, dressed = self._dresser.dress(event)
        except Undressable as error:
            RELAY_ALARMS.labels("undressed").inc()
            log.warning("step_not_dressed", position=event["position"], reason=error.reason)
            data = event["data"]
            undressed.append(
                Envelope(
                    id=f"{data['dispatch_id']}:{data['attempt']}:undressed",
                    message=RecordUndressed(
                        enrollment_id=UUID(event["subject"]),
                        execution=data["execution"],
                        attempt=data["attempt"],
                        dispatch_id=UUID(data["dispatch_id"]),
                        reason=error.reason,
                    ),
                    source="tendril/relay",
                    time=self._clock.now(),
                    organization_id=event["organizationid"],
                    subject=UUID(event["subject"]),
                    lead_id=UUID(event["leadid"]),
                    causation_id=event["id"],
                )
            )
        else:
            by_channel.setdefault(channel, []).append(dressed)
