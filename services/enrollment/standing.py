"""Where an enrollment stands, or what became of one of its steps, in one answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from services.enrollment import reasons
from services.enrollment.description import current_step, waiting_for
from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.flow import Version
from services.enrollment.naming import Names, Place
from shared.events import enrollment as e
from shared.events.definition import Step
from shared.events.envelope import Envelope
from shared.events.message import Event
from shared.events.why import Why
from shared.events.wording import told

#: Standing -> how the answer begins; the rule's own words follow.
OPENINGS = {
    "pending": "The enrollment has not begun.",
    "waiting": "It is still to come.",
    "on_its_way": "It is on its way.",
    "paused": "The enrollment is held.",
    "sent": "The lead was sent it.",
    "done": "It was done.",
    "failed": "It could not be sent.",
    "stopped": "It was stopped before it went out.",
    "in_doubt": "Nobody knows yet whether it went out.",
    "not_sent": "It did not go out.",
    "skipped": "It was passed over.",
    "not_taken": "The enrollment took the other branch.",
    "moved_past": "The enrollment was moved to another version, behind it.",
    "not_in_version": "The version that the lead is in has no such step.",
    "not_reached": "The enrollment has not come to it: it stands at {current_step}.",
    "ended_before": "The enrollment ended before it.",
    "completed": "The enrollment is completed.",
    "exited": "The enrollment has ended.",
}
#: Event that settles a step -> its standing.
_FATES: dict[type[Event], str] = {
    e.StepSent: "sent",
    e.StepSettled: "sent",
    e.StepInDoubt: "in_doubt",
    e.StepFailed: "failed",
    e.StepStopped: "stopped",
    e.StepSkipped: "skipped",
    e.StepOverdue: "skipped",
    e.StepTaken: "done",
    e.StepDoneByPerson: "done",
}


class Found(NamedTuple):
    standing: str
    why: Why
    at: datetime
    until: datetime | None = None


def standing_of(
    state: Enrollment, events: Sequence[Envelope], version: Version | None, step_id: str | None, names: Names
) -> dict[str, Any]:
    """The one answer about an enrollment (``step_id`` None), or about a step of it. ``events`` are all its own."""
    found = _of_enrollment(state, events) if step_id is None else _of_step(state, events, version, step_id)
    place = Place(state.sequence_id, state.version)
    current = names.step(place, current_step(state))
    opening = OPENINGS[found.standing].format(current_step=current or current_step(state) or "its beginning")
    named = names.inputs(found.why, place)
    words = told(found.why, found.until, named)
    return {
        "standing": found.standing,
        **found.why.model_dump(mode="json"),
        "names": named,
        "text": f"{opening} {words}",
        "at": found.at.isoformat(),
        "until": found.until.isoformat() if found.until is not None else None,
        "current_step": current_step(state),
        "current_step_name": current.name if current is not None else None,
        "current_step_number": current.number if current is not None else None,
        "sequence_id": str(state.sequence_id),
        "sequence_name": names.sequence(state.sequence_id),
        "version": state.version,
        "enrollment_id": str(state.id),
    }


def _of_enrollment(state: Enrollment, events: Sequence[Envelope]) -> Found:
    last = events[-1].time
    if state.status == Status.PENDING:
        return _pending(state, events)
    for each in reversed(events):
        match each.message:
            case e.EnrollmentCompleted():
                return Found("completed", Why(rule="completed"), each.time)
            case e.EnrollmentExited() as event:
                return Found("exited", reasons.ended(event), each.time)
            case e.EnrollmentPaused() as event if state.status == Status.PAUSED:
                return Found("paused", reasons.paused(event), each.time, event.until)
    waits = waiting_for(state)
    if waits is None:
        return Found("waiting", Why(rule="at_once"), last)
    until = datetime.fromisoformat(waits["until"]) if waits["until"] is not None else None
    flying = state.in_flight is not None
    return Found(
        "on_its_way" if flying else "waiting", Why.model_validate(waits["why"]), last, None if flying else until
    )


def _pending(state: Enrollment, events: Sequence[Envelope]) -> Found:
    refused = reasons.refused_start(events)
    if refused is not None:
        return Found("pending", *refused)
    return Found("pending", reasons.pending(state.start_at), events[0].time, state.start_at)


def _of_step(state: Enrollment, events: Sequence[Envelope], version: Version | None, step_id: str) -> Found:
    stands_there = step_id in {
        state.plan.step_id if state.plan is not None else None,
        state.in_flight.step_id if state.in_flight is not None else None,
    }
    if state.is_open and stands_there:
        return _of_enrollment(state, events)
    fate = _fate(events, step_id)
    if fate is not None:
        return fate
    if version is None or step_id not in version.nodes:
        return Found("not_in_version", Why(rule="version", inputs={"version": state.version}), events[0].time)
    return _other_arm(events, version, step_id) or _moved_past(state, events, version, step_id) or _rest(state, events)


def _fate(events: Sequence[Envelope], step_id: str) -> Found | None:
    """What became of a step that was come to; None when nothing has."""
    for each in reversed(events):
        event: Any = each.message
        standing = _FATES.get(type(event)) if getattr(event, "step_id", None) == step_id else None
        told_so = reasons.said(event)
        if standing is not None and told_so is not None:
            if isinstance(event, e.StepSettled) and event.outcome == "not_sent":
                standing = "not_sent"
            return Found(standing, told_so[1], event.sent_at if isinstance(event, e.StepSent) else each.time)
    return None


def _other_arm(events: Sequence[Envelope], version: Version, step_id: str) -> Found | None:
    needed = dict(_way_to(version.definition.steps, step_id) or ())
    for each in reversed(events):
        event = each.message
        if not isinstance(event, e.StepTaken) or event.arm is None:
            continue
        if needed.get(event.step_id, event.arm) != event.arm:
            return Found("not_taken", event.why or Why(rule="taken"), each.time)
    return None


def _way_to(steps: Sequence[Step], step_id: str) -> list[tuple[str, str]] | None:
    """The conditions on the way to a step, each with the arm that leads there; None when it is not among the steps."""
    for step in steps:
        if step.step_id == step_id:
            return []
        for arm, within in (("then", step.then), ("else", step.else_)):
            way = _way_to(within, step_id)
            if way is not None:
                return [(step.step_id, arm), *way]
    return None


def _moved_past(state: Enrollment, events: Sequence[Envelope], version: Version, step_id: str) -> Found | None:
    here = version.nodes.get(current_step(state) or "")
    if not state.migrated or (state.is_open and (here is None or here.index < version.nodes[step_id].index)):
        return None
    for each in reversed(events):
        if isinstance(each.message, e.EnrollmentMigrated):
            goes_on = version.nodes.get(each.message.to_step or "")
            behind = goes_on is None or goes_on.index > version.nodes[step_id].index
            return Found("moved_past", each.message.why, each.time) if behind else None
    return None


def _rest(state: Enrollment, events: Sequence[Envelope]) -> Found:
    """It was never come to: the enrollment stands before it, or has ended."""
    whole = _of_enrollment(state, events)
    if state.is_open:
        return whole if whole.standing == "pending" else whole._replace(standing="not_reached")
    return whole._replace(standing="ended_before")
