"""Which sequence an enrollment belongs to, and when it began: most events do not say it, and several views count by it.

These facts never change. They are learnt from the enrollment's first event, kept for the enrollments seen lately, and
else read from the live enrollments view, whose documents are written from the same partition's events.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import structlog

from services.projector.event import Event
from shared.persistence.mongo import Database
from shared.persistence.views import collection_name

log = structlog.get_logger()

#: The event that says both.
BEGINNING = "enrollment.started.v1"
#: Enrollments remembered; about 30 MB when full.
MOST = 100_000


class Link(NamedTuple):
    sequence_id: str
    enrolled_at: datetime


class Links:
    """Enrollment id -> its sequence and beginning."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, Link] = OrderedDict()

    async def events_of(self, cloud_events: Sequence[Mapping[str, Any]], enrollments_generation: int) -> list[Event]:
        """Events for the views, each with its sequence. One query at most, and none while enrollments are remembered.

        An event without a whole envelope means nothing to any view; it is logged and left out, and the checkpoint
        passes it.
        """
        events = _readable(cloud_events)
        unsure: list[tuple[Event, str]] = []
        for event in events:
            enrollment_id = enrollment_of(event)
            event.sequence_id = event.data.get("sequence_id")
            if enrollment_id is None:
                continue
            if event.topic == BEGINNING and event.sequence_id is not None:
                self._remember(enrollment_id, Link(event.sequence_id, event.at))
            if (link := self._known.get(enrollment_id)) is not None:
                event.sequence_id, event.enrolled_at = link
            elif event.sequence_id is None:
                unsure.append((event, enrollment_id))
        if unsure:
            await self._look_up({enrollment_id for _, enrollment_id in unsure}, enrollments_generation)
            for event, enrollment_id in unsure:
                if (link := self._known.get(enrollment_id)) is not None:
                    event.sequence_id, event.enrolled_at = link
        return events

    def _remember(self, enrollment_id: str, link: Link) -> None:
        self._known[enrollment_id] = link
        self._known.move_to_end(enrollment_id)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    async def _look_up(self, ids: set[str], generation: int) -> None:
        enrollments = self._database.collection(collection_name("enrollments", generation))
        wanted = {"sequence_id": 1, "started_at": 1}
        for found in await enrollments.find({"_id": {"$in": sorted(ids)}}, wanted).to_list():
            if found.get("sequence_id") and found.get("started_at"):
                self._remember(found["_id"], Link(found["sequence_id"], found["started_at"]))


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
