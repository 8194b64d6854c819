"""Announces what changed: after each commit, coalesced per room, at most ten times a second. A push is a hint;
clients fetch again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from services.projector.event import Event
from services.projector.links import enrollment_of
from services.projector.telemetry import PUSHES_LOST
from services.projector.views import View
from services.projector.views.timeline import group_of, is_personal
from shared.clock import Clock
from shared.ending import ended
from shared.messaging.push import (
    Push,
    activity_room,
    enrollment_room,
    lead_room,
    organization_room,
    sequence_room,
    tasks_room,
)

log = structlog.get_logger()

FLUSH_SECONDS = 0.1
AWAY_SECONDS = 1.0  #: until the next try, once nothing could be sent
#: With more ids than this a room is only told that the view changed.
MOST_IDS = 100
#: Activity items per organization and second; beyond it the feed is sampled, and ``changed`` tells the rest.
ACTIVITIES_PER_SECOND = 20
SEND_TIMEOUT_SECONDS = 5.0
#: Rooms of single leads and enrollments in one flush. A storm beyond it tells only the wide rooms; ``lag`` brings the
#: narrow ones back.
MOST_ROOMS = 5_000

_NONE: list[str] = []

Names = Callable[[Sequence[Event]], Awaitable[Mapping[str, str | None]]]


class Sender(Protocol):
    """Where pushes go."""

    async def send(self, pushes: Sequence[Push]) -> None:
        """Send them."""


class Announcer:
    """Gathers commits and sends them on. ``names`` finds names of leads and sequences for the activity feed."""

    def __init__(self, sender: Sender, views: Sequence[View], clock: Clock, names: Names) -> None:
        self._sender = sender
        self._clock = clock
        self._names = names
        self._views_of: dict[str, list[str]] = {}
        self._perhaps: dict[str, list[View]] = {}  # those that look at most events of a topic in vain
        for view in views:
            picky = type(view).concerns is not View.concerns
            for topic in view.handlers:
                if picky:
                    self._perhaps.setdefault(topic, []).append(view)
                else:
                    self._views_of.setdefault(topic, []).append(view.name)
        self._changed: dict[str, dict[str, set[str]]] = {}
        self._cursors: dict[str, str] = {}
        self._activities: dict[str, deque[Event]] = {}
        self._allowance: dict[str, float] = {}
        self._heads: dict[int, int] = {}
        self._partitions = 16
        self._resync = False
        self._away = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._run(), name="announcer")

    async def close(self) -> None:
        """Send what is left and end."""
        if self._task is not None:
            await ended(self._task)
            await self._flush()

    def resync(self) -> None:
        """Something may have been missed: everybody fetches again."""
        self._resync = True

    def committed(self, partition: int, head: int, events: Sequence[Event]) -> None:
        """These events are in the views now."""
        self._heads[partition] = head
        for event in events:
            self._note(event)

    def _note(self, event: Event) -> None:
        views = self._views_of.get(event.topic, _NONE)
        if perhaps := self._perhaps.get(event.topic):
            views = [*views, *(view.name for view in perhaps if view.concerns(event))]
        if not views:
            return
        cursor = f"{event.partition:02d}-{event.position}"
        narrow = _narrow_rooms(event) if len(self._cursors) < MOST_ROOMS else []
        self._cursors.update(dict.fromkeys(narrow, cursor))
        documents = [(view, _document_id(view, event)) for view in views]
        for room in (*_wide_rooms(event), *narrow):
            changed = self._changed.setdefault(room, {})
            for view, document_id in documents:
                ids = changed.setdefault(view, set())
                if document_id is not None and len(ids) <= MOST_IDS:
                    ids.add(document_id)
        if "timeline" in views:
            self._activities.setdefault(event.organization_id, deque(maxlen=ACTIVITIES_PER_SECOND)).append(event)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(AWAY_SECONDS if self._away else FLUSH_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        if not self._changed and not self._resync:
            return
        changed, self._changed = self._changed, {}
        cursors, self._cursors = self._cursors, {}
        resync, self._resync = self._resync, False
        try:
            pushes: list[Push] = [("resync", {}, None)] if resync else []
            pushes += await self._activity_pushes()
            heads = [self._heads.get(partition, 0) for partition in range(self._partitions)]
            for room, views in changed.items():
                cursor: Any = cursors.get(room, heads)
                for view, ids in views.items():
                    data: dict[str, Any] = {"view": view, "cursor": cursor}
                    if 0 < len(ids) <= MOST_IDS:
                        data["ids"] = sorted(ids)
                    pushes.append(("changed", data, room))
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await self._sender.send(pushes)
            self._away = False
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            self._lost("connection closed")
        except Exception as error:  # noqa: BLE001 - whatever stops a hint, the views are right and clients are told later
            self._lost(repr(error))

    def _lost(self, why: str) -> None:
        PUSHES_LOST.inc()
        self._resync = self._away = True
        log.warning("pushes_lost", error=why)

    async def _activity_pushes(self) -> list[Push]:
        gathered, self._activities = self._activities, {}
        shown: list[Event] = []
        for organization_id, events in gathered.items():
            allowance = min(
                self._allowance.get(organization_id, ACTIVITIES_PER_SECOND) + ACTIVITIES_PER_SECOND * FLUSH_SECONDS,
                ACTIVITIES_PER_SECOND,
            )
            taken = list(events)[-int(allowance) :] if allowance >= 1 else []
            self._allowance[organization_id] = allowance - len(taken)
            shown += taken
        for organization_id in [each for each in self._allowance if each not in gathered]:
            del self._allowance[organization_id]
        names = await self._names(shown) if shown else {}
        return [("activity", activity_of(event, names), activity_room(event.organization_id)) for event in shown]


def activity_of(event: Event, names: Mapping[str, str | None]) -> dict[str, Any]:
    """An item of the activity feed."""
    data = event.data
    return {
        "id": str(event.position),
        "at": event.at.isoformat(),
        "kind": event.kind,
        "group": group_of(event.topic),
        "lead_id": event.lead_id,
        "lead_name": names.get(event.lead_id) if event.lead_id else None,
        "enrollment_id": enrollment_of(event),
        "sequence_id": event.sequence_id,
        "sequence_name": names.get(event.sequence_id) if event.sequence_id else None,
        "step_id": data.get("step_id"),
        "detail": {
            field: data[field] for field in _TOLD if data.get(field) is not None and not is_personal(event.topic, field)
        },
        "position": event.position,
    }


def _wide_rooms(event: Event) -> list[str]:
    """Rooms of many documents."""
    rooms = [organization_room(event.organization_id)]
    if event.sequence_id is not None:
        rooms.append(sequence_room(event.organization_id, event.sequence_id))
    elif event.topic.startswith("sequence."):
        rooms.append(sequence_room(event.organization_id, event.subject))
    if event.topic.startswith("task."):
        rooms.append(tasks_room(event.organization_id))
    return rooms


def _narrow_rooms(event: Event) -> list[str]:
    """Rooms of one lead or enrollment."""
    rooms = []
    if event.lead_id is not None:
        rooms.append(lead_room(event.organization_id, event.lead_id))
    enrollment_id = enrollment_of(event)
    if enrollment_id is not None:
        rooms.append(enrollment_room(event.organization_id, enrollment_id))
    return rooms


#: What of a payload goes into an activity item: short, never personal.
_TOLD = (
    "channel",
    "execution",
    "attempt",
    "signal",
    "reason",
    "outcome",
    "before",
    "after",
    "source",
    "kind",
    "added",
    "removed",
    "version",
)


def _document_id(view: str, event: Event) -> str | None:
    """The id of the document that an event changes in a view; None where an id would help nobody."""
    match view:
        case "leads":
            return event.lead_id
        case "messages":
            return f"{enrollment_of(event)}-{event.data.get('execution')}"
        case "organizations":
            return event.organization_id
        case "timeline" | "statistics" | "sequence_versions" | "notifications" | "audit":
            return None
        case _:
            return event.subject
