"""Which sequence an enrollment belongs to: most events do not say it, and several views count by it.

The fact never changes. It is learnt from the events that say it, kept for the enrollments seen lately, and else read
from the live
enrollments view, whose documents are written from the same partition's events.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from services.projector.event import Event
from shared.persistence.mongo import Database
from shared.persistence.views import collection_name

log = structlog.get_logger()

#: Enrollments remembered; about 25 MB when full.
MOST = 100_000


class Links:
    """Enrollment id -> sequence id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, str] = OrderedDict()

    async def events_of(self, cloud_events: Sequence[Mapping[str, Any]], enrollments_generation: int) -> list[Event]:
        """Events for the views, each with its sequence. One query at most, and none while enrollments are remembered.

        An event without a whole envelope means nothing to any view; it is logged and left out, and the checkpoint
        passes it.
        """
        events = _readable(cloud_events)
        unsure: list[tuple[Event, str]] = []
        for event in events:
            enrollment_id = enrollment_of(event)
            sequence_id = event.data.get("sequence_id")
            if sequence_id is not None:
                event.sequence_id = sequence_id
                if enrollment_id is not None:
                    self._remember(enrollment_id, sequence_id)
            elif enrollment_id is not None:
                event.sequence_id = self._known.get(enrollment_id)
                if event.sequence_id is None:
                    unsure.append((event, enrollment_id))
        if unsure:
            await self._look_up({enrollment_id for _, enrollment_id in unsure}, enrollments_generation)
            for event, enrollment_id in unsure:
                event.sequence_id = self._known.get(enrollment_id)
        return events

    def _remember(self, enrollment_id: str, sequence_id: str) -> None:
        self._known[enrollment_id] = sequence_id
        self._known.move_to_end(enrollment_id)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    async def _look_up(self, ids: set[str], generation: int) -> None:
        enrollments = self._database.collection(collection_name("enrollments", generation))
        for found in await enrollments.find({"_id": {"$in": sorted(ids)}}, {"sequence_id": 1}).to_list():
            if found.get("sequence_id"):
                self._remember(found["_id"], found["sequence_id"])


def enrollment_of(event: Event) -> str | None:
    """The enrollment an event belongs to; None for events outside any."""
    if event.topic.startswith("enrollment."):
        return event.subject
    enrollment_id: str | None = event.data.get("enrollment_id")
    return enrollment_id


def _readable(cloud_events: Sequence[Mapping[str, Any]]) -> list[Event]:
    events = []
    for each in cloud_events:
        try:
            events.append(Event(each))
        except (KeyError, TypeError, ValueError) as error:
            log.warning("event_unreadable", position=each.get("position"), topic=each.get("type"), error=repr(error))
    return events
