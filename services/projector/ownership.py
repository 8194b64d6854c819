"""Which partitions are ours, and what we believe about each."""

from __future__ import annotations

import asyncio

import structlog

from services.projector import telemetry
from services.projector.announcer import Announcer
from services.projector.feed import Feed
from services.projector.generations import Generations
from services.projector.sessions import Sessions
from services.projector.targets import Checkpoint
from shared.clock import Clock
from shared.faults import crash_point
from shared.persistence.leases import Leases

log = structlog.get_logger()

#: A claim takes milliseconds, unless an open transaction stands in its way.
CLAIM_SECONDS = 2.0
#: A frozen owner still holds frames until its heartbeats are missed; for this long after a takeover ...
WATCH_SECONDS = 90.0
#: ... the reader is asked this often for what they hold.
ASK_SECONDS = 5.0


class Ownership:
    """The partitions of one process. Its methods are called under the projector's lock.

    ``gaps`` holds, per partition whose feed lacks events, the position up to which it does (None: up to the log's end).
    """

    def __init__(
        self, generations: Generations, sessions: Sessions, leases: Leases, announcer: Announcer, clock: Clock
    ) -> None:
        self._generations = generations
        self._sessions = sessions
        self._leases = leases
        self._announcer = announcer
        self._clock = clock
        self._turn = 0
        self._asked_at = float("-inf")
        self._taken_at: dict[int, float] = {}
        self.owned: dict[int, Checkpoint] = {}
        self.gaps: dict[int, int | None] = {}

    async def follow(self, lost: list[int], feed: Feed) -> None:
        """Let go of what the leases have lost, and take over what they hold and we do not."""
        for partition in lost:
            await self.let_go(partition, feed)
        missing = [lease for partition, lease in self._leases.held.items() if partition not in self.owned]
        if missing:
            await self._generations.refresh()
        for lease in missing:
            await self._take_over(lease.partition, lease.epoch, feed)

    async def let_go(self, partition: int, feed: Feed) -> None:
        """Not ours any more."""
        if self.owned.pop(partition, None) is not None:
            log.info("partition_left", partition=partition)
        self.gaps.pop(partition, None)
        telemetry.PARTITIONS.set(len(self.owned))
        await feed.shut(partition)

    async def reload(self, feed: Feed) -> None:
        """Believe nothing: read every checkpoint again, and let go of what has another owner."""
        await self._generations.refresh()
        for partition, checkpoint in list(self.owned.items()):
            stored = await self._generations.load(partition)
            if stored is not None and stored.epoch == checkpoint.epoch:
                self.owned[partition] = stored
            else:
                await self.let_go(partition, feed)

    async def release_all(self) -> None:
        """Give everything back, so that others need not wait for the leases to run out."""
        await self._leases.release_all()
        await self._sessions.forget()

    def watch(self) -> None:
        """Ask again for the ends of partitions taken over lately."""
        now = self._clock.monotonic()
        if now - self._asked_at < ASK_SECONDS:
            return
        self._asked_at = now
        for partition in self.owned:
            if now - self._taken_at[partition] < WATCH_SECONDS:
                self.gaps.setdefault(partition, None)

    def in_turn(self) -> list[tuple[int, Checkpoint]]:
        """Our partitions, another one first each time, so that a full batch never leaves the same ones out."""
        owned = list(self.owned.items())
        self._turn = (self._turn + 1) % max(len(owned), 1)
        return owned[self._turn :] + owned[: self._turn]

    async def _take_over(self, partition: int, epoch: int, feed: Feed) -> None:
        """From here on only this process moves the partition's checkpoints."""
        checkpoint = await self._claim(partition, epoch)
        if checkpoint is None:
            return
        crash_point("projector.after_claim")
        self.owned[partition] = checkpoint
        self._taken_at[partition] = self._clock.monotonic()
        self.gaps[partition] = None  # whatever the feed has lost while nobody took it
        telemetry.PARTITIONS.set(len(self.owned))
        await feed.open(partition)
        self._announcer.resync()
        log.info("partition_taken", partition=partition, epoch=epoch, head=checkpoint.head)

    async def _claim(self, partition: int, epoch: int) -> Checkpoint | None:
        claim = asyncio.create_task(self._generations.claim(partition, epoch, self._sessions.owner))
        done, _ = await asyncio.wait({claim}, timeout=CLAIM_SECONDS)
        if not done:  # the one before has died, or is frozen, inside a transaction
            before = await self._generations.owner_of(partition)
            if before is not None:
                await self._sessions.end_those_of(before)
        return await claim
