"""The way out: a signal is published and confirmed, or synced to disk, before its bearer is answered.

Hot routes share frames: whoever comes while frames are on their way joins the next one. When the broker is away, or
slower than a second, the same messages with the same ids go to the spool; a drainer brings them to the broker, in
order, once it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from services.tracker import telemetry
from services.tracker.errors import NotDurable, SpoolBroken, SpoolFull
from services.tracker.spool import Record, Spool, read_segment
from shared.ending import ended
from shared.events import Envelope, to_cloud_event
from shared.faults import crash_point
from shared.messaging import frames
from shared.messaging.connection import pauses
from shared.messaging.errors import MessagingError
from shared.messaging.topology import exchange_of, routing_key_of

FRAME_SIGNALS = 200
FRAME_KEY = "signal.frame"
#: How long the first signal of a frame waits for company.
LINGER_SECONDS = 0.002
#: Frames on their way at once; above it the next one gathers, which makes frames larger under load.
FRAMES_IN_FLIGHT = 4
#: A person waits no longer than this for the broker.
CONFIRM_SECONDS = 1.0
#: The drainer has time.
DRAIN_CONFIRM_SECONDS = 10.0
#: A frame from disk holds no more than this (replies may be long).
DRAIN_FRAME_BYTES = 512 << 10
#: How often the spools of ended processes are looked for.
ADOPT_SECONDS = 30.0
#: Signals kept in memory while broker and disk both take nothing.
MAX_HOMELESS = 10_000

_log = structlog.get_logger(__name__)


class Confirming(Protocol):
    """What is needed of a publisher."""

    @property
    def is_up(self) -> bool:
        """Whether there is a connection to publish on."""

    async def wait_up(self) -> None:
        """Returns once there is a connection."""

    async def publish_body(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        *,
        content_type: str,
        message_id: str | None,
        timeout_seconds: float | None = None,
    ) -> None:
        """Returns after the broker's confirm; raises MessagingError."""


