"""The scheduler: wakes what is due, in pages by index. It sleeps until the next moment, never per timer.

Follow-ups and first touches are due by business time, watchdogs by machine time. A timer is handed to the committer
and forgotten: whether it still means anything is decided there, on the state.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from services.enrollment.committer import Committer
from services.enrollment.telemetry import TIMER_LAG, TIMERS_WOKEN
from shared.clock import Clock
from shared.events.enrollment import WakeTimer
from shared.events.envelope import Envelope
from shared.events.why import TimerClass
from shared.faults import crash_point
from shared.persistence.eventstore import EventStore, StoreUnavailable, TimerRow

log = structlog.get_logger()

PAGE = 512
#: Longest sleep, so that a clock that jumps or a timer set by another process is seen soon.
LONGEST_SLEEP_SECONDS = 0.25
RETRY_SECONDS = 1.0


class Scheduler:
    """Run by the clerk alone."""

    def __init__(self, store: EventStore, committer: Committer, clock: Clock) -> None:
        self._store = store
        self._committer = committer
        self._clock = clock
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Timers have changed: look again."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled. A store that is away is waited for."""
        while True:
            self._changed.clear()
            try:
                due = await asyncio.to_thread(self._due)
                if due:
                    await self._wake(due)
                    continue
            except StoreUnavailable as error:
                log.warning("scheduler_waits", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._sleep()

    def _due(self) -> list[TimerRow]:
        return self._store.timers_due(self._clock.now(), PAGE, machine_now=self._clock.wall())

    async def _wake(self, due: list[TimerRow]) -> None:
        crash_point("scheduler.before_wake")
        results = await self._committer.submit_page([self._command(timer) for timer in due], exchange=None)
        failed = 0
        for timer, result in zip(due, results, strict=True):
            if isinstance(result, StoreUnavailable):
                raise result
            if isinstance(result, BaseException):
                failed += 1
                continue
            TIMERS_WOKEN.labels(timer.timer_class).inc()
            if timer.due_at is not None:
                TIMER_LAG.observe(self._lag_seconds(timer))
        if failed:
            log.error("timers_failed", count=failed)
            await asyncio.sleep(RETRY_SECONDS)  # the rows are still due: a defect must not spin

    def _lag_seconds(self, timer: TimerRow) -> float:
        assert timer.due_at is not None
        if timer.timer_class == TimerClass.WATCHDOG:
            return max(0.0, (self._clock.wall() - timer.due_at).total_seconds())
        return self._clock.to_wall_seconds(self._clock.now() - timer.due_at)

    def _command(self, timer: TimerRow) -> Envelope:
        return Envelope(
            id=f"timer-{timer.aggregate_id.hex}-{timer.execution}-{timer.attempt}",
            message=WakeTimer(
                enrollment_id=timer.aggregate_id,
                execution=timer.execution,
                attempt=timer.attempt,
                timer_class=TimerClass(timer.timer_class),
            ),
            source="tendril/scheduler",
            time=self._clock.now(),
            organization_id=timer.organization_id,
            subject=timer.aggregate_id,
            actor="system",
        )

    async def _sleep(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_SLEEP_SECONDS):
                await self._changed.wait()
