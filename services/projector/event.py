"""An event as the views see it: light, read-only, made from a CloudEvent without validation (the write side has done
that).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


class Event:
    """One event of the log.

    ``topic`` is the CloudEvent's ``type``. ``subject`` is the aggregate's id. ``at`` is business time, UTC.
    ``sequence_id`` is that of the
    enrollment the event belongs to, None for events outside enrollments; ``enrolled_at`` when that began. Most events
    do not carry them, so the reader of the feed adds them; an event that carries the first may lack the second.
    """

    __slots__ = (
        "actor",
        "at",
        "data",
        "enrolled_at",
        "lead_id",
        "organization_id",
        "partition",
        "position",
        "sequence_id",
        "subject",
        "topic",
    )

    def __init__(self, cloud_event: Mapping[str, Any], sequence_id: str | None = None) -> None:
        """Raises KeyError, TypeError or ValueError when the envelope is incomplete, or marked as unreadable by the
        write side.
        """
        get = cloud_event.get
        if get("unreadable"):
            raise ValueError("the write side could not read this event")
        self.topic: str = cloud_event["type"]
        self.data: Mapping[str, Any] = cloud_event["data"]
        self.position: int = cloud_event["position"]
        self.partition = int(cloud_event["partition"])
        self.organization_id: str = cloud_event["organizationid"]
        self.subject: str = cloud_event["subject"]
        self.lead_id: str | None = get("leadid")
        self.actor: str | None = get("actor")
        at = datetime.fromisoformat(cloud_event["time"])
        self.at = at if at.tzinfo is UTC else at.astimezone(UTC)
        self.sequence_id = sequence_id
        self.enrolled_at: datetime | None = None

    @property
    def kind(self) -> str:
        """The topic without its version: ``enrollment.step_sent``."""
        return self.topic.rpartition(".")[0]


def moment(text: str | None) -> datetime | None:
    """A time of a payload as an aware datetime in UTC; None stays None."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