@dataclass(slots=True)
class _Batch:
    records: list[Record] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Outbox:
    """Takes envelopes and returns once they are durable. Belongs to one event loop."""

    def __init__(self, publisher: Confirming, spool: Spool) -> None:
        self._publisher = publisher
        self._spool = spool
        self._gathering: _Batch | None = None
        self._linger_over = False
        self._in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._suspended = not spool.is_empty  #: the broker has to prove itself on the spool first
        self._work = asyncio.Event()
        self._homeless: deque[Record] = deque()
        self._drainer: asyncio.Task[None] | None = None
        self.broken = asyncio.Event()  #: set when the disk failed to sync: the process must end

    async def start(self) -> None:
        """Begins to drain what an earlier run left."""
        self._work.set()
        self._drainer = asyncio.create_task(self._drain_for_ever(), name="spool drainer")

    async def close(self) -> None:
        """Finishes what is on its way; what the broker does not take within a second stays on disk."""
        while self._gathering is not None or self._tasks:
            self._flush(now=True)
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await ended(self._drainer)
        if self._homeless:
            records = list(self._homeless)
            with contextlib.suppress(SpoolFull, SpoolBroken):
                await asyncio.to_thread(self._spool.append, records)

    @property
    def spool_waits(self) -> bool:
        """Whether anything is still on its way by disk or memory."""
        return bool(self._homeless) or not self._spool.is_empty

    async def put(self, signal: Record) -> None:
        """For hot routes: returns once the signal is durable in a shared frame. Never raises: when neither broker nor
        disk takes it, it stays in memory and the person is answered all the same."""
        batch = self._gathering
        if batch is None:
            batch = self._gathering = _Batch()
            self._linger_over = False
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._lingered, batch)
        batch.records.append(signal)
        if len(batch.records) >= FRAME_SIGNALS:
            self._flush(now=True)
        await batch.done.wait()

    async def hand_over(self, envelopes: Sequence[Envelope]) -> None:
        """Returns once all of them are durable; they are published one by one, in this order. Raises NotDurable, and
        then some may have arrived: try again with the same ids."""
        left = [record_of(envelope) for envelope in envelopes]
        while left and not self._suspended and self._publisher.is_up:
            if not await self._confirmed(left[:1], CONFIRM_SECONDS):
                break
            crash_point("tracker.one_published")
            left.pop(0)
        if left:
            await self._to_disk(left)

    # --- frames ----------------------------------------------------------------------------------------------

    def _lingered(self, batch: _Batch) -> None:
        if batch is self._gathering:
            self._linger_over = True
            self._flush()

    def _flush(self, *, now: bool = False) -> None:
        batch = self._gathering
        if batch is None or not (now or (self._linger_over and self._in_flight < FRAMES_IN_FLIGHT)):
            return
        self._gathering = None
        self._in_flight += 1
        task = asyncio.create_task(self._deliver(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, batch: _Batch) -> None:
        try:
            telemetry.BATCH_SIZE.observe(len(batch.records))
            if not await self._published(batch.records):
                try:
                    await self._to_disk(batch.records)
                except NotDurable:
                    self._keep(batch.records)
        finally:
            self._in_flight -= 1
            batch.done.set()
            self._flush()

    async def _published(self, signals: list[Record]) -> bool:
        if self._suspended or not self._publisher.is_up:
            return False
        crash_point("tracker.before_publish")
        confirmed = await self._confirmed(signals, CONFIRM_SECONDS)
        crash_point("tracker.after_publish")
        return confirmed

    async def _confirmed(self, records: list[Record], timeout_seconds: float) -> bool:
        try:
            await self._publish(records, timeout_seconds)
        except MessagingError as error:
            if not self._suspended:
                _log.warning("tracker_spools", error=str(error))
            self._suspended = True
            return False
        return True

    async def _publish(self, records: list[Record], timeout_seconds: float) -> None:
        """One message. Raises MessagingError."""
        body, content_type = frames.encode_raw([record.event for record in records])
        first = records[0]
        single = len(records) == 1
        await self._publisher.publish_body(
            first.exchange,
            first.routing_key if single else FRAME_KEY,
            body,
            content_type=content_type,
            message_id=first.event["id"] if single else f"{first.event['id']}+{len(records) - 1}",
            timeout_seconds=timeout_seconds,
        )

    # --- disk ------------------------------------------------------------------------------------------------

    async def _to_disk(self, records: list[Record]) -> None:
        try:
            await asyncio.to_thread(self._spool.append, records)
        except SpoolFull as error:
            _log.error("spool_takes_nothing", error=str(error))
            raise NotDurable(str(error)) from error
        except SpoolBroken as error:
            _log.critical("spool_broken", error=str(error))
            self.broken.set()
            raise NotDurable(str(error)) from error
        telemetry.SPOOLED.inc(len(records))
        self._work.set()

    def _keep(self, records: Iterable[Record]) -> None:
        for record in records:
            if len(self._homeless) >= MAX_HOMELESS:
                self._homeless.popleft()
                telemetry.LOST.inc()
            self._homeless.append(record)
        self._work.set()

    async def _drain_for_ever(self) -> None:
        waits = pauses()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ADOPT_SECONDS):
                    await self._work.wait()
            self._work.clear()
            try:
                await asyncio.to_thread(self._spool.adopt)
                await self._publisher.wait_up()
                await self._drain()
                self._suspended = False
                waits = pauses()
            except (MessagingError, OSError) as error:
                _log.warning("spool_waits", error=str(error))
                self._work.set()
                await asyncio.sleep(next(waits))
            telemetry.SPOOL_BYTES.set(await asyncio.to_thread(lambda: self._spool.bytes_waiting))

    async def _drain(self) -> None:
        """Everything that waits goes to the broker, oldest first. Raises MessagingError; what went is repeated."""
        while (segment := await asyncio.to_thread(self._spool.drainable)) is not None:
            records = await asyncio.to_thread(lambda path: list(read_segment(path)), segment)
            for frame in _frames([record for record in records if record is not None]):
                await self._drain_frame(frame)
            await asyncio.to_thread(self._remove, segment, damaged=None in records)
        while self._homeless:
            await self._drain_frame([self._homeless[0]])
            self._homeless.popleft()

    def _remove(self, segment: Path, *, damaged: bool) -> None:
        self._spool.remove(segment, damaged=damaged)

    async def _drain_frame(self, frame: list[Record]) -> None:
        await self._publish(frame, DRAIN_CONFIRM_SECONDS)
        crash_point("tracker.drain_published")
        telemetry.DRAINED.inc(len(frame))
        self._suspended = False


def record_of(envelope: Envelope) -> Record:
    """An envelope as it goes out."""
    return Record(exchange_of(envelope), routing_key_of(envelope), to_cloud_event(envelope))


def _frames(records: Iterable[Record]) -> Iterable[list[Record]]:
    """Signals in a row share a frame; anything else goes alone."""
    frame: list[Record] = []
    size = 0
    for record in records:
        shareable = record.routing_key.startswith("signal.")
        length = len(record.line)
        if frame and (not shareable or len(frame) >= FRAME_SIGNALS or size + length > DRAIN_FRAME_BYTES):
            yield frame
            frame, size = [], 0
        frame.append(record)
        size += length
        if not shareable:
            yield frame
            frame, size = [], 0
    if frame:
        yield frame
