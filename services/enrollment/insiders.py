"""Who is inside a sequence, by the log alone: for bulks that were ordered together with its publishing or deletion."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.events.enrollment import EnrollmentCompleted, EnrollmentExited, EnrollmentStarted
from shared.persistence.eventstore import EventStore

#: Positions of the log looked at in one read.
SPAN = 20_000
_TOPICS = (EnrollmentStarted.TOPIC, EnrollmentCompleted.TOPIC, EnrollmentExited.TOPIC)


def insiders(
    store: EventStore, sequence_id: UUID, *, before: int | None = None, below: int | None = None
) -> list[UUID]:
    """Enrollments that began at a position below ``before``, in a version below ``below``, and are open now, in the
    order in which they began. None: wherever they began.

    Reads the whole log, but of three kinds of events; an id is all that is kept of each enrollment.
    """
    wanted = str(sequence_id)
    found: dict[str, None] = {}
    end = store.last_position()
    for after in range(0, end, SPAN):
        for event in store.page_events(after, SPAN, min(after + SPAN, end), topics=_TOPICS):
            if event["type"] != EnrollmentStarted.TOPIC:
                found.pop(event["subject"], None)
            elif event.get("data", {}).get("sequence_id") == wanted and _among(event, before, below):
                found[event["subject"]] = None
    return [UUID(enrollment_id) for enrollment_id in found]


def _among(event: dict[str, Any], before: int | None, below: int | None) -> bool:
    return (before is None or event["position"] < before) and (below is None or event["data"]["version"] < below)
