"""The projector's loop: frames and pages in, one transaction per batch, then acks and announcements."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from services.projector import telemetry
from services.projector.announcer import Announcer
from services.projector.errors import Fenced
from services.projector.event import Event
from services.projector.feed import Feed, Frame, chain
from services.projector.fetching import Fetch, ask, take
from services.projector.generations import Generations
from services.projector.jobs import Jobs
from services.projector.links import Links
from services.projector.ownership import Ownership
from services.projector.pages import Page, Pages
from services.projector.targets import Checkpoint, PartitionWork, building_work, live_work
from services.projector.writer import Writer
from shared.clock import Clock
from shared.ending import ended
from shared.faults import crash_point
from shared.persistence.leases import Leases
from shared.persistence.mongo import is_unavailable

log = structlog.get_logger()

#: A batch begins at most this often, so that a trickle is gathered; the first event after a pause waits for nothing.
GATHER_SECONDS = 0.05
#: Under load batches grow: a commit costs as much as a hundred events, so it may take this share of the time, ...
BUSY_SHARE = 0.25
#: ... as long as events do not wait longer than this for it.
LONGEST_GATHER_SECONDS = 0.5
#: With this many events held, a batch begins at once.
FULL_BATCH = 2_000
#: While a generation is built, at most this many of the feed go between two pages: the build gains on the feed whatever
#: comes in.
BATCH_BESIDE_BUILD = 500
#: Machine time between looks at the registry and the jobs.
TEND_SECONDS = 1.0
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a projector works with."""

    generations: Generations
    writer: Writer
    links: Links
    leases: Leases
    ownership: Ownership
    jobs: Jobs
    pages: Pages
    announcer: Announcer
    clock: Clock


