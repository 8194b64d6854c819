"""The one simulator: timers and messages in order of time, each decided by ``handle`` on a world in memory.

It knows nothing of sequences. What the outside answers to an event is its ``Outside``'s business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.handling import Decision, handle
from services.enrollment.domain.memory_world import wake_order
from services.enrollment.domain.row_types import Rows, Timer
from services.enrollment.domain.work import Change
from services.enrollment.simulation.world import SimulatedWorld
from shared.events.envelope import Envelope
from shared.events.message import Message
from shared.events.why import TimerClass


class Later(NamedTuple):
    """A message that comes at a moment; one of now or before comes at once. ``at_step``: it is about the step that an
    enrollment waits at, and said only of that one.
    """

    at: datetime
    message: Message
    actor: str | None = None
    at_step: str | None = None


class Outside(Protocol):
    """Dispatchers, leads and people, as a simulation imagines them."""

    def answers(self, change: Change, world: SimulatedWorld) -> Iterable[Later]:
        """What comes back for an event that was just recorded."""
        ...

    def recorded(self, change: Change, world: SimulatedWorld) -> None:
        """An event was recorded at ``world.now``: for keeping figures."""
        ...

    def refused(self, message: Message, error: DomainError, world: SimulatedWorld) -> None:
        """A message that came was refused by the domain."""
        ...


class Simulator:
    """Watchdogs never ring: every step in flight is answered at once."""

    def __init__(self, world: SimulatedWorld, organization_id: str, outside: Outside) -> None:
        self.world = world
        self.organization_id = organization_id
        self.outside = outside
        self._agenda: list[tuple[datetime, int, Timer | Later]] = []
        self._at_once: deque[Later] = deque()
        self._count = 0

    def expect(self, later: Later) -> None:
        """Puts a message on the agenda."""
        if later.at <= self.world.now:
            self._at_once.append(later)
        else:
            self._put(later.at, later)

    def run(self, until: datetime, *, at_most: int | None = None) -> bool:
        """Until nothing is left to come at ``until`` or before, or ``at_most`` things were done; is anything left?"""
        done = 0
        while at_most is None or done < at_most:
            done += 1
            if self._at_once:
                self.take(self._at_once.popleft())
                continue
            if not self._agenda or self._agenda[0][0] > until:
                return False
            at, _, what = heappop(self._agenda)
            if isinstance(what, Later):
                self.world.move_to(at)
                self.take(what)
            elif self.world.timers.get((what.aggregate_id, what.name)) == what:
                self.world.move_to(at)
                self.ring(what)
        return True

    def ring(self, timer: Timer) -> None:
        """A timer is due now."""
        self.take(Later(self.world.now, wake_order(timer)))

    def take(self, later: Later) -> Decision | None:
        """Decides one message now; None when it is refused."""
        try:
            decision = handle(self._envelope(later), self.world)
        except DomainError as error:
            self.outside.refused(later.message, error, self.world)
            return None
        self._accept(decision, self.world.apply(decision))
        return decision

    def _envelope(self, later: Later) -> Envelope:
        return Envelope(
            id="simulated",
            message=later.message,
            source="simulation",
            time=self.world.now,
            organization_id=self.organization_id,
            actor=later.actor,
        )

    def _accept(self, decision: Decision, rows: Rows) -> None:
        for timer in rows.timers:
            self.watch(timer)
        for wake in rows.woken:
            for timer in self.world.timers.values():
                if timer.due_at == wake.at:
                    self.watch(timer)
        self.world.log.clear()
        for change in decision.changes:
            self.outside.recorded(change, self.world)
            for later in self.outside.answers(change, self.world):
                self.expect(later)

    def watch(self, timer: Timer) -> None:
        """Has a timer ring when it is due."""
        if timer.due_at is not None and timer.timer_class != TimerClass.WATCHDOG:
            self._put(timer.due_at, timer)

    def _put(self, at: datetime, what: Timer | Later) -> None:
        self._count += 1
        heappush(self._agenda, (at, self._count, what))
