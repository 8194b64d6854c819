"""What single events leave in the tables beside the log: suppressions, orders for a company's leads, a lead's tasks
made by hand, and counts for variants, brakes and the hours at which leads answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from services.enrollment.domain import best_hour, brake
from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.handling import Decision
from services.enrollment.domain.lead import UNSUBSCRIBED
from services.enrollment.domain.row_types import CompanyToStop, Figure, Rows, Suppression
from services.enrollment.domain.task import by_hand_of
from services.enrollment.domain.variants import key_of, kind_of
from services.enrollment.domain.work import Change
from services.enrollment.domain.world import World
from shared.events.enrollment import (
    CompanyStopAsked,
    ConversionAttributed,
    EngagementNoted,
    StepFailed,
    StepSent,
    StepSettled,
)
from shared.events.lead import LeadAddressSuppressed, LeadErased, LeadResubscribed, LeadUnsubscribed
from shared.events.message import Event
from shared.events.organization import AddressSuppressed, AddressUnsuppressed
from shared.events.task import TaskOpened

Note = Callable[[Rows, Change, Any, Decision, World], None]


def note_events(rows: Rows, decision: Decision, world: World) -> None:
    """Adds the rows of every recorded event to ``rows``."""
    for change in decision.changes:
        note = _NOTES.get(type(change.event))
        if note is not None:
            note(rows, change, change.event, decision, world)


def _suppressed(
    rows: Rows, change: Change, event: LeadAddressSuppressed | AddressSuppressed, _decision: Decision, _world: World
) -> None:
    suppression = Suppression(change.organization_id, event.channel, event.address_hash, event.reason, event.at)
    rows.suppressions.append(suppression)


def _unsuppressed(rows: Rows, change: Change, event: AddressUnsuppressed, _decision: Decision, _world: World) -> None:
    rows.suppressions_gone.append((change.organization_id, event.channel, event.address_hash))


def _unsubscribed(rows: Rows, change: Change, event: LeadUnsubscribed, _decision: Decision, _world: World) -> None:
    if event.address_hash is not None:
        suppression = Suppression(change.organization_id, event.channel, event.address_hash, UNSUBSCRIBED, event.at)
        rows.suppressions.append(suppression)


def _resubscribed(rows: Rows, change: Change, event: LeadResubscribed, _decision: Decision, _world: World) -> None:
    if event.address_hash is not None:
        rows.suppressions_gone.append((change.organization_id, event.channel, event.address_hash))


def _erased(rows: Rows, change: Change, _event: LeadErased, _decision: Decision, _world: World) -> None:
    rows.erased.append(change.id)
    rows.figures_gone.append((change.organization_id, best_hour.kind_of(change.id)))
    rows.figures_gone.append((change.organization_id, by_hand_of(change.id)))


def _task_opened(rows: Rows, change: Change, event: TaskOpened, _decision: Decision, _world: World) -> None:
    """One of an enrollment is found by that."""
    if event.enrollment_id is None and change.lead_id is not None:
        rows.figures.append(Figure(change.organization_id, by_hand_of(change.lead_id), str(change.id)))


def _company_stop_asked(rows: Rows, change: Change, event: CompanyStopAsked, decision: Decision, _world: World) -> None:
    state = _enrollment(decision, change)
    stop = CompanyToStop(state.id, event.signal, state.organization_id, state.sequence_id, event.do, event.company_hash)
    rows.company_stops.append(stop)


def _sent(rows: Rows, change: Change, event: StepSent, decision: Decision, world: World) -> None:
    _count_variant(rows, change, event, decision, "sent")
    _count_for_brake(rows, change, event, decision, world)


def _settled(rows: Rows, change: Change, event: StepSettled, decision: Decision, world: World) -> None:
    if event.outcome == "sent":
        _count_variant(rows, change, event, decision, "sent")
    _count_for_brake(rows, change, event, decision, world)


def _converted(rows: Rows, change: Change, event: ConversionAttributed, decision: Decision, _world: World) -> None:
    _count_variant(rows, change, event, decision, "conversions")


def _engaged(rows: Rows, change: Change, event: EngagementNoted, decision: Decision, world: World) -> None:
    _count_variant(rows, change, event, decision, event.signal)
    _count_for_brake(rows, change, event, decision, world)
    if change.lead_id is not None:
        lead, home = world.lead(change.lead_id), world.organization(change.organization_id)
        for kind, key, weight in best_hour.learned(event, change.lead_id, lead, home):
            rows.figures.append(Figure(change.organization_id, kind, key, weight))


def _count_for_brake(rows: Rows, change: Change, event: Event, decision: Decision, world: World) -> None:
    for kind, key in brake.counted(world, _enrollment(decision, change), event, world.now):
        rows.figures.append(Figure(change.organization_id, kind, key))


def _count_variant(
    rows: Rows,
    change: Change,
    event: StepSent | StepSettled | ConversionAttributed | EngagementNoted,
    decision: Decision,
    figure: str,
) -> None:
    """What variants are chosen by."""
    if event.variant is not None and event.content is not None:
        kind = kind_of(_enrollment(decision, change).sequence_id, event.step_id)
        rows.figures.append(Figure(change.organization_id, kind, key_of(event.variant, event.content, figure)))


def _enrollment(decision: Decision, change: Change) -> Enrollment:
    state = decision.states[change.id]
    assert isinstance(state, Enrollment)
    return state


_NOTES: Mapping[type[Event], Note] = {
    LeadAddressSuppressed: _suppressed,
    AddressSuppressed: _suppressed,
    AddressUnsuppressed: _unsuppressed,
    LeadUnsubscribed: _unsubscribed,
    LeadResubscribed: _resubscribed,
    LeadErased: _erased,
    TaskOpened: _task_opened,
    CompanyStopAsked: _company_stop_asked,
    StepSent: _sent,
    StepSettled: _settled,
    StepFailed: _count_for_brake,
    EngagementNoted: _engaged,
    ConversionAttributed: _converted,
}
