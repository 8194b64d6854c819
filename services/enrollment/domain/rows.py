"""What a decision means for the tables beside the log: the timer and places of each enrollment, and what single events
leave there. Pure.
"""

from __future__ import annotations

from datetime import datetime

from services.enrollment.domain.bulk import Bulk
from services.enrollment.domain.company import company_hash
from services.enrollment.domain.enrollment import Enrollment, InFlight, Status
from services.enrollment.domain.event_rows import note_events
from services.enrollment.domain.handling import Decision
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.quotas import (
    UNBOUNDED,
    limits_of,
    parsed,
    places_reserved,
    places_taken,
    rows_for,
)
from services.enrollment.domain.row_types import TIMER, BulkMark, Company, Listing, Rows, Take, Timer
from services.enrollment.domain.sequence import Sequence
from services.enrollment.domain.watchdogs import round_delay
from services.enrollment.domain.world import World
from shared.events.enrollment import StepDeferred, StepDue, StepStopped
from shared.events.why import TimerClass

PAUSE = "pause"
#: Ends of an attempt after which nothing went out.
NOT_SENT = (StepDeferred, StepStopped)


def rows_of(decision: Decision, world: World) -> Rows:
    """The rows of a decision made on ``world`` (as it was before the decision).

    An enrollment in ``decision.retimed`` gets its timer row written again, or taken away, even when nothing was
    decided, so that a row that the
    state has left behind is not found due for ever.
    """
    rows = Rows(woken=list(decision.woken), claims=list(decision.claims))
    for aggregate_id, state in decision.states.items():
        if isinstance(state, Enrollment):
            before = decision.before.get(aggregate_id)
            _timer(rows, before if isinstance(before, Enrollment) else None, state, decision, world)
            _quotas(rows, before if isinstance(before, Enrollment) else None, state, decision, world)
        elif isinstance(state, Sequence):
            rows.catalogue.append(Listing(state.organization_id, state.id, state.status, state.version))
        elif isinstance(state, Lead):
            known = decision.before.get(aggregate_id)
            if state.company and state.company != (known.company if isinstance(known, Lead) else None):
                hashed = company_hash(world, state.organization_id, state.company)
                if hashed is not None:
                    rows.companies.append(Company(state.id, state.organization_id, hashed))
        elif isinstance(state, Bulk):
            rows.bulks.append(BulkMark(state.organization_id, state.id, state.is_the_clerks))
    for enrollment_id in decision.retimed - decision.states.keys():
        known = world.enrollment(enrollment_id)
        wanted = timer_of(known, world.wall_now) if known is not None else None
        if wanted is None:
            rows.timers_gone.append((enrollment_id, TIMER))
        else:
            rows.timers.append(wanted)
    note_events(rows, decision, world)
    return rows


def timer_of(state: Enrollment, wall_now: datetime) -> Timer | None:
    """The one timer an enrollment has in this state; None when it has ended and nothing is outstanding, or begins
    by hand.
    """
    flight, plan = state.in_flight, state.plan
    organization_id = state.organization_id
    if flight is not None:
        ring = flight.next_ring or wall_now + round_delay(0)
        return Timer(
            state.id, TIMER, organization_id, TimerClass.WATCHDOG, ring, None, flight.execution, flight.attempt
        )
    if state.status == Status.PAUSED:
        blocked_on = PAUSE if state.paused_until is None else None
        execution = plan.execution if plan is not None else state.last_execution
        return Timer(
            state.id,
            TIMER,
            organization_id,
            TimerClass.FOLLOW_UP,
            state.paused_until,
            blocked_on,
            execution,
            state.next_attempt,
        )
    if state.status == Status.PENDING and state.start_at is not None:
        return Timer(state.id, TIMER, organization_id, TimerClass.FIRST_TOUCH, state.start_at, None, 0, 0)
    if state.status != Status.ACTIVE or plan is None:
        return None
    return Timer(
        state.id,
        TIMER,
        organization_id,
        plan.timer_class,
        plan.at,
        f"sequence:{state.sequence_id}" if plan.at is None and state.outlasts else plan.blocked_on,
        plan.execution,
        state.next_attempt,
    )


def _timer(rows: Rows, before: Enrollment | None, after: Enrollment, decision: Decision, world: World) -> None:
    wanted = timer_of(after, world.wall_now)
    if wanted is None:
        if before is not None:
            rows.timers_gone.append((after.id, TIMER))
        return
    if after.id not in decision.retimed and before is not None and _same_timer(before, after):
        return
    rows.timers.append(wanted)


def _same_timer(before: Enrollment, after: Enrollment) -> bool:
    """Does the stored row still stand? A watchdog's clock is not set back by what happens beside it."""
    flight, known = after.in_flight, before.in_flight
    if flight is not None:
        return known is not None and (known.execution, known.attempt, known.next_ring, known.stopping) == (
            flight.execution,
            flight.attempt,
            flight.next_ring,
            flight.stopping,
        )
    return (
        known is None
        and before.plan == after.plan
        and (before.status, before.paused_until, before.start_at) == (after.status, after.paused_until, after.start_at)
        and before.last_execution == after.last_execution
        and before.next_attempt == after.next_attempt
    )


def _quotas(rows: Rows, before: Enrollment | None, after: Enrollment, decision: Decision, world: World) -> None:
    held, wanted = _reserved(before), _reserved(after)
    taken: frozenset[tuple[str, str]] = frozenset()
    sent_step: str | None = None
    for change in decision.changes:
        if change.id != after.id:
            continue
        if isinstance(change.event, StepDue) and change.event.quotas:
            taken |= places_taken(change.event.quotas)
            sent_step = change.event.step_id
        elif isinstance(change.event, NOT_SENT) and (flight := _unsent(before)) is not None:
            held |= places_taken(flight.quotas)
    if not held and not wanted and not taken:
        return
    wanted |= taken
    organization_id, sequence_id = after.organization_id, after.sequence_id
    gone = rows_for(sorted(held - wanted), sequence_id)
    rows.quotas_given_back += [(organization_id, scope, slot) for scope, slot in gone]
    most = _most(after, sent_step, world) if sent_step is not None else {}
    for place in sorted(wanted - held):
        limit = most.get(place, UNBOUNDED)
        rows.quotas += [Take(organization_id, scope, slot, limit) for scope, slot in rows_for([place], sequence_id)]


def _reserved(state: Enrollment | None) -> frozenset[tuple[str, str]]:
    if state is None or state.plan is None or not state.plan.reserved:
        return frozenset()
    return places_reserved(state.plan.reserved, state.plan.timer_class)


def _unsent(before: Enrollment | None) -> InFlight | None:
    """The step in flight whose places are free again once it is known that nothing went out; given back only once."""
    flight = before.in_flight if before is not None else None
    return flight if flight is not None and not flight.deferred else None


def _most(state: Enrollment, step_id: str, world: World) -> dict[tuple[str, str], int]:
    """What the limits of a step were when its latest places were taken, by place."""
    version = world.version(state.sequence_id, state.version)
    node = version.nodes.get(step_id) if version is not None else None
    if version is None or node is None or state.in_flight is None:
        return {}
    limits = {
        (limit.scope, limit.unit): limit
        for limit in limits_of(version, world.organization(state.organization_id), node)
    }
    found = {}
    for slot in state.in_flight.quotas:
        unit, index = parsed(slot.slot)
        limit = limits.get((slot.scope, unit))
        if limit is not None:
            found[slot.scope, slot.slot] = limit.most_in(index)
    return found
