"""How many messages may go out: places per scope and day or minute, reserved when a step is planned and taken when it
goes out.

Four counts stand for one slot of a limit, each a row of the store: places **taken** (``day:2026-11-20``), and places
**reserved** by waiting follow-ups (``follow:day:2026-11-20``) and by waiting first touches (``first:day:2026-11-20``);
in a limit that sequences share, each of these once more for every sequence (``organization/<sequence>``). Only taken
places are guarded: they never exceed the limit. What is reserved may be outbid, by these rules:

1. A follow-up reserves where places taken and follow-ups leave room, whatever first touches have reserved; a first
   touch only where all of them leave room. So first touches never keep follow-ups from a slot.
2. In a limit that sequences share, each active one has an equal part of every slot, even one that is booked up.
3. A step that is due takes the place it reserved when there is room for it and for those who go before it: follow-ups
   before first touches; and before a sequence that has had its part, the others. One that lost its place is planned
   again, behind those who wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from services.enrollment.domain.flow import Node, Version
from services.enrollment.domain.full_slots import FullSlots
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.windows import UTC_ZONE, first_zone
from shared.events.definition import Limits, RampUp
from shared.events.why import QuotaSlot, TimerClass

#: The bound of a row that only counts.
UNBOUNDED = 2**31
#: Slots looked at for one step before it is planned without a place; it is then looked at again when it is due.
MOST_SLOTS = {"day": 10_000, "minute": 366 * 24 * 60}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RESERVED = {TimerClass.FOLLOW_UP: "follow:", TimerClass.FIRST_TOUCH: "first:", TimerClass.WATCHDOG: "follow:"}


class Counts(Protocol):
    """The part of a World that limits are decided on."""

    @property
    def full_slots(self) -> FullSlots: ...

    def quota_used(self, organization_id: str, scope: str, slot: str) -> int: ...

    def active_sequences(self, organization_id: str) -> int: ...


class Limit(NamedTuple):
    """At most ``most`` in each slot of ``unit``: a ``minute``, or a ``day`` of ``zone``.

    ``shared``: several sequences count against it. With ``ramp`` it is lower at first, counted from ``ramp_day``.
    """

    scope: str
    unit: str
    most: int
    zone: ZoneInfo = UTC_ZONE
    shared: bool = False
    ramp: RampUp | None = None
    ramp_day: int = 0

    def most_in(self, index: int) -> int:
        """What the limit is in one slot."""
        return self.most if self.ramp is None else allowance(self.ramp, self.most, index - self.ramp_day)


class Asker(NamedTuple):
    """Who wants a place. ``held`` names places (scope, slot) that are its own and free to it."""

    organization_id: str
    sequence_id: UUID
    timer_class: TimerClass
    held: frozenset[tuple[str, str]] = frozenset()


def allowance(ramp: RampUp, full: int, days: int) -> int:
    """Messages a day ``days`` days after a ramp's first (0 on it and before), at most ``full``."""
    days = max(days, 0)
    if ramp.step is not None:
        return min(full, ramp.start + ramp.step * days)
    allowed = float(ramp.start)
    for _ in range(days):
        if allowed >= full:
            break
        allowed *= ramp.factor or 1.0
    return min(full, int(allowed))


def limits_something(limits: Limits) -> bool:
    return limits.per_day is not None or limits.per_minute is not None


def limits_of(version: Version, organization: Organization | None, node: Node) -> list[Limit]:
    """Every limit that a message of this step counts against: of sequence, organization and sender. Days come before
    minutes.
    """
    sender = organization.sender_for(node.sender) if organization is not None else None
    if not (
        limits_something(version.settings.limits)
        or (organization is not None and limits_something(organization.limits))
        or (sender is not None and limits_something(sender.limits))
    ):
        return []
    found: list[Limit] = []
    zone = first_zone(organization.timezone if organization is not None else None)
    _add(found, f"sequence:{version.sequence_id}", version.settings.limits, zone)
    if organization is not None:
        _add(found, "organization", organization.limits, zone, shared=True)
        if sender is not None and limits_something(sender.limits):
            ramp_day = day_of(sender.ramp_from, zone) if sender.ramp_from is not None else 0
            ramp = sender.ramp_up if sender.ramp_from is not None else None
            _add(found, f"sender:{sender.sender_id}", sender.limits, zone, shared=True, ramp=ramp, ramp_day=ramp_day)
    if len(found) > 1:
        found.sort(key=lambda limit: limit.unit)
    return found


