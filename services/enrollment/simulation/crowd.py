"""Crowds: leads in equal situations, decided once for all of them. One member stands for all.

This changes nothing but the time it takes. Deciders are pure, so equal states at the same moment give equal decisions,
but for three things, and at each of them a crowd parts:

- **Limits.** A decision that moves counts of a limit holds for as many members as would decide the same after those
  before them have moved the counts too. That number is found by deciding again, on counts as they would be.
- **Draws.** A decision that draws a number is made for many drawn numbers; members go with the decision they drew.
- **What leads do.** After a send the outside says how many do what; each group goes its own way.

Crowds whose steps are due at the same moment become one again where nothing still to come can tell them apart
(``likeness``): who opened, say, and who did not, as long as no condition asks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from heapq import heappop, heappush
from random import Random
from typing import NamedTuple, Protocol, cast
from uuid import UUID

from services.enrollment.domain.best_hour import BEST_HOUR, kind_of
from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.handling import Decision, handle
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.row_types import Rows, Timer
from services.enrollment.domain.rows import rows_of
from services.enrollment.domain.task import Task
from services.enrollment.domain.work import Change, engagement_id
from services.enrollment.simulation.likeness import Likeness
from services.enrollment.simulation.outside import Played, signal
from services.enrollment.simulation.renaming import Renaming
from services.enrollment.simulation.simulator import Later, Outside, Simulator
from services.enrollment.simulation.world import SimulatedWorld, Surroundings
from shared.events.enrollment import StepSent
from shared.events.message import Message, fields_of
from shared.ids import derived_id

#: Numbers drawn for a crowd at most: shares come out within about 1.5 % of those of drawing for each member.
MOST_DRAWS = 1_000
#: Moments of an hour that the members of a crowd are sent at who answer in it, so that they stay in few crowds.
PARTS_OF_HOUR = 12


class Group(NamedTuple):
    """How many of a crowd do the same after a message."""

    size: int
    signals: Sequence[Played]


class CrowdOutside(Outside, Protocol):
    def groups(self, event: StepSent, size: int, random: Random) -> Sequence[Group]:
        """Parts a crowd that was just sent a message by what its members do; sizes sum up to ``size``."""
        ...

    def parted(self, aggregate_id: UUID, twin: UUID, size: int) -> None:
        """``size`` members of a crowd are from now on a crowd of their own, in the state of an aggregate's twin."""
        ...


class CrowdWorld(SimulatedWorld):
    """``weight`` is the size of the crowd whose decision is applied.

    While a decision is tried, ``moved`` holds changes of counts and ``times`` how often they are taken for made.
    """

    def __init__(self, now: datetime, *, seed: object = None, around: Surroundings | None = None) -> None:
        super().__init__(now, seed=seed, around=around)
        self.moved: dict[tuple[str, str, str], int] = {}
        self.times = 0
        self.drawn = 0
        self.ticket: int | None = None  #: which draws a crowd gets; None: those of the lead's own id

    def quota_used(self, organization_id: str, scope: str, slot: str) -> int:
        used = super().quota_used(organization_id, scope, slot)
        if self.times:
            used = max(0, used + self.times * self.moved.get((organization_id, scope, slot), 0))
        return used

    def learn_of_twin(self, organization_id: str, lead_id: UUID, twin: UUID) -> None:
        """A twin answers at the hours that its lead does."""
        known = self.counted.get((organization_id, kind_of(lead_id)))
        if known is not None:
            self.counted[organization_id, kind_of(twin)] = dict(known)
        self._known_figures.add((organization_id, kind_of(twin)))

    def draw(self, *parts: object) -> float:
        self.drawn += 1
        if self.ticket is None:
            return super().draw(*parts)
        number = super().draw("crowd", self.ticket, self.drawn)
        return int(number * PARTS_OF_HOUR) / PARTS_OF_HOUR if parts[0] == BEST_HOUR else number


