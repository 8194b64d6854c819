"""Views without servers: events in, documents out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.projector.event import Event
from services.projector.links import BEGINNING, enrollment_of
from services.projector.memory import MemoryDocuments
from services.projector.ops import Ops
from services.projector.views import ALL_VIEWS

Documents = dict[str, dict[Any, dict[str, Any]]]


def events_of(cloud_events: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Events with their sequences."""
    known: dict[str, str] = {}
    began: dict[str, datetime] = {}
    events = []
    for each in cloud_events:
        event = Event(each)
        enrollment_id = enrollment_of(event)
        event.sequence_id = event.data.get("sequence_id") or known.get(enrollment_id or "")
        if enrollment_id and event.sequence_id:
            known[enrollment_id] = event.sequence_id
        if enrollment_id and event.topic == BEGINNING:
            began[enrollment_id] = event.at
        event.enrolled_at = began.get(enrollment_id or "")
        events.append(event)
    return events


def projected(events: Sequence[Event], cuts: Sequence[int] = ()) -> Documents:
    """The documents of every view; the events come in batches that end at ``cuts``."""
    views = {view: MemoryDocuments() for view in ALL_VIEWS}
    ends = sorted({*(cut for cut in cuts if 0 < cut < len(events)), len(events)})
    for start, end in zip([0, *ends], ends, strict=False):
        for view, documents in views.items():
            ops = Ops()
            for event in events[start:end]:
                view.apply(event, ops)
            documents.carry_out(ops)
    return {view.name: documents.documents for view, documents in views.items()}
