"""What surrounds a message: identity, order, cause. One shape for stored events, commands, facts and orders.

On the wire an envelope is a CloudEvent (CloudEvents 1.0, JSON format) with the extensions ``organizationid``,
``leadid``, ``partition``, ``position``, ``aggregateversion``, ``traceparent``, ``causationid`` and ``actor``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.events.errors import InvalidMessage
from shared.events.message import Message, parse_payload, utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message with its surroundings.

    ``id`` is the idempotency key, made before the first try to publish. ``subject`` is the aggregate's id. ``time``
    is business time, UTC. ``organization_id`` is None only for a signal from an address token, which names none.
    ``lead_id``, ``partition``, ``position`` (in the log) and ``aggregate_version`` are None where they do not apply:
    a command has none of the last three. ``actor`` says on whose behalf: ``member:<id>``, ``api_key:<id>``, ``lead``,
    ``funnel``, ``bulk:<id>``, ``system``.
    """

    id: str
    message: Message
    source: str
    time: datetime
    organization_id: str | None
    subject: UUID | None = None
    lead_id: UUID | None = None
    partition: int | None = None
    position: int | None = None
    aggregate_version: int | None = None
    traceparent: str | None = None
    causation_id: str | None = None
    actor: str | None = None

    @property
    def topic(self) -> str:
        return self.message.TOPIC

    @property
    def by_person(self) -> bool:
        """Did a member, or a key of theirs, cause it?"""
        return (self.actor or "").startswith(("member:", "api_key:"))

    @property
    def originator_id(self) -> UUID:
        """The event store's word for ``subject``. Raises ValueError when there is none."""
        if self.subject is None:
            raise ValueError("an envelope without subject cannot be stored")
        return self.subject

    @property
    def originator_version(self) -> int:
        """The event store's word for ``aggregate_version``, counted from 1. Raises ValueError when there is none."""
        if self.aggregate_version is None:
            raise ValueError("an envelope without aggregate version cannot be stored")
        return self.aggregate_version

    def with_position(self, position: int) -> Envelope:
        """The same envelope, placed in the log."""
        return replace(self, position=position)


def to_cloud_event(envelope: Envelope) -> dict[str, Any]:
    """The envelope as a CloudEvents 1.0 JSON object (values ready for orjson)."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": envelope.id,
        "type": envelope.topic,
        "source": envelope.source,
        "time": envelope.time.isoformat(),
        "datacontenttype": "application/json",
        "data": envelope.message.model_dump(mode="json"),
    }
    optional = {
        "subject": envelope.subject and str(envelope.subject),
        "organizationid": envelope.organization_id,
        "leadid": envelope.lead_id and str(envelope.lead_id),
        "partition": None if envelope.partition is None else f"{envelope.partition:02d}",
        "position": envelope.position,
        "aggregateversion": envelope.aggregate_version,
        "traceparent": envelope.traceparent,
        "causationid": envelope.causation_id,
        "actor": envelope.actor,
    }
    event.update((key, value) for key, value in optional.items() if value is not None)
    return event


def from_cloud_event(event: Any) -> Envelope:
    """An envelope from a CloudEvents 1.0 JSON object. Raises InvalidMessage or UnknownTopic."""
    if not isinstance(event, dict):
        raise InvalidMessage([{"field": "", "problem": "must be a CloudEvents JSON object"}])
    message_id = event.get("id")
    missing = [key for key in ("id", "type", "source", "data") if not event.get(key) and event.get(key) != {}]
    if missing:
        raise InvalidMessage(
            [{"field": key, "problem": "is required"} for key in missing], message_id=_text(message_id)
        )
    if event.get("specversion") != "1.0":
        raise InvalidMessage([{"field": "specversion", "problem": "must be 1.0"}], message_id=_text(message_id))
    try:
        payload = _payload(event)
        return Envelope(
            id=_required_text(event, "id"),
            message=parse_payload(_required_text(event, "type"), payload),
            source=_required_text(event, "source"),
            time=_instant(event),
            organization_id=_text(event.get("organizationid")),
            subject=_uuid(event, "subject"),
            lead_id=_uuid(event, "leadid"),
            partition=_integer(event, "partition"),
            position=_integer(event, "position"),
            aggregate_version=_integer(event, "aggregateversion"),
            traceparent=_text(event.get("traceparent")),
            causation_id=_text(event.get("causationid")),
            actor=_text(event.get("actor")),
        )
    except InvalidMessage as error:
        error.message_id = _text(message_id)
        raise


def _payload(event: dict[str, Any]) -> dict[str, Any]:
    payload = event["data"]
    if not isinstance(payload, dict):
        raise InvalidMessage([{"field": "data", "problem": "must be a JSON object"}])
    return payload


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _required_text(event: dict[str, Any], key: str) -> str:
    value = _text(event[key])
    if value is None or len(value) > 512:
        raise InvalidMessage([{"field": key, "problem": "must be a text of 1 to 512 characters"}])
    return value


def _instant(event: dict[str, Any]) -> datetime:
    try:
        return utc(datetime.fromisoformat(event["time"]))
    except (KeyError, TypeError, ValueError):
        raise InvalidMessage([{"field": "time", "problem": "must be an RFC 3339 time with a zone"}]) from None


def _uuid(event: dict[str, Any], key: str) -> UUID | None:
    value = event.get(key)
    if value is None:
        return None
    try:
        return UUID(value)
    except (AttributeError, TypeError, ValueError):
        raise InvalidMessage([{"field": key, "problem": "must be a UUID"}]) from None


def _integer(event: dict[str, Any], key: str) -> int | None:
    value = event.get(key)
    if value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InvalidMessage([{"field": key, "problem": "must be a whole number"}]) from None