class Projector:
    """One process's share of the views. ``owned`` are the partitions it holds, by number."""

    def __init__(self, parts: Parts, *, gather_seconds: float = GATHER_SECONDS) -> None:
        self._generations = parts.generations
        self._writer = parts.writer
        self._links = parts.links
        self._leases = parts.leases
        self._ownership = parts.ownership
        self._jobs = parts.jobs
        self._pages = parts.pages
        self._announcer = parts.announcer
        self._clock = parts.clock
        self._gather_seconds = gather_seconds
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()  # batches and changes of ownership exclude each other
        self.owned = self._ownership.owned
        self._gaps = self._ownership.gaps
        self._filling: Fetch | None = None
        self._building: Fetch | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._leased_at = float("-inf")
        self.feed: Feed | None = None
        self.prepared = False
        self.mongo_there = False

    @property
    def _fed(self) -> Feed:
        assert self.feed is not None, "start comes first"
        return self.feed

    def wake(self) -> None:
        """Something has arrived."""
        self._wake.set()

    async def start(self, feed: Feed) -> None:
        """Begin. Servers that are away are waited for."""
        self.feed = feed
        await feed.start()
        self._announcer.start()
        works: list[tuple[Callable[[], Coroutine[Any, Any, None]], str]] = [
            (self._keep_leases, "leases"),
            (self._tend, "tend"),
            (self._take_in, "take in"),
        ]
        self._tasks = [asyncio.create_task(work(), name=f"projector {name}") for work, name in works]

    async def close(self) -> None:
        """Finish the batch in hand, then let go of everything, so that others need not wait for the leases to run
        out.
        """
        async with self._lock:
            await ended(*self._tasks)
        self._drop_fetches()
        await self._jobs.close()
        if self.feed is not None:
            await self.feed.close()
        await self._announcer.close()
        try:
            await self._ownership.release_all()
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.info("leases_run_out_by_themselves", error=repr(error))

    # --- ownership ----------------------------------------------------------------------------------------------------

    async def _keep_leases(self) -> None:
        while True:
            try:
                if not self.prepared:
                    await self._generations.prepare()
                    self.prepared = True
                change = await self._leases.tick()
                self._leased_at = self._clock.monotonic()
                async with self._lock:
                    await self._ownership.follow(change.lost, self._fed)
                self._wake.set()
                self.mongo_there = True
                pause = self._leases.renew_seconds
            except Exception as error:
                self.mongo_there = False
                if not is_unavailable(error):
                    log.exception("leases_failed")
                pause = RETRY_SECONDS
                if self._clock.monotonic() - self._leased_at > 3 * self._leases.renew_seconds:
                    async with self._lock:
                        for partition in list(self.owned):
                            await self._ownership.let_go(partition, self._fed)
            await asyncio.sleep(pause)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_SECONDS)
            if not self.prepared:
                continue
            try:
                await self._jobs.tend()
                async with self._lock:
                    await self._generations.refresh()
                    self._ownership.watch()
                self._wake.set()
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("tending_failed")

    # --- batches ------------------------------------------------------------------------------------------------------

    async def _take_in(self) -> None:
        began, gather = float("-inf"), self._gather_seconds
        while True:
            await self._wake.wait()
            left = began + gather - self._clock.monotonic()
            if left > 0 and self._fed.pending_events < FULL_BATCH:
                await asyncio.sleep(left)
            self._wake.clear()
            began = self._clock.monotonic()
            try:
                async with self._lock:
                    await self._batch()
                    await self._built()
                    self._ask_for_pages()
                spent = self._clock.monotonic() - began
                gather = max(self._gather_seconds, min(spent / BUSY_SHARE, LONGEST_GATHER_SECONDS))
            except Fenced as error:
                telemetry.FENCED.inc()
                log.warning("fenced", error=str(error))
                await self._recover()
            except Exception as error:
                # The cause is the servers', or a fault of ours that must not end the loop: the checkpoints say where to
                # go on.
                if not is_unavailable(error):
                    log.exception("batch_failed")
                await asyncio.sleep(RETRY_SECONDS)
                await self._recover()

    def _drop_fetches(self) -> None:
        for fetch in (self._filling, self._building):
            if fetch is not None:
                fetch.task.cancel()
        self._filling = self._building = None

    async def _recover(self) -> None:
        self._drop_fetches()
        while True:
            try:
                async with self._lock:
                    await self._ownership.reload(self._fed)
            except Exception as error:
                if not is_unavailable(error):
                    log.exception("reload_failed")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._wake.set()
                return

    async def _batch(self) -> None:
        """Take in what the feed holds and what fills its gaps."""
        fetched, page = take(self._filling)
        if fetched is not None:
            self._filling = None
        found: list[tuple[Checkpoint, list[dict[str, Any]], int]] = []
        done: list[Frame] = []
        taken, most = 0, FULL_BATCH if self._building is None else BATCH_BESIDE_BUILD
        for partition, checkpoint in self._ownership.in_turn():
            if taken >= most:
                break
            raw: list[dict[str, Any]] = []
            head = checkpoint.head
            if fetched is not None and page is not None and partition in fetched.partitions and fetched.after <= head:
                raw, head = self._from_page(page, partition, head)
            more, head = self._from_feed(partition, head, done)
            raw += more
            taken += len(raw)
            if head > checkpoint.head:
                found.append((checkpoint, raw, head))
        if found:
            try:
                targets = self._generations.targets
                await self._commit(
                    [live_work(each, targets, await self._events(raw), head) for each, raw, head in found]
                )
            except BaseException:
                self._give_back(done)
                raise
        if done:
            await self._fed.ack(done)
            crash_point("projector.after_ack")
        if any(self._fed.frames.get(partition) for partition in self.owned if partition not in self._gaps):
            self._wake.set()

    def _from_page(self, page: Page, partition: int, head: int) -> tuple[list[dict[str, Any]], int]:
        """A partition's events of a page that fills its gap, and how far it brings it."""
        raw = [event for event in page.events if int(event["partition"]) == partition and event["position"] > head]
        head = max(head, page.last)
        until = self._gaps.get(partition)
        if page.last >= page.end or (until is not None and head >= until):
            self._gaps.pop(partition, None)
        return raw, head

    def _from_feed(self, partition: int, head: int, done: list[Frame]) -> tuple[list[dict[str, Any]], int]:
        """A partition's events of the frames that join on, and how far they bring it. Frames beyond a gap stay held."""
        frames = self._fed.frames.get(partition)
        if not frames:
            return [], head
        finished, left, raw, reached = chain(frames, head)
        self._fed.frames[partition] = left
        done += finished
        if left:
            if partition not in self._gaps:
                telemetry.GAPS.inc()
            self._gaps[partition] = left[0].previous
        elif reached > head:
            self._gaps.pop(partition, None)  # it joined on, so nothing was missing before it
        return raw, reached

    async def _events(self, raw: Sequence[Mapping[str, Any]]) -> list[Event]:
        generation = next(
            (target.generation for target in self._generations.live if target.view.name == "enrollments"), 1
        )
        return await self._links.events_of(raw, generation)

    async def _commit(self, works: Sequence[PartitionWork]) -> None:
        began = self._clock.monotonic()
        await self._writer.write(works)
        count = sum(len(work.events) for work in works)
        telemetry.BATCH_SECONDS.observe(self._clock.monotonic() - began)
        telemetry.BATCH_EVENTS.observe(count)
        telemetry.EVENTS.inc(count)
        for work in works:
            self._announcer.committed(work.checkpoint.partition, work.head, work.events)
        newest = max((work.events[-1].at for work in works if work.events), default=None)
        if newest is not None:
            late = self._clock.to_wall_seconds(self._clock.now() - newest)
            for target in self._generations.live:
                telemetry.LAG.labels(target.view.name).set(late)

    def _give_back(self, frames: Sequence[Frame]) -> None:
        """A failed batch's frames are held on: after the reload they are taken in, or skipped and acked."""
        for frame in frames:
            partition = int(frame.events[0]["partition"])
            if partition in self._fed.frames:
                self._fed.frames[partition].append(frame)

    # --- pages --------------------------------------------------------------------------------------------------------

    async def _built(self) -> None:
        """Write a page of the log into the generations being built."""
        fetched, page = take(self._building)
        if fetched is None or page is None:
            return
        self._building = None
        events = await self._events(page.events)
        by_partition: dict[int, list[Event]] = {}
        for event in events:
            by_partition.setdefault(event.partition, []).append(event)
        works = []
        for partition in fetched.partitions:
            checkpoint = self.owned.get(partition)
            if checkpoint is None:
                continue
            own = by_partition.get(partition, [])
            work = building_work(checkpoint, self._generations.targets, own, fetched.after, page.last)
            if work is not None:
                works.append(work)
        if works:
            await self._writer.write(works)
            telemetry.BUILT_EVENTS.inc(len(events))
            crash_point("projector.after_page")
        self._wake.set()

    def _ask_for_pages(self) -> None:
        if self._filling is None and self._gaps:
            partitions = [partition for partition in self._gaps if partition in self.owned]
            if partitions:
                after = min(self.owned[partition].head for partition in partitions)
                bounds = [self._gaps[partition] for partition in partitions]
                up_to = None if None in bounds else max(bound for bound in bounds if bound is not None)
                self._filling = ask(self._pages, after, up_to, partitions, self._wake.set)
        if self._building is None:
            behind = [
                (checkpoint.position(target), partition)
                for partition, checkpoint in self.owned.items()
                for target in self._generations.targets
                if checkpoint.behind(target)
            ]
            if behind:
                partitions = sorted({partition for _, partition in behind})
                up_to = max(self.owned[partition].head for partition in partitions)
                after = min(position for position, _ in behind)
                self._building = ask(self._pages, after, up_to, partitions, self._wake.set)