class CrowdSimulator(Simulator):
    """A simulator whose leads may stand for many."""

    world: CrowdWorld
    outside: CrowdOutside

    def __init__(
        self,
        world: CrowdWorld,
        organization_id: str,
        outside: CrowdOutside,
        likeness: Likeness | None = None,
        *,
        seed: object = 0,
    ) -> None:
        super().__init__(world, organization_id, outside)
        self.sizes: dict[UUID, int] = {}
        self.ways = 0  #: how many crowds there have been
        self._likeness = likeness
        self._gathered_at: datetime | None = None
        self.decisions = 0
        self._random = Random(f"{seed}")  # noqa: S311  figures, not secrets
        self._of_lead: defaultdict[UUID, set[UUID]] = defaultdict(set)
        self._pending: defaultdict[UUID, dict[int, Later]] = defaultdict(dict)
        self._tickets = 0
        self._twins = 0

    def enter(self, lead_id: UUID, size: int) -> None:
        """A lead that is in the world stands for ``size`` equal ones."""
        self.ways += 1
        self.sizes[lead_id] = size
        self._of_lead[lead_id].add(lead_id)

    def expect(self, later: Later) -> None:
        lead_id = self._lead_of(later)
        if lead_id is not None:
            self._pend(lead_id, later)
        super().expect(later)

    def ring(self, timer: Timer) -> None:
        if self._likeness is not None and timer.due_at != self._gathered_at:
            self._gathered_at = timer.due_at
            self._gather(timer, self._likeness)
        super().ring(timer)

    def take(self, later: Later) -> Decision | None:
        lead_id = self._lead_of(later)
        if lead_id is None:
            return super().take(later)
        self._pending[lead_id].pop(id(later), None)
        if self.world.lead(lead_id) is None:
            return None
        size = self.sizes.get(lead_id, 1)
        self.world.weight = size
        try:
            return self._take(later, lead_id, size)
        except DomainError as error:
            self.outside.refused(later.message, error, self.world)
            return None
        finally:
            self.world.weight = 1
            self.world.ticket = None

    def _take(self, later: Later, lead_id: UUID, size: int, ticket: int | None = None) -> Decision:
        world = self.world
        if size > 1:
            self._tickets += 1
            world.ticket = self._tickets if ticket is None else ticket
        decision = self._decided(later)
        if size > 1 and ticket is None and world.drawn:
            return self._by_draws(later, lead_id, size, decision)
        rows = rows_of(decision, world)
        if size > 1 and (rows.quotas or rows.quotas_given_back):
            alike = self._alike(later, decision, rows, size)
            if alike < size:
                twin, renaming = self.split(lead_id, size - alike)
                world.weight = alike
                self._accept(decision, world.apply(decision, rows))
                self._at_once.appendleft(self._pend(twin, Later(later.at, renaming.of(later.message), later.actor)))
                return decision
        self._accept(decision, world.apply(decision, rows))
        return decision

    def _pend(self, lead_id: UUID, later: Later) -> Later:
        self._pending[lead_id][id(later)] = later
        return later

    def _decided(self, later: Later) -> Decision:
        self.decisions += 1
        self.world.drawn = 0
        return handle(self._envelope(later), self.world)

    # --- limits -----------------------------------------------------------------------------------------------------

    def _alike(self, later: Later, decision: Decision, rows: Rows, size: int) -> int:
        """For how many members the decision holds: at least one."""
        world, hints = self.world, self.world.full_slots
        world.moved = defaultdict(int)
        for take in rows.quotas:
            world.moved[take.organization_id, take.scope, take.slot] += 1
        for key in rows.quotas_given_back:
            world.moved[key] -= 1

        def same(before: int) -> bool:
            """Does a member decide the same when ``before`` others have done so?"""
            world.full_slots = hints.copy()
            world.times = before
            return self._decided(later).states == decision.states

        try:
            if same(size - 1):
                return size
            holds, fails = 1, size
            while fails - holds > 1:
                middle = (holds + fails) // 2
                if same(middle - 1):
                    holds = middle
                else:
                    fails = middle
            return holds
        finally:
            world.full_slots, world.times = hints, 0

    # --- draws ------------------------------------------------------------------------------------------------------

    def _by_draws(self, later: Later, lead_id: UUID, size: int, first: Decision) -> Decision:
        """Decides for many drawn numbers; those who decide alike stay together."""
        draws = min(size, MOST_DRAWS)
        tickets: dict[str, int] = {}
        counts: defaultdict[str, int] = defaultdict(int)
        for number in range(draws):
            self._tickets += 1
            self.world.ticket = self._tickets
            kind = repr(self._decided(later).states)
            tickets.setdefault(kind, self._tickets)
            counts[kind] += size // draws + (1 if number < size % draws else 0)
        decision = first
        kinds = list(counts.items())
        members = [(lead_id, later), *(self._parted(lead_id, later, count) for _, count in kinds[1:])]
        for (kind, count), (member, message) in zip(kinds, members, strict=True):
            self.world.weight = count
            decision = self._take(message, member, count, tickets[kind])
        return decision

    def _parted(self, lead_id: UUID, later: Later, size: int) -> tuple[UUID, Later]:
        twin, renaming = self.split(lead_id, size)
        return twin, Later(later.at, renaming.of(later.message), later.actor)

    # --- what leads do ----------------------------------------------------------------------------------------------

    def _accept(self, decision: Decision, rows: Rows) -> None:
        for change in decision.changes:
            if change.lead_id is not None:
                self._of_lead[change.lead_id].add(change.id)
        super()._accept(decision, rows)
        for change in decision.changes:
            if isinstance(change.event, StepSent) and change.lead_id is not None:
                self._react(change, change.event, change.lead_id)

    def _react(self, change: Change, event: StepSent, lead_id: UUID) -> None:
        groups = [each for each in self.outside.groups(event, self.sizes.get(lead_id, 1), self._random) if each.size]
        enrollments = [change.id]
        for group in groups[1:]:
            _twin, renaming = self.split(lead_id, group.size)
            enrollments.append(renaming.of(change.id))
        for group, enrollment_id in zip(groups, enrollments, strict=True):
            for played in group.signals:
                self.expect(Later(event.sent_at + played.after, signal(enrollment_id, event, played, event.sent_at)))

    # --- parting ----------------------------------------------------------------------------------------------------

    def split(self, lead_id: UUID, size: int) -> tuple[UUID, Renaming]:
        """Takes ``size`` members out of a crowd: a twin in the same states, with the same timers and messages."""
        world = self.world
        self._twins += 1
        self.ways += 1
        twin = UUID(int=(0x7 << 124) + self._twins)
        renaming = self._renaming(lead_id, twin)
        self.sizes[lead_id] = self.sizes.get(lead_id, 1) - size
        self.sizes[twin] = size
        for aggregate_id in self._of_lead[lead_id]:
            if (state := world.states.get(aggregate_id)) is None:
                continue
            renamed = renaming.of(aggregate_id)
            world.states[renamed] = renaming.of(state)
            self._of_lead[twin].add(renamed)
            self.outside.parted(aggregate_id, renamed, size)
            if (timer := world.timers.get((aggregate_id, "step"))) is not None:
                moved = world.timers[renamed, "step"] = timer._replace(aggregate_id=renamed)
                self.watch(moved)
        world.learn_of_twin(self.organization_id, lead_id, twin)
        for later in list(self._pending[lead_id].values()):
            self.expect(Later(later.at, renaming.of(later.message), later.actor))
        return twin, renaming

    def _renaming(self, lead_id: UUID, twin: UUID) -> Renaming:
        """Every id of the lead's, those made of others the way the domain makes them."""
        world, known = self.world, self._of_lead[lead_id]
        renaming = Renaming({lead_id: twin})
        states = [(each, world.states.get(each)) for each in known]
        for aggregate_id, state in states:
            if isinstance(state, Enrollment):
                renamed = derived_id("twin", twin, aggregate_id)
                renaming.add(aggregate_id, renamed)
                for number in state.executions:
                    if (heard := engagement_id(aggregate_id, number)) in known:
                        renaming.add(heard, engagement_id(renamed, number))
                if any(isinstance(each, Task) for _, each in states):
                    for number in range(1, state.last_execution + 1):
                        renaming.add(derived_id("task", aggregate_id, number), derived_id("task", renamed, number))
        for aggregate_id, _ in states:
            if aggregate_id not in renaming:
                renaming.add(aggregate_id, derived_id("twin", twin, aggregate_id))
        return renaming

    # --- becoming one again -------------------------------------------------------------------------------------------

    def _gather(self, first: Timer, likeness: Likeness) -> None:
        """Those whose steps are due at the same moment as ``first`` go into the first crowd that is like them."""
        entries = []
        while self._agenda and self._agenda[0][0] == first.due_at:
            entries.append(heappop(self._agenda))
        crowds: defaultdict[tuple[int, str | None], list[tuple[UUID, tuple[Lead, Enrollment]]]] = defaultdict(list)
        seen: set[UUID] = set()
        timers = [first, *(what for _, _, what in entries if isinstance(what, Timer))]
        for timer in timers:
            if timer.aggregate_id in seen or self.world.timers.get((timer.aggregate_id, timer.name)) != timer:
                continue
            seen.add(timer.aggregate_id)
            state = self.world.enrollment(timer.aggregate_id)
            standing = self._standing(state, likeness) if state is not None else None
            if state is None or standing is None:
                continue
            like = crowds[state.version, state.plan.step_id if state.plan is not None else None]
            into = next((lead_id for lead_id, known in like if known == standing), None)
            if into is None:
                like.append((state.lead_id, standing))
            else:
                self._merge(state.lead_id, into)
        for entry in entries:
            heappush(self._agenda, entry)

    def _standing(self, state: Enrollment, likeness: Likeness) -> tuple[Lead, Enrollment] | None:
        """None for one for whom something is still to come, be it a message or a person's work."""
        lead = self.world.lead(state.lead_id)
        if lead is None or lead.id not in self.sizes or self._pending[lead.id]:
            return None
        tasks = (self.world.task(each) for each in self._of_lead[lead.id])
        if any(task is not None and task.status == "open" for task in tasks):
            return None
        return likeness.of(lead, state)

    def _merge(self, lead_id: UUID, into: UUID) -> None:
        self.sizes[into] += self.sizes.pop(lead_id)
        for aggregate_id in self._of_lead.pop(lead_id):
            self.world.states.pop(aggregate_id, None)
            self.world.timers.pop((aggregate_id, "step"), None)
        self._pending.pop(lead_id, None)

    def _lead_of(self, later: Later) -> UUID | None:
        for name in _ids_in(type(later.message)):
            aggregate_id = getattr(later.message, name)
            if name == "lead_id" and aggregate_id is not None:
                return cast("UUID", aggregate_id)
            state = self.world.states.get(aggregate_id)
            if isinstance(state, Enrollment | Task):
                return state.lead_id
        return None


@cache
def _ids_in(cls: type[Message]) -> tuple[str, ...]:
    """What in such a message says whose it is."""
    return tuple(name for name in ("lead_id", "enrollment_id", "task_id") if name in fields_of(cls))
