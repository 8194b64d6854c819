"""A frame of due steps, from arrival to its outcomes.

Each step: claim, read the stop keys, check that it is still valid, render, hand over, conclude. The steps of a frame
run concurrently; their outcomes leave as one frame; when the broker has confirmed it, the frame is acked. Whatever
interrupts this, the frame comes again and every step that has an answer gets the same one from its row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.dispatcher.channels.protocol import Channel
from services.dispatcher.errors import HandOverRefused, LedgerAway
from services.dispatcher.holding import Holdings
from services.dispatcher.ledger import Answered, Dropped, Held, Ledger
from services.dispatcher.message import NO_FILES, Outbound, to_document
from services.dispatcher.outcomes import (
    Accepted,
    Answer,
    Deferred,
    DeferredEnding,
    Ending,
    InDoubt,
    InDoubtEnding,
    Rejected,
    RejectedEnding,
    SentEnding,
    StoppedEnding,
    ending_from_document,
)
from services.dispatcher.preparing import Preparer, read_step
from services.dispatcher.reports import Reporter
from services.dispatcher.states import HOLD_SECONDS, Claim, Step
from shared import telemetry
from shared.clock import Clock
from shared.ending import ended
from shared.events import Envelope, InvalidMessage, to_cloud_event
from shared.events.dispatch import DressedStep
from shared.faults import crash_point
from shared.messaging.delivery import Delivery
from shared.messaging.errors import MessagingError
from shared.messaging.frames import Unreadable

#: How often a step that waits for another's claim looks again.
LOOK_SECONDS = 0.5

_log = structlog.get_logger(__name__)
_held = telemetry.histogram("dispatcher_step_seconds", "Machine seconds a step was held", ["channel"])


class StepHandler:
    """Handles the deliveries of every channel's queue."""

    def __init__(
        self,
        ledger: Ledger,
        holdings: Holdings,
        reporter: Reporter,
        preparer: Preparer,
        channels: Mapping[str, Channel],
        clock: Clock,
        *,
        hold_seconds: float = HOLD_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._holdings = holdings
        self._reporter = reporter
        self._preparer = preparer
        self._channels = channels
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._late: set[asyncio.Task[None]] = set()

    async def handle(self, delivery: Delivery) -> None:
        """Raises LedgerAway or a MessagingError to let go of the frame, InvalidMessage when nothing in it is a due
        step.
        """
        if delivery.headers.get("replay"):
            raise InvalidMessage([{"field": "replay", "problem": "a replayed step is never sent"}])
        steps = _readable(delivery)
        results = await asyncio.gather(*(self._outcome(*step) for step in steps), return_exceptions=True)
        outcomes = [result for result in results if isinstance(result, Envelope)]
        crash_point("dispatcher.before_report")
        if outcomes:
            await self._reporter.publish(outcomes)
        crash_point("dispatcher.after_report")
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def close(self) -> None:
        """Waits for late answers no longer."""
        await ended(*self._late)

    async def _outcome(self, dressed: DressedStep, step: Step, traceparent: str | None) -> Envelope | None:
        """What to report; None when another will."""
        started = self._clock.monotonic()
        try:
            claimed = await self._claimed(step, started)
            match claimed:
                case Claim():
                    ending = await self._worked(dressed, step, claimed)
                    return None if ending is None else self._reporter.of_step(step, ending, traceparent)
                case Answered(row):
                    return self._reporter.of_row(row, step.attempt)
                case Held() | Dropped():
                    _log.info("left to its holder", dispatch_id=str(step.dispatch_id), attempt=step.attempt)
                    return None
        except LedgerAway:
            self._holdings.outage()
            raise
        finally:
            _held.labels(step.channel).observe(self._clock.monotonic() - started)

    async def _claimed(self, step: Step, started: float) -> Claim | Answered | Dropped | Held:
        """Waits while another holds the step, at most as long as a step is held."""
        while True:
            result = await self._ledger.claim(step, self._clock.wall(), self._holdings.lapse())
            if not isinstance(result, Held) or self._clock.monotonic() - started >= self._hold_seconds:
                return result
            await asyncio.sleep(LOOK_SECONDS)

    async def _worked(self, dressed: DressedStep, step: Step, claim: Claim) -> Ending | None:
        work = _Work(claim)
        self._holdings.hold(claim)
        crash_point("dispatcher.after_claim")
        try:
            ending = await self._tried(dressed, step, work)
        except HandOverRefused:
            return await self._as_it_stands(claim)
        except BaseException:
            if not work.handed_over:
                self._holdings.owe(claim, None)
            raise
        finally:
            self._holdings.let_go(claim)
        return await self._concluded(claim, ending)

    async def _tried(self, dressed: DressedStep, step: Step, work: _Work) -> Ending:
        claim = work.claim
        stop = await self._ledger.stop_for(step.keys, claim.position, claim.since)
        if stop is not None:
            return StoppedEnding(stop.reason)
        if self._clock.now() >= dressed.valid_until:
            return DeferredEnding("stale", fault=False)
        channel = self._channels.get(step.channel)
        if channel is None:
            return DeferredEnding(f"this dispatcher does not serve channel {step.channel}", fault=True)
        files = await self._preparer.fetch(dressed, step, claim) if channel.wants_mime else NO_FILES
        if not isinstance(files, Mapping):
            return files
        prepared = self._preparer.prepare(dressed, step, claim, mime=channel.wants_mime, files=files)
        if not isinstance(prepared, Outbound):
            return prepared

        async def hand_over() -> None:
            crash_point("dispatcher.before_hand_over")
            await self._ledger.hand_over(claim, to_document(prepared), self._clock.wall())
            work.handed_over = True
            crash_point("dispatcher.after_hand_over")

        answer = await channel.send(prepared, hand_over)
        if isinstance(answer, InDoubt) and answer.late is not None:
            self._await_late(answer.late, step, claim, prepared)
        return self._ending_of(answer, prepared)

    async def _concluded(self, claim: Claim, ending: Ending) -> Ending | None:
        """The ending as the ledger has it."""
        try:
            return await self._ledger.conclude(claim, ending, self._clock.wall())
        except LedgerAway:
            self._holdings.owe(claim, ending)
            raise

    async def _as_it_stands(self, claim: Claim) -> Ending | None:
        """What another made of the row before it could be handed over."""
        row = await self._ledger.row(claim.dispatch_id)
        return None if row is None else ending_from_document(row.ending)

    def _ending_of(self, answer: Answer, message: Outbound) -> Ending:
        match answer:
            case Accepted(said):
                return SentEnding(self._moment(), message.message_id, said)
            case Deferred(reason, fault, retry_after_seconds):
                return DeferredEnding(reason, fault, self._after(retry_after_seconds))
            case Rejected(reason, bounce):
                return RejectedEnding(reason, bounce)
            case InDoubt(reason):
                return InDoubtEnding(reason)

    def _moment(self) -> datetime:
        """Business time, as exact as the ledger keeps it, so that a repeated answer reads the same."""
        now = self._clock.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def _after(self, seconds: float | None) -> datetime | None:
        """Business time after so many machine seconds."""
        return None if seconds is None else self._moment() + timedelta(seconds=int(seconds * self._clock.speed) + 1)

    def _await_late(
        self, late: asyncio.Task[Accepted | Deferred | Rejected | None], step: Step, claim: Claim, message: Outbound
    ) -> None:
        async def settle() -> None:
            answer = await late
            if answer is None:
                return
            ending = self._ending_of(answer, message)
            while True:
                try:
                    standing = await self._ledger.conclude(claim, ending, self._clock.wall())
                    if standing is not None:
                        await self._reporter.publish([self._reporter.of_step(step, standing)])
                except (LedgerAway, MessagingError) as error:
                    _log.warning("a late answer waits", dispatch_id=str(step.dispatch_id), error=str(error))
                    await asyncio.sleep(LOOK_SECONDS)
                else:
                    return

        task = asyncio.create_task(settle(), name="settle late answer")
        self._late.add(task)
        task.add_done_callback(self._late.discard)


@dataclass(slots=True)
class _Work:
    """A claim being worked on, and whether its row says that it was handed over."""

    claim: Claim
    handed_over: bool = False


def _readable(delivery: Delivery) -> list[tuple[DressedStep, Step, str | None]]:
    """The due steps of a delivery; the others are left to be dead-lettered one by one. Raises InvalidMessage when
    there is none.
    """
    steps: list[tuple[DressedStep, Step, str | None]] = []
    for envelope in delivery.envelopes:
        try:
            steps.append((*read_step(envelope), envelope.traceparent))
        except InvalidMessage as error:
            if len(delivery.envelopes) == 1:
                raise
            delivery.unreadable.append(Unreadable(to_cloud_event(envelope), error))
    return steps
