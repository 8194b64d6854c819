"""Orders to a bulk, and what a bulk alone orders of its targets."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from services.enrollment.domain import bulk, moments
from services.enrollment.domain.enrolling import SEQUENCE_DELETED
from services.enrollment.domain.enrollment import Enrollment, Fate
from services.enrollment.domain.errors import AlreadySent, EnrollmentClosed, UnknownTarget
from services.enrollment.domain.leaving import leave
from services.enrollment.domain.work import Work
from shared.events.bulk import (
    BeginBulk,
    CancelBulk,
    NameBulkTargets,
    OrderBulk,
    RecordBulkProgress,
    UndoBulk,
    command_of,
)
from shared.events.enrollment import Enroll, PauseEnrollment, UndoEnrollment
from shared.events.message import Event
from shared.events.sequence import SequenceDeleted, SequencePublished
from shared.ids import derived_id

UNDONE = "undone"
#: Fates of an execution whose message went out, or may have.
_OUT = frozenset({Fate.SENT, Fate.IN_DOUBT})


def order(work: Work, command: OrderBulk, asked_at: datetime) -> None:
    """Raises UnknownTarget for another organization's id; InvalidMoment for one that no target could meet."""
    known = work.world.bulk(command.bulk_id)
    if known is not None and known.organization_id != work.organization_id:
        raise UnknownTarget("bulk", command.bulk_id)
    if known is None:
        match command_of(command.kind, command.order):
            case PauseEnrollment(until=until):
                moments.ahead(work, "order.until", until)
            case Enroll(start_at=start_at):
                moments.begins(work, "order.start_at", start_at, asked_at)
    _record(work, command.bulk_id, bulk.order(known, command))


def move_those_inside(work: Work, sequence_id: UUID, published: SequencePublished) -> None:
    """Orders that everybody in an earlier version goes where the publishing says."""
    if published.inside == "stay":
        return
    fields = {"version": published.version, "moves": published.moves, "repeats": published.repeats, "forward": True}
    bulk_id = derived_id("bulk", "published", sequence_id, published.version)
    _record(work, bulk_id, bulk.for_those_inside(work.find_bulk(bulk_id), sequence_id, "migrate", fields))


def let_those_inside_leave(work: Work, sequence_id: UUID, deleted: SequenceDeleted, message_id: str) -> None:
    """Orders that everybody inside leaves a deleted sequence, where the deletion says so."""
    if deleted.enrollments != "exit":
        return
    bulk_id = derived_id("bulk", "deleted", sequence_id, message_id)
    events = bulk.for_those_inside(work.find_bulk(bulk_id), sequence_id, "cancel", {"reason": SEQUENCE_DELETED})
    _record(work, bulk_id, events)


def name_targets(work: Work, command: NameBulkTargets) -> None:
    """Raises UnknownTarget, SomeTargetsMissing, BulkTooLarge or BulkOver."""
    _record(work, command.bulk_id, bulk.name_targets(work.bulk(command.bulk_id), command))


def begin(work: Work, command: BeginBulk) -> None:
    """Raises UnknownTarget or SomeTargetsMissing."""
    _record(work, command.bulk_id, bulk.begin(work.bulk(command.bulk_id), command.pages))
    work.result["count"] = work.bulk(command.bulk_id).count


def cancel(work: Work, command: CancelBulk) -> None:
    """Raises UnknownTarget or BulkOver."""
    _record(work, command.bulk_id, bulk.cancel(work.bulk(command.bulk_id)))


def advance(work: Work, command: RecordBulkProgress) -> None:
    """Raises UnknownTarget."""
    _record(work, command.bulk_id, bulk.advance(work.bulk(command.bulk_id), command, work.now))


def undo(work: Work, command: UndoBulk) -> None:
    """Raises UnknownTarget, NotUndoable or BulkNotReady."""
    undone, undoing = bulk.undo(work.bulk(command.bulk_id), command)
    _record(work, command.bulk_id, undone)
    _record(work, command.undo_id, undoing)


def undo_enrollment(work: Work, command: UndoEnrollment) -> None:
    """Nothing is recorded when the bulk opened none for this lead, or when it has left since.

    What has taken effect stays, and the answer says so (``stays``). Raises UnknownTarget; AlreadySent when messages
    went out (with ``also_sent`` it is cancelled all the same); EnrollmentClosed when every step was done.
    """
    for enrollment_id, membership in work.lead(command.lead_id).enrollments.items():
        if membership.sequence_id != command.sequence_id:
            continue
        state = work.find_enrollment(enrollment_id)
        if state is None or state.bulk_id != command.bulk_id:
            continue
        out = sum(1 for each in state.executions.values() if each.fate in _OUT)
        if out and (membership.ended_at is not None or not command.also_sent):
            raise AlreadySent(f"{out} of its messages went out and stay sent; enrollment {enrollment_id}")
        if membership.ended_at is not None and state.status == "completed":
            raise EnrollmentClosed(f"enrollment {enrollment_id} is complete")
        leave(work, state, UNDONE, stop="cancelled")
        stays = _what_stays(work, state, out)
        if stays:
            work.result["stays"] = stays


def _what_stays(work: Work, state: Enrollment, out: int) -> str:
    """What cannot be taken back of an enrollment; empty when nothing of it took effect."""
    version = work.version(state.sequence_id, state.version)
    nodes = ((step_id, version.nodes.get(step_id)) for step_id in sorted(state.done))
    took_effect = [
        f"{step_id} ({node.step.kind})" if node is not None else step_id
        for step_id, node in nodes
        if node is None or not node.reaches_lead
    ]
    found = [f"{out} of its messages went out and stay sent"] if out else []
    if took_effect:
        found.append(f"what these steps did stays done: {', '.join(took_effect)}")
    return "; ".join([*found, f"enrollment {state.id}"]) if found else ""


def _record(work: Work, bulk_id: UUID, events: Iterable[Event]) -> None:
    work.result["bulk_id"] = str(bulk_id)
    for event in events:
        work.record("bulk", bulk_id, event, None)
