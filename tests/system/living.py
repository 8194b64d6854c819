"""A story lived on real services. The test is the lead and the coach, and moves business time to whatever comes next,
so that a story of weeks takes no longer than its events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.simulation.outside import Played
from services.enrollment.states import fold
from shared.clock import load_clock
from shared.events.enrollment import EngagementNoted, EnrollmentStarted, StepSent
from shared.events.envelope import Envelope
from shared.events.task import TaskCompleted, TaskOpened
from shared.persistence.eventstore import EventStore, open_url
from tests.scenarios.story import Recorded, Story
from tests.support.waiting import eventually
from tests.system.signals import reply
from tests.system.sink import Mail
from tests.system.stack import ORGANIZATION, Stack

#: The message's id, from which the lead's is made: that of every message in a simulation.
MESSAGE_ID = "simulated"
PATIENCE_SECONDS = 120.0


class Next(NamedTuple):
    """Something to come, and whom it comes through besides the write side; without ``act`` it comes by itself."""

    at: datetime
    through: str
    act: Callable[[], Awaitable[Any]] | None = None


class Calm(NamedTuple):
    """Nothing is on its way; this is what comes."""

    coming: list[Next]


class Life:
    """``sequence_id`` is known once it began."""

    def __init__(self, stack: Stack, story: Story) -> None:
        self._stack = stack
        self._story = story
        self.store: EventStore = open_url(
            f"sqlite:///{stack.home / 'tendril.db'}", master_key=stack.master_key, read_only=True
        )
        self.sequence_id = UUID(int=0)
        self._played: set[tuple[int, Played]] = set()

    async def live(self) -> list[Envelope]:
        """Everything that was recorded of the lead, once nothing is left to come."""
        made = await self._stack.api("POST", "sequences?activate=true", json=self._story.sequence)
        self.sequence_id = UUID(made["sequence_id"])
        body = {
            "organization_id": ORGANIZATION,
            "funnel_id": "test-funnel",
            "occurred_at": self._story.start.isoformat(),
            "lead": self._story.lead,
        }
        await self._stack.publish_leads([body], message_ids=[MESSAGE_ID])
        while coming := (await eventually(self._calm, PATIENCE_SECONDS, "something is on its way")).coming:
            await self._come(min(coming, key=lambda each: each.at))
        return await self.log()

    async def log(self) -> list[Envelope]:
        """In log order."""
        found = await asyncio.to_thread(self.store.page, 0, 10_000)
        events = [each for each in found if isinstance(each, Envelope)]
        assert len(events) == len(found)
        return [each for each in events if each.lead_id is not None]

    async def _come(self, what: Next) -> None:
        before = len(await self.log())
        if what.at > self._now():
            await self._stack.jump_to(what.at, "enrollment", what.through)
        if what.act is not None:
            await what.act()

        async def more() -> bool:
            return len(await self.log()) > before

        await eventually(more, PATIENCE_SECONDS, f"nothing came at {what.at}")

    def _now(self) -> datetime:
        return load_clock(self._stack.home).now()

    async def _calm(self) -> Calm:
        """Raises AssertionError while something is on its way."""
        log = await self.log()
        assert any(isinstance(each.message, EnrollmentStarted) for each in log)
        [enrollment_id] = {each.originator_id for each in log if each.topic.startswith("enrollment.")}
        state = fold(each for each in log if each.originator_id == enrollment_id).state
        assert isinstance(state, Enrollment)
        assert state.in_flight is None
        coming = [*self._signals(log), *self._tasks(log)]
        if state.is_open and state.plan is not None and state.plan.blocked_on is None:
            assert state.plan.at is not None
            assert state.plan.at > self._now()
            coming.append(Next(state.plan.at, "dispatcher"))
        return Calm(coming)

    def _tasks(self, log: list[Envelope]) -> list[Next]:
        done = {each.originator_id for each in log if isinstance(each.message, TaskCompleted)}
        return [
            Next(each.message.due_at, "dispatcher", lambda task=each.originator_id: self._complete(task))  # type: ignore[misc]
            for each in log
            if isinstance(each.message, TaskOpened) and each.originator_id not in done
        ]

    async def _complete(self, task_id: UUID) -> None:
        async def known() -> bool:
            answer = await self._stack.request("POST", f"tasks/{task_id}/complete", json={})
            assert answer.is_success, answer.text
            return True

        await eventually(known, PATIENCE_SECONDS)

    def _signals(self, log: list[Envelope]) -> list[Next]:
        """Signals of the story whose message was sent and which were not heard of yet."""
        heard = {
            (each.message.execution, str(each.message.signal))
            for each in log
            if isinstance(each.message, EngagementNoted)
        }
        sends = [each.message for each in log if isinstance(each.message, StepSent)]
        mails = self._stack.sink.to(self._story.lead["email"])
        return [
            Next(step.sent_at + played.after, "tracker", lambda mail=mail, played=played: self._play(mail, played))  # type: ignore[misc]
            for step, mail in zip(sends, mails, strict=True)
            for played in self._story.signals
            if played.step == step.step_id and (step.execution, played.signal) not in heard
        ]

    async def _play(self, mail: Mail, played: Played) -> None:
        match played.signal:
            case "opened":
                answer = await self._stack.http.get(mail.link("/t/o/"))
                assert answer.status_code == 200
            case "clicked":
                answer = await self._stack.http.get(mail.link("/t/c/"), follow_redirects=False)
                assert answer.headers["location"] == played.link
            case "replied":
                await reply(self._stack, mail)
            case _:
                raise ValueError(f"nobody plays {played.signal} here")


def recording_of(log: list[Envelope]) -> list[Recorded]:
    return [Recorded(each.originator_id, each.time, each.message) for each in log]  # type: ignore[arg-type]  # a log holds events
