"""An enrollment as the API shows it, from its state: live or as it was at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.enrollment.domain.enrollment import Enrollment, Fate, reaches
from services.enrollment.naming import Here
from services.enrollment.reasons import pending, refused_start
from shared.events.envelope import Envelope
from shared.events.why import Why
from shared.events.wording import told

#: What a step on its way waits for: an answer, and not the moment that is told with it.
ANSWERS = frozenset({"stop_answer", "outcome"})


def describe_enrollment(state: Enrollment, events: int) -> dict[str, Any]:
    """The API's form. ``events`` is the number of the enrollment's own events up to then."""
    sent = [
        each for each in state.executions.values() if each.fate in {Fate.SENT, Fate.IN_DOUBT} and reaches(each.channel)
    ]
    return {
        "id": str(state.id),
        "lead_id": str(state.lead_id),
        "sequence_id": str(state.sequence_id),
        "version": state.version,
        "status": str(state.status),
        "reason": state.reason,
        "current_step": current_step(state),
        "waiting_for": waiting_for(state),
        "next": next_step(state),
        "counts": {
            "sent": len(sent),
            **{
                signal: sum(1 for each in state.executions.values() if signal in each.signals)
                for signal in ("opened", "clicked", "replied", "bounced")
            },
            "failed": sum(1 for each in state.executions.values() if each.fate is Fate.FAILED),
        },
        "started_at": state.started_at.isoformat(),
        "events": events,
        "executions": [
            {
                "execution": each.number,
                "step_id": each.step_id,
                "channel": each.channel,
                "attempt": each.attempt,
                "fate": str(each.fate),
                "tries": [{**tried._asdict(), "at": tried.at.isoformat()} for tried in each.tries],
                "sent_at": each.sent_at.isoformat() if each.sent_at else None,
                "signals": {signal: at.isoformat() for signal, at in each.signals.items()},
            }
            for each in sorted(state.executions.values(), key=lambda each: each.number)
        ],
    }


def with_names(described: Mapping[str, Any], events: Sequence[Envelope], here: Here) -> dict[str, Any]:
    """What ``describe_enrollment`` answers, with words for what it names by its id. ``events``: its own, up to then."""
    current = here.step(described["current_step"])
    waits, following = described["waiting_for"], described["next"]
    return {
        **described,
        "current_step_name": current.name if current is not None else None,
        "current_step_number": current.number if current is not None else None,
        "waiting_for": {**waits, "why": _in_words(waits, events, here)} if waits is not None else None,
        "next": _step_named(following, here) if following is not None else None,
        "executions": [_step_named(each, here) for each in described["executions"]],
    }


def _in_words(waits: Mapping[str, Any], events: Sequence[Envelope], here: Here) -> dict[str, Any]:
    """The reason of a wait as the why-answers tell it."""
    until = datetime.fromisoformat(waits["until"]) if waits["until"] is not None else None
    if waits["kind"] == "start":
        refused = refused_start(events)
        why, until = (refused[0], None) if refused is not None else (pending(until), until)
    else:
        why = Why.model_validate(waits["why"])
        until = until if waits["kind"] not in ANSWERS else None
    named = here.inputs(why)
    return {**why.model_dump(mode="json"), "names": named, "text": told(why, until, named)}


def _step_named(of: Mapping[str, Any], here: Here) -> dict[str, Any]:
    step = here.step(of["step_id"])
    named = step._asdict() if step is not None else {"number": None, "name": None}
    return {**of, **{f"step_{name}": value for name, value in named.items()}}


def current_step(state: Enrollment) -> str | None:
    """The step in flight, else the planned one, else the one concluded last."""
    if state.in_flight is not None:
        return state.in_flight.step_id
    return state.plan.step_id if state.plan is not None else state.after


def waiting_for(state: Enrollment) -> dict[str, Any] | None:
    """What must happen before the next thing does; None when nothing is awaited."""
    if not state.is_open:
        return None
    if state.in_flight is not None:
        until = state.in_flight.valid_until.isoformat()
        kind = "stop_answer" if state.in_flight.stopping else "outcome"
        return {"kind": kind, "until": until, "why": {"rule": kind, "inputs": {"attempt": state.in_flight.attempt}}}
    if state.status == "pending":
        start_at = state.start_at.isoformat() if state.start_at is not None else None
        return {
            "kind": "start",
            "until": start_at,
            "why": {"rule": state.reason, "inputs": {}} if state.reason else None,
        }
    if state.plan is None:
        return None
    why = state.plan.why.model_dump(mode="json")
    kind = "time" if state.plan.blocked_on is None else state.plan.blocked_on.partition(":")[0]
    at = state.plan.at
    return {"kind": kind, "until": at.isoformat() if at is not None else None, "why": why}


def next_step(state: Enrollment) -> dict[str, Any] | None:
    """The planned step and its moment."""
    if state.plan is None or not state.is_open:
        return None
    at = state.plan.at
    return {"step_id": state.plan.step_id, "at": at.isoformat() if at is not None else None}
