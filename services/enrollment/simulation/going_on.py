"""What an enrollment would have done next, from the state it was in at a moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.enrollment.domain.enrollment import Enrollment
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.planning import zone_of
from services.enrollment.domain.rows import timer_of
from services.enrollment.domain.sequence import Sequence as SequenceState
from services.enrollment.domain.task import Task
from services.enrollment.simulation.dry_run import HORIZON, Subject, place
from services.enrollment.simulation.outside import Script, done
from services.enrollment.simulation.simulator import Later, Simulator
from services.enrollment.simulation.telling import NAMELESS, DryRun, Naming, Telling, warn
from services.enrollment.simulation.world import SimulatedWorld, Surroundings
from shared.events.enrollment import Outcome, RecordSent, RecordStopped


class Then(NamedTuple):
    """What there was at the moment: the enrollment, its lead and sequence, and what it waits for."""

    enrollment: Enrollment
    lead: Lead
    sequence: SequenceState
    tasks: Sequence[Task] = ()


def go_on(
    subject: Subject, then: Then, at: datetime, around: Surroundings | None = None, naming: Naming = NAMELESS
) -> DryRun:
    """Messages go out at once, people do what they have open when it is due, and nothing more is heard of the lead.

    ``subject`` is the version that the enrollment is in. One that is closed, or held without an end, does nothing.
    """
    run, state = DryRun(), then.enrollment
    if not state.is_open:
        run.ended_by = state.reason or str(state.status)
        return run
    world = SimulatedWorld(at, around=around)
    world.hold(subject.organization)
    version = place(world, subject)
    world.hold(then.lead, state, then.sequence, *then.tasks)
    script = Script()
    simulator = Simulator(world, subject.organization.id, script)
    timer = timer_of(state, at)
    if timer is not None:
        world.timers[timer.aggregate_id, timer.name] = timer
        simulator.watch(timer)
    if state.in_flight is not None:
        simulator.expect(Later(at, _answer(state, at)))
    for task in then.tasks:
        if task.status == "open":
            simulator.expect(Later(max(task.due_at, at), done(task.id, world)))
    simulator.run(at + HORIZON)
    run.history = script.history
    Telling(run, version, zone_of(version, then.lead, subject.organization), {}, naming).tell({state.id}, state.plan)
    warn(run, script.refusals)
    return run


def _answer(state: Enrollment, at: datetime) -> Outcome:
    """What the dispatchers say to what is in flight."""
    flight = state.in_flight
    assert flight is not None
    which = {
        "enrollment_id": state.id,
        "execution": flight.execution,
        "attempt": flight.attempt,
        "dispatch_id": flight.dispatch_id,
    }
    if flight.stopping is not None:
        return RecordStopped.model_validate({**which, "reason": flight.stopping})
    return RecordSent.model_validate({**which, "sent_at": at})
