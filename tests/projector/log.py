"""A log in memory: events as the relay publishes them, frames of its partitions, and a reader that answers from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aio_pika
import orjson

from services.projector.errors import ReaderAway
from services.projector.pages import Page
from shared.ids import derived_id, partition_of
from shared.messaging.frames import CLOUD_EVENTS_BATCH
from shared.messaging.topology import FEED, declare

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
ORGANIZATION = "demo"


class Log:
    """Grows by ``add``; positions count from 1."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(
        self, topic: str, subject: UUID, data: Mapping[str, Any], *, lead_id: UUID | None = None, **envelope: Any
    ) -> dict[str, Any]:
        """One event more."""
        position = len(self.events) + 1
        event = {
            "specversion": "1.0",
            "id": f"{subject.hex}-{position}",
            "type": f"{topic}.v1",
            "source": "tendril/enrollment",
            "subject": str(subject),
            "time": (START + timedelta(seconds=position)).isoformat(),
            "datacontenttype": "application/json",
            "data": orjson.loads(orjson.dumps(data)),
            "organizationid": ORGANIZATION,
            "partition": f"{partition_of(lead_id or subject):02d}",
            "position": position,
            **({"leadid": str(lead_id)} if lead_id else {}),
            **envelope,
        }
        self.events.append(event)
        return event

    def of(self, partition: int) -> list[dict[str, Any]]:
        """A partition's events."""
        return [event for event in self.events if int(event["partition"]) == partition]


class LogPages:
    """A reader. ``away`` makes it fail; ``asked`` counts."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.away = False
        self.asked = 0

    async def page(self, after: int, up_to: int | None, partitions: Sequence[int], limit: int) -> Page:
        """As the enrollment service answers."""
        self.asked += 1
        if self.away:
            raise ReaderAway("away")
        end = len(self.log.events)
        until = end if up_to is None else min(end, up_to)
        seen = self.log.events[after : min(after + limit, until)]
        found = [event for event in seen if int(event["partition"]) in partitions]
        return Page(found, after + len(seen), end)


class Relay:
    """Publishes frames of a log to the feed, as the clerk does."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.position = 0
        self.previous: dict[int, int] = {}

    async def connect(self, url: str) -> None:
        """Declare and get ready."""
        self._connection = await aio_pika.connect(url)
        channel = await self._connection.channel()
        await declare(channel)
        self._exchange = await channel.get_exchange(FEED)

    async def close(self) -> None:
        """End."""
        await self._connection.close()

    async def relay(self, *, lose: bool = False, twice: bool = False, size: int = 50) -> None:
        """Publish what is new, a frame per partition and ``size`` events of the log. ``lose``: the frames never
        arrive.
        """
        while self.position < len(self.log.events):
            page = self.log.events[self.position : self.position + size]
            self.position = page[-1]["position"]
            by_partition: dict[int, list[dict[str, Any]]] = {}
            for event in page:
                by_partition.setdefault(int(event["partition"]), []).append(event)
            for partition, events in by_partition.items():
                previous, last = self.previous.get(partition, 0), events[-1]["position"]
                self.previous[partition] = last
                for _ in range(0 if lose else 2 if twice else 1):
                    message = aio_pika.Message(
                        orjson.dumps(events),
                        content_type=CLOUD_EVENTS_BATCH,
                        headers={"previous_position": previous, "last_position": last},
                        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    )
                    await self._exchange.publish(message, f"{partition:02d}")


# --- stories
# ------------------------------------------------------------------------------------------------------------


def plan(step_id: str, execution: int, at: datetime | None = None, blocked_on: str | None = None) -> dict[str, Any]:
    """A plan as in events."""
    why = {"rule": "delay", "inputs": {}}
    return {
        "step_id": step_id,
        "execution": execution,
        "at": (at or START).isoformat(),
        "blocked_on": blocked_on,
        "why": why,
    }


SEQUENCE = derived_id("sequence", 1)
DEFINITION: dict[str, Any] = {
    "name": "Welcome",
    "description": "",
    "category": "nurture",
    "audience": "",
    "settings": {},
    "trigger": {},
    "steps": [{"step_id": "one", "kind": "email"}, {"step_id": "two", "kind": "email"}],
}


def publish_sequence(log: Log) -> None:
    """A sequence, drafted and published."""
    log.add("sequence.drafted", SEQUENCE, {"definition": DEFINITION}, actor="member:1")
    log.add("sequence.submitted", SEQUENCE, {})
    log.add("sequence.approved", SEQUENCE, {})
    log.add("sequence.published", SEQUENCE, {"version": 1, "definition": DEFINITION})


def nurture(log: Log, number: int, *, steps: int = 2) -> tuple[UUID, UUID]:
    """A lead that comes, is enrolled, gets its steps and opens the first one; the ids of lead and enrollment."""
    lead = derived_id("lead", number)
    enrollment = derived_id("enrollment", lead, SEQUENCE, 1)
    captured = {
        "funnel_id": "web",
        "email": f"ada{number}@example.com",
        "first_name": "Ada",
        "last_name": f"Byron{number}",
        "custom_fields": {"a.b": 1, "$x": "y"},
        "score": 10,
        "tags": ["new"],
        "consent": {"email": True},
        "occurred_at": START.isoformat(),
    }
    log.add("lead.captured", lead, captured, lead_id=lead)
    log.add(
        "lead.joined_sequence", lead, {"enrollment_id": enrollment, "sequence_id": SEQUENCE, "version": 1}, lead_id=lead
    )
    started = {"lead_id": lead, "sequence_id": SEQUENCE, "version": 1, "by": "trigger", "plan": plan("step1", 1)}
    log.add("enrollment.started", enrollment, started, lead_id=lead)
    for execution in range(1, steps + 1):
        due_step(log, lead, enrollment, execution)
        following = plan(f"step{execution + 1}", execution + 1) if execution < steps else None
        sent_step(log, lead, enrollment, execution, following)
        if execution == 1:
            noted = {
                "execution": 1,
                "step_id": "step1",
                "channel": "email",
                "signal": "opened",
                "at": START.isoformat(),
            }
            log.add("enrollment.engagement_noted", enrollment, noted, lead_id=lead)
    log.add("enrollment.completed", enrollment, {}, lead_id=lead)
    return lead, enrollment


def due_step(log: Log, lead: UUID, enrollment: UUID, execution: int, attempt: int = 1) -> None:
    """A StepDue."""
    data = {
        "sequence_id": SEQUENCE,
        "version": 1,
        "execution": execution,
        "attempt": attempt,
        "step_id": f"step{execution}",
        "channel": "email",
        "dispatch_id": derived_id("dispatch", enrollment, execution),
        "due_at": START.isoformat(),
        "valid_until": (START + timedelta(hours=1)).isoformat(),
    }
    log.add("enrollment.step_due", enrollment, data, lead_id=lead)


def sent_step(log: Log, lead: UUID, enrollment: UUID, execution: int, following: dict[str, Any] | None) -> None:
    """A StepSent with the next plan."""
    data = {
        "execution": execution,
        "attempt": 1,
        "step_id": f"step{execution}",
        "channel": "email",
        "dispatch_id": derived_id("dispatch", enrollment, execution),
        "sent_at": START.isoformat(),
        "plan": following,
    }
    log.add("enrollment.step_sent", enrollment, data, lead_id=lead)
