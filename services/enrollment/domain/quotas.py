"""How many messages may go out: a slot per scope and UTC day or minute, taken when a step is planned and counted by
the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from services.enrollment.domain.flow import Node, Version
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.world import World
from shared.events.definition import Limits
from shared.events.why import QuotaSlot


class Limit(NamedTuple):
    """At most ``most`` in each slot of ``unit`` (``day`` or ``minute``)."""

    scope: str
    unit: str
    most: int


def limits_of(version: Version, organization: Organization | None, node: Node) -> list[Limit]:
    """Every limit that a message of this step counts against: of sequence, organization and sender. Days come before
    minutes.
    """
    found: list[Limit] = []
    _add(found, f"sequence:{version.sequence_id}", version.settings.limits)
    if organization is not None:
        _add(found, "organization", organization.limits)
        sender = organization.sender_for(node.sender)
        if sender is not None:
            _add(found, f"sender:{sender.sender_id}", sender.limits)
    if len(found) > 1:
        found.sort(key=lambda limit: limit.unit)
    return found


def _add(found: list[Limit], scope: str, limits: Limits) -> None:
    if limits.per_day is not None:
        found.append(Limit(scope, "day", limits.per_day))
    if limits.per_minute is not None:
        found.append(Limit(scope, "minute", limits.per_minute))


def slot_at(limit: Limit, moment: datetime) -> QuotaSlot:
    """The slot of a limit that a moment falls into, named in UTC."""
    utc = moment.astimezone(UTC)
    name = utc.strftime("day:%Y-%m-%d") if limit.unit == "day" else utc.strftime("minute:%Y-%m-%dT%H:%M")
    return QuotaSlot(scope=limit.scope, slot=name)


def next_slot(limit: Limit, moment: datetime) -> datetime:
    """When the slot after that of ``moment`` begins."""
    utc = moment.astimezone(UTC)
    if limit.unit == "day":
        return utc.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return utc.replace(second=0, microsecond=0) + timedelta(minutes=1)


class Full(NamedTuple):
    """No slot at that moment: ``limit`` is used up, the next one begins at ``again_at``."""

    limit: Limit
    again_at: datetime


def slots_free(
    world: World, organization_id: str, limits: Iterable[Limit], moment: datetime, held: Iterable[QuotaSlot] = ()
) -> list[QuotaSlot] | Full:
    """One slot of every limit at a moment, or the limit that is used up. Slots in ``held`` are the asker's own and
    free to it.
    """
    own = set(held_keys(held))
    slots: list[QuotaSlot] = []
    for limit in limits:
        slot = slot_at(limit, moment)
        used = world.quota_used(organization_id, slot.scope, slot.slot)
        if (slot.scope, slot.slot) in own:
            used -= 1
        if used >= limit.most:
            return Full(limit, next_slot(limit, moment))
        slots.append(slot)
    return slots


def held_keys(slots: Iterable[QuotaSlot]) -> list[tuple[str, str]]:
    """Slots as plain pairs (scope, slot)."""
    return [(slot.scope, slot.slot) for slot in slots]
