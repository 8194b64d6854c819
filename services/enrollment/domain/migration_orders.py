"""Orders to move an enrollment to another version."""

from __future__ import annotations

from services.enrollment.domain.due import go_on
from services.enrollment.domain.enrollment import Enrollment, Migration
from services.enrollment.domain.errors import EnrollmentClosed, InvalidMoves, MigrationRepeats, NoPlaceInVersion
from services.enrollment.domain.migrating import move, standing_of
from services.enrollment.domain.places import REPEATS, NoPlace, Place, place, wrong_moves
from services.enrollment.domain.work import Work
from shared.events.enrollment import MigrateEnrollment, MigrationAwaited, MigrationDropped
from shared.events.why import Why

BY_ORDER = Why(rule="by_order")


def migrate(work: Work, command: MigrateEnrollment) -> None:
    """Raises UnknownTarget, EnrollmentClosed, InvalidMoves, MigrationRepeats or NoPlaceInVersion.

    One that is in the version already stays as it is, with ``forward`` in any later one too; a move
    that was awaited is given up by an order to stay.
    """
    state = work.enrollment(command.enrollment_id)
    if not state.is_open:
        raise EnrollmentClosed(f"enrollment {state.id} is {state.status}")
    if command.forward and command.version < max(state.version, state.migration.version if state.migration else 0):
        return
    new = work.version(state.sequence_id, command.version)
    if state.version == new.version:
        if state.migration is not None:
            work.on_enrollment(state, MigrationDropped(to_version=state.migration.version, why=BY_ORDER))
        return
    old = work.version(state.sequence_id, state.version)
    wrong = wrong_moves(old, new, command.moves, repeats=True)
    if wrong:
        raise InvalidMoves("; ".join(f"{each['field']} {each['problem']}" for each in wrong), errors=wrong)
    found = place(old, new, standing_of(state), command.moves, repeats=command.repeats)
    if isinstance(found, NoPlace):
        raise _refusal(found, new.version)
    work.result["step_id"] = found.step_id
    if state.in_flight is not None:
        _await(work, state, command)
        return
    state = move(work, state, new, found, Why(rule=found.rule, inputs=_inputs(found)))
    go_on(work, state)


def _await(work: Work, state: Enrollment, command: MigrateEnrollment) -> None:
    flight = state.in_flight
    assert flight is not None
    wanted = Migration(command.version, flight.step_id, tuple(sorted(command.moves.items())), command.repeats)
    if state.migration == wanted:
        return
    work.on_enrollment(
        state,
        MigrationAwaited(
            to_version=command.version,
            execution=flight.execution,
            step_id=flight.step_id,
            moves=command.moves,
            repeats=command.repeats,
        ),
    )


def _inputs(found: Place) -> dict[str, object]:
    return {"step": found.step_id} if found.step_id is not None else {}


def _refusal(found: NoPlace, version: int) -> MigrationRepeats | NoPlaceInVersion:
    if found.rule == REPEATS:
        return MigrationRepeats(f"step {found.step_id} was done already")
    return NoPlaceInVersion(f"version {version} has no step {found.step_id}: name one in moves")
