"""Stop keys: what holds a StepDue back, by name. Pure; the ledger keeps and reads them.

A key holds for every StepDue at a position below ``before``. The tracker's own stops are provisional: they hold for
every StepDue until the log confirms them with an order that carries ``before``; one that was made before the newest
confirmation adds nothing (it came late). Keys of an enrollment name no organization, because a signal from an address
token knows none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shared.events import Envelope
from shared.events.dispatch import DressedStep, StopOrder

#: By how much the clocks of the tracker's and the clerk's machines may differ.
CLOCK_SLACK = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class StopKey:
    """``before`` 0: no confirmed stop. ``confirmed_at`` is the business time of the newest confirmed order,
    ``provisional_at`` that of a provisional one that still waits for its confirmation; both None without one.
    """

    name: str
    before: int
    reason: str
    provisional_at: datetime | None = None
    confirmed_at: datetime | None = None

    def holds(self, position: int, since: datetime | None = None) -> bool:
        """Whether a StepDue at this position stays back.

        A reminder for a step that the ledger never saw tells its own position, not the StepDue's. ``since`` is then
        when the step was due at the earliest, and every stop recorded after that holds.
        """
        if self.provisional_at is not None or position < self.before:
            return True
        return since is not None and self.confirmed_at is not None and self.confirmed_at >= since


def key_name(scope: str, key: str, organization_id: str | None) -> str:
    """A key's name in the ledger."""
    return f"enrollment:{key}" if scope == "enrollment" else f"{organization_id or ''}|{scope}:{key}"


def keys_of(step: DressedStep, organization_id: str | None, lead_id: UUID | None) -> tuple[str, ...]:
    """The names of all keys that hold for a step."""
    wanted: Iterable[tuple[str, str]] = (
        ("enrollment", str(step.enrollment_id)),
        ("lead", f"{lead_id}:{step.channel}" if lead_id else ""),
        ("address", step.address_hash),
        ("domain", step.domain_hash),
        ("sequence", str(step.sequence_id)),
        ("sender", f"{organization_id}:{step.sender.sender_id}"),
        ("organization", organization_id or ""),
    )
    return tuple(key_name(scope, key, organization_id) for scope, key in wanted if key)


def name_of_order(order: Envelope) -> str:
    """The key's name of a StopOrder."""
    message = order.message
    assert isinstance(message, StopOrder)
    return key_name(message.scope, message.key, order.organization_id)


def applied(order: StopOrder, name: str, known: StopKey | None) -> StopKey:
    """The key after an order. Orders may come twice and in any order: the result is the same."""
    known = known or StopKey(name, 0, order.reason)
    if order.before is None:
        late = known.confirmed_at is not None and order.at + CLOCK_SLACK <= known.confirmed_at
        if late or known.provisional_at is not None:
            return known
        return replace(known, provisional_at=order.at, reason=order.reason)
    answered = known.provisional_at is not None and known.provisional_at <= order.at + CLOCK_SLACK
    return replace(
        known,
        before=max(known.before, order.before),
        reason=order.reason if order.before >= known.before else known.reason,
        provisional_at=None if answered else known.provisional_at,
        confirmed_at=order.at if known.confirmed_at is None else max(order.at, known.confirmed_at),
    )


def first_that_holds(keys: Iterable[StopKey | None], position: int, since: datetime | None = None) -> StopKey | None:
    """The first key that holds such a StepDue back."""
    return next((key for key in keys if key is not None and key.holds(position, since)), None)


def key_to_document(key: StopKey) -> dict[str, Any]:
    """As it is kept."""
    document = asdict(key)
    return {"_id": document.pop("name"), **document}


def key_from_document(document: Mapping[str, Any]) -> StopKey:
    """Back from the ledger."""
    return StopKey(**{"name" if field == "_id" else field: value for field, value in document.items()})