def _add(
    found: list[Limit],
    scope: str,
    limits: Limits,
    zone: ZoneInfo,
    *,
    shared: bool = False,
    ramp: RampUp | None = None,
    ramp_day: int = 0,
) -> None:
    if limits.per_day is not None:
        found.append(Limit(scope, "day", limits.per_day, zone, shared, ramp, ramp_day))
    if limits.per_minute is not None:
        found.append(Limit(scope, "minute", limits.per_minute, UTC_ZONE, shared))


# --- slots and their names --------------------------------------------------------------------------------------------


def day_of(moment: datetime, zone: ZoneInfo) -> int:
    """The number of the local day a moment falls into."""
    return moment.astimezone(zone).toordinal()


def index_of(limit: Limit, moment: datetime) -> int:
    """The number of the slot a moment falls into; numbers follow each other without a gap."""
    return day_of(moment, limit.zone) if limit.unit == "day" else (moment - _EPOCH) // timedelta(minutes=1)


def begins(limit: Limit, index: int) -> datetime:
    """When a slot begins."""
    if limit.unit == "minute":
        return _EPOCH + timedelta(minutes=index)
    day = date.fromordinal(index)
    return datetime(day.year, day.month, day.day, tzinfo=limit.zone).astimezone(UTC)


@lru_cache(maxsize=65_536)
def slot_name(unit: str, index: int) -> str:
    """``day:2026-11-20`` or ``minute:2026-11-20T09:15`` (UTC)."""
    if unit == "day":
        return f"day:{date.fromordinal(index).isoformat()}"
    return f"minute:{(_EPOCH + timedelta(minutes=index)).isoformat()[:16]}"


@lru_cache(maxsize=65_536)
def parsed(slot: str) -> tuple[str, int]:
    """Unit and number of a slot from its name, that of a reserved place too."""
    unit, _, name = bare(slot).partition(":")
    if unit == "day":
        return unit, date.fromisoformat(name).toordinal()
    return unit, (datetime.fromisoformat(name).replace(tzinfo=UTC) - _EPOCH) // timedelta(minutes=1)


def bare(slot: str) -> str:
    """The slot whose place a row counts as reserved or taken."""
    return slot.removeprefix("follow:").removeprefix("first:")


def places_reserved(slots: Iterable[QuotaSlot], timer_class: TimerClass) -> frozenset[tuple[str, str]]:
    """A plan's places as (scope, slot) of the rows that count them."""
    return frozenset((slot.scope, _RESERVED[timer_class] + slot.slot) for slot in slots)


def places_taken(slots: Iterable[QuotaSlot]) -> frozenset[tuple[str, str]]:
    """The places of a message that went out, or is on its way, as (scope, slot) of the rows that count them."""
    return frozenset((slot.scope, slot.slot) for slot in slots)


def is_shared(scope: str) -> bool:
    """Do several sequences count against limits of this scope?"""
    return not scope.startswith("sequence:")


def part_of(scope: str, sequence_id: UUID) -> str:
    """The scope in which one sequence's places in a shared one are counted."""
    return f"{scope}/{sequence_id}"


def rows_for(places: Iterable[tuple[str, str]], sequence_id: UUID) -> Iterator[tuple[str, str]]:
    """Every row (scope, slot) that counts these places."""
    for scope, slot in places:
        yield scope, slot
        if is_shared(scope):
            yield part_of(scope, sequence_id), slot


# --- asking for a place -----------------------------------------------------------------------------------------------


