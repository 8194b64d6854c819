"""The execution log and the upcoming sends, of random histories."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from services.enrollment.domain.enrollment import Status
from shared.events.enrollment import StepDeferred, StepDue, StepFailed, StepInDoubt, StepSent, StepSkipped, StepStopped
from tests.projector.projecting import events_of, projected
from tests.projector.test_statistics import HISTORIES, History

ENDS = {
    StepSent: "sent",
    StepDeferred: "deferred",
    StepFailed: "failed",
    StepStopped: "stopped",
    StepInDoubt: "in_doubt",
}


@given(HISTORIES)
@settings(max_examples=20, deadline=None)
def test_the_log_holds_every_attempt_with_its_end(history: History) -> None:
    documents = projected(events_of(history.events))["messages"]
    wanted: dict[str, dict[str, Any]] = {}
    for change in history.world.log:
        event = change.event
        if isinstance(event, StepDue):
            of_message = wanted.setdefault(f"{change.id}-{event.execution}", {})
            of_message[str(event.attempt)] = (event.due_at, None, None)
        elif type(event) in ENDS:
            log = wanted[f"{change.id}-{event.execution}"]  # type: ignore[attr-defined]
            attempt = str(event.attempt)  # type: ignore[attr-defined]
            log[attempt] = (log[attempt][0], ENDS[type(event)], getattr(event, "reason", None))
        elif isinstance(event, StepSkipped):
            wanted.setdefault(f"{change.id}-{event.execution}", {})
    found = {
        message_id: {
            number: (entry["due_at"], entry.get("outcome"), entry.get("error"))
            for number, entry in document.get("log", {}).items()
        }
        for message_id, document in documents.items()
    }
    assert found == wanted


@given(HISTORIES)
@settings(max_examples=20, deadline=None)
def test_upcoming_sends_are_those_that_are_planned_for_later(history: History) -> None:
    events = events_of(history.events)
    documents = projected(events)["enrollments"]
    planned = {event.subject: event.at for event in events if event.data.get("plan")}
    for state in history.enrollments:
        document, plan = documents[str(state.id)], state.plan
        waits = state.status == Status.ACTIVE and plan is not None and state.in_flight is None
        later = waits and plan is not None and plan.at is not None and plan.at > planned[str(state.id)]
        wanted = (True, plan.at, plan.channel) if later and plan is not None and plan.channel else (False, None, None)
        assert (document["upcoming"], document["upcoming_at"], document["upcoming_on"]) == wanted
