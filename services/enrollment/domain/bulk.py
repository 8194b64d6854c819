"""Bulk: one order over many targets. State and decisions; what it does to its targets is carried out by the clerk.

gathering → running → finished or cancelled. The targets themselves stand in the log alone. Those inside a sequence are
gathered by the clerk, for a bulk that was ordered together with a publishing or a deletion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from services.enrollment.domain.errors import BulkNotReady, BulkOver, BulkTooLarge, NotUndoable, SomeTargetsMissing
from shared.events.bulk import (
    MOST_TARGETS,
    BulkAdvanced,
    BulkBegun,
    BulkCancelled,
    BulkFinished,
    BulkOrdered,
    BulkTargetsNamed,
    BulkUndone,
    NameBulkTargets,
    OrderBulk,
    RecordBulkProgress,
    UndoBulk,
)
from shared.events.message import Event

BulkStatus = Literal["gathering", "running", "finished", "cancelled"]


@dataclass(frozen=True, slots=True)
class Bulk:
    """``count`` targets have been named in ``pages`` pages; ``handled`` of them, from the first, are dealt with."""

    id: UUID
    organization_id: str
    kind: str = ""
    order: Mapping[str, Any] = field(default_factory=dict)
    source: UUID | None = None
    inside: UUID | None = None
    status: BulkStatus = "gathering"
    pages: int = 0
    count: int = 0
    handled: int = 0
    done: int = 0
    unchanged: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    undone_by: UUID | None = None

    @property
    def is_the_clerks(self) -> bool:
        """Has the clerk something to do for it?"""
        return self.status == "running" or (self.status == "gathering" and self.inside is not None)

    @property
    def is_over(self) -> bool:
        return self.status in {"finished", "cancelled"}


def initial(bulk_id: UUID, organization_id: str) -> Bulk:
    return Bulk(bulk_id, organization_id)


def evolve(state: Bulk, event: Event, _at: datetime) -> Bulk:
    """The state after an event. An event it does not know leaves it as it is."""
    match event:
        case BulkOrdered():
            state = replace(state, kind=event.kind, order=event.order, source=event.source, inside=event.inside)
        case BulkTargetsNamed():
            state = replace(state, pages=event.page, count=state.count + len(event.targets))
        case BulkBegun():
            state = replace(state, status="running", count=event.count)
        case BulkAdvanced():
            state = replace(
                state,
                handled=event.handled,
                done=state.done + event.done,
                unchanged=state.unchanged + event.unchanged,
                reasons=Counter(state.reasons) + Counter(each.code for each in event.refusals),
            )
        case BulkFinished():
            state = replace(state, status="finished")
        case BulkCancelled():
            state = replace(state, status="cancelled")
        case BulkUndone():
            state = replace(state, undone_by=event.undo_id)
    return state


def order(state: Bulk | None, command: OrderBulk) -> Iterator[Event]:
    """A bulk that exists already is left as it is. Enrollments that it opens name it, so that it can be undone."""
    if state is None:
        named = {"by": "bulk", "bulk_id": str(command.bulk_id)} if command.kind == "enroll" else {}
        yield BulkOrdered(kind=command.kind, order={**command.order, **named}, filter=command.filter)


def for_those_inside(state: Bulk | None, sequence_id: UUID, kind: str, order: Mapping[str, Any]) -> Iterator[Event]:
    """A bulk over the enrollments that are open in a sequence. One that exists already is left as it is."""
    if state is None:
        yield BulkOrdered(kind=kind, order=dict(order), inside=sequence_id)


def name_targets(state: Bulk, command: NameBulkTargets) -> Iterator[Event]:
    """Raises SomeTargetsMissing when a page before this one has not come, BulkTooLarge, or BulkOver. Those inside a
    sequence may be as many as there are."""
    if command.page <= state.pages:
        return
    if state.status != "gathering":
        raise BulkOver(f"bulk {state.id} takes no more targets")
    if command.page != state.pages + 1:
        raise SomeTargetsMissing(f"page {state.pages + 1} comes before page {command.page}")
    if state.inside is None and state.count + len(command.targets) > MOST_TARGETS:
        raise BulkTooLarge(f"a bulk has at most {MOST_TARGETS} targets")
    yield BulkTargetsNamed(page=command.page, targets=command.targets)


def begin(state: Bulk, pages: int) -> Iterator[Event]:
    """Raises SomeTargetsMissing. One without targets is finished at once."""
    if state.status != "gathering":
        return
    if pages != state.pages:
        raise SomeTargetsMissing(f"{state.pages} pages of {pages} have come")
    yield BulkBegun(count=state.count)
    if not state.count:
        yield BulkFinished(done=0, unchanged=0, refused=0)


def cancel(state: Bulk) -> Iterator[Event]:
    """Raises BulkOver when every target was dealt with."""
    if state.status == "finished":
        raise BulkOver(f"bulk {state.id} is finished")
    if state.status != "cancelled":
        yield BulkCancelled(handled=state.handled)


def advance(state: Bulk, command: RecordBulkProgress, at: datetime) -> Iterator[Event]:
    """Progress that is known already, or of a bulk that was cancelled and then repeated, records nothing."""
    if command.begin != state.handled or state.status not in {"running", "cancelled"} or command.end > state.count:
        return
    advanced = BulkAdvanced(
        handled=command.end,
        done=command.done,
        unchanged=command.unchanged,
        refusals=command.refusals,
        stays=command.stays,
    )
    yield advanced
    after = evolve(state, advanced, at)
    if after.handled == after.count and after.status == "running":
        yield BulkFinished(
            done=after.done, unchanged=after.unchanged, refused=sum(after.reasons.values()), reasons=dict(after.reasons)
        )


def undo(state: Bulk, command: UndoBulk) -> tuple[list[Event], list[Event]]:
    """Events of the bulk that is undone, and of the one that undoes it; none when that was ordered already.

    Raises NotUndoable for another kind than an enrolment and for one that was undone by another order; BulkNotReady
    while it runs.
    """
    if state.undone_by == command.undo_id:
        return [], []
    if state.kind != "enroll":
        raise NotUndoable(f"a bulk of kind {state.kind} cannot be undone")
    if state.undone_by is not None:
        raise NotUndoable(f"bulk {state.id} was undone by bulk {state.undone_by}")
    if not state.is_over:
        raise BulkNotReady(f"bulk {state.id} is {state.status}: cancel it or wait for its end")
    what = {
        "sequence_id": str(state.order["sequence_id"]),
        "bulk_id": str(state.id),
        "also_sent": command.also_sent,
    }
    ordered = BulkOrdered(kind="undo_enroll", order=what, source=state.id)
    undoing: list[Event] = [ordered, BulkBegun(count=state.count)]
    if not state.count:
        undoing.append(BulkFinished(done=0, unchanged=0, refused=0))
    return [BulkUndone(undo_id=command.undo_id)], undoing