class _Slot:
    """The counts of one slot without the asker's own places."""

    __slots__ = ("_asker", "_limit", "_world", "first", "follow", "most", "name", "taken")

    def __init__(self, world: Counts, limit: Limit, index: int, asker: Asker) -> None:
        self._world = world
        self._limit = limit
        self._asker = asker
        self.name = slot_name(limit.unit, index)
        self.most = limit.most_in(index)
        self.taken = self._others(self.name)
        self.follow = self._others("follow:" + self.name)
        self.first = self._others("first:" + self.name) if asker.timer_class is TimerClass.FIRST_TOUCH else 0

    def _others(self, slot: str) -> int:
        used = self._world.quota_used(self._asker.organization_id, self._limit.scope, slot)
        return used - 1 if (self._limit.scope, slot) in self._asker.held else used

    def _own_part(self, slot: str) -> int:
        """What the asker's sequence has of it."""
        used = self._world.quota_used(
            self._asker.organization_id, part_of(self._limit.scope, self._asker.sequence_id), slot
        )
        return used - 1 if (self._limit.scope, slot) in self._asker.held else used

    def _guaranteed(self) -> int:
        return max(self.most // max(self._world.active_sequences(self._asker.organization_id), 1), 1)

    @property
    def is_held(self) -> bool:
        return (self._limit.scope, self._reserved) in self._asker.held

    @property
    def _reserved(self) -> str:
        return _RESERVED[self._asker.timer_class] + self.name

    def has_room(self) -> bool:
        """May a place be reserved?"""
        if self.taken + self.follow + self.first < self.most:
            return True
        if not self._limit.shared:
            return False
        before = self.taken + (self.follow if self._asker.timer_class is TimerClass.FIRST_TOUCH else 0)
        return before < self.most and self._own_part(self.name) + self._own_part(self._reserved) < self._guaranteed()

    def lets_go(self) -> bool:
        """May the asker, who has reserved a place here, take it now?"""
        is_first = self._asker.timer_class is TimerClass.FIRST_TOUCH
        ahead = self.taken + (self.follow if is_first else 0)
        if ahead >= self.most:
            return False
        peers = self.first if is_first else self.follow
        if not self._limit.shared or ahead + peers < self.most or self._own_part(self.name) < self._guaranteed():
            return True
        return ahead + peers - self._own_part(self._reserved) < self.most


class Full(NamedTuple):
    """No place at that moment: ``limit`` is used up, the next slot with room begins at ``again_at``."""

    limit: Limit
    again_at: datetime


def places_free(
    world: Counts, limits: Iterable[Limit], moment: datetime, asker: Asker, *, take: bool = False
) -> list[QuotaSlot] | Full:
    """One place in every limit at a moment; or the limit that is used up, and when it has room again.

    ``take``: it is to be taken at once, so a place reserved in this slot counts.
    """
    slots: list[QuotaSlot] = []
    for limit in limits:
        index = index_of(limit, moment)
        if take and (slot := _Slot(world, limit, index, asker)).is_held:
            free = index if slot.lets_go() else _first_room(world, limit, index + 1, asker)
        else:
            free = _first_room(world, limit, index, asker)
        if free > index:
            return Full(limit, begins(limit, free))
        slots.append(QuotaSlot(scope=limit.scope, slot=slot_name(limit.unit, index)))
    return slots


def _first_room(world: Counts, limit: Limit, index: int, asker: Asker) -> int:
    """The first slot from ``index`` on that has room; the slot after the last one looked at when none has."""
    known = world.full_slots.of(
        asker.organization_id,
        limit.scope,
        limit.unit,
        (limit, asker.timer_class, asker.sequence_id if limit.shared else None),
    )
    own = [
        number
        for scope, slot in asker.held
        if scope == limit.scope
        for unit, number in (parsed(slot),)
        if unit == limit.unit
    ]
    last = index + MOST_SLOTS[limit.unit]
    while index < last:
        jump = known.after(index)
        index = min((number for number in own if index <= number < jump), default=jump)
        if _Slot(world, limit, index, asker).has_room():
            return index
        if index not in own:
            known.add(index)
        index += 1
    return index
