"""Bodies of AMQP messages: one CloudEvent, or a frame (a JSON array) of many. Consumers take both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from shared.events import Envelope, InvalidMessage, MessageError, UnknownTopic, from_cloud_event, to_cloud_event
from shared.events.lead import INBOUND_BY_ROUTING_KEY, InboundLead
from shared.events.message import parse_payload

CLOUD_EVENT = "application/cloudevents+json"
CLOUD_EVENTS_BATCH = "application/cloudevents-batch+json"
JSON = "application/json"

#: Largest body taken from funnels.
MAX_BODY_BYTES = 1 << 20
#: Largest frame between our own services; the relay cuts its frames far below.
MAX_FRAME_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A member of a frame that cannot be read, as it came, with the reason."""

    event: Any
    error: MessageError


def encode(envelopes: Sequence[Envelope], *, batch: bool = False) -> tuple[bytes, str]:
    """Body and content type: the single form for exactly one envelope (unless ``batch``), else a frame."""
    return encode_raw([to_cloud_event(envelope) for envelope in envelopes], batch=batch)


def encode_raw(events: Sequence[dict[str, Any] | orjson.Fragment], *, batch: bool = False) -> tuple[bytes, str]:
    """The same for events that are CloudEvent objects, or their JSON, already."""
    if len(events) == 1 and not batch:
        return orjson.dumps(events[0]), CLOUD_EVENT
    return orjson.dumps(list(events)), CLOUD_EVENTS_BATCH


def decode(body: bytes, content_type: str | None) -> list[Envelope]:
    """Every envelope of a body, at least one. Raises InvalidMessage or UnknownTopic when any of them cannot be read."""
    envelopes, unreadable = decode_each(body, content_type)
    if unreadable:
        raise unreadable[0].error
    return envelopes


def decode_each(body: bytes, content_type: str | None) -> tuple[list[Envelope], list[Unreadable]]:
    """The envelopes of a body and what could not be read among them, so that one bad event does not take its frame
    along.

    Raises InvalidMessage when the body as a whole cannot be read, is empty, or exceeds ``MAX_FRAME_BYTES``.
    """
    events = raw_events(body, content_type)
    envelopes: list[Envelope] = []
    unreadable: list[Unreadable] = []
    for event in events:
        try:
            envelopes.append(from_cloud_event(event))
        except (InvalidMessage, UnknownTopic) as error:
            unreadable.append(Unreadable(event, error))
    return envelopes, unreadable


def raw_events(body: bytes, content_type: str | None) -> list[dict[str, Any]]:
    """The CloudEvent objects of a body, unchecked but for being a non-empty list. Raises InvalidMessage."""
    if content_type is not None and not content_type.lower().startswith((CLOUD_EVENT, CLOUD_EVENTS_BATCH, JSON)):
        raise InvalidMessage([{"field": "", "problem": f"content type must be {CLOUD_EVENT} or {CLOUD_EVENTS_BATCH}"}])
    data = _json(body, MAX_FRAME_BYTES)
    events = data if isinstance(data, list) else [data]
    if not events:
        raise InvalidMessage([{"field": "", "problem": "a frame must hold at least one event"}])
    return events


def decode_inbound(
    body: bytes, content_type: str | None, routing_key: str, message_id: str | None, now: datetime
) -> Envelope:
    """A funnel's message from ``tendril.leads``: a CloudEvent, or the bare data as ``application/json``.

    The envelope's id is the CloudEvent's, else ``message_id``, else "" (then identity and ``occurred_at`` alone sort
    out repeats).
    A CloudEvent's ``time`` stands in for a missing ``occurred_at``. The envelope's time is ``now``: when it arrived.
    Raises InvalidMessage with a reason for every field.
    """
    wanted = INBOUND_BY_ROUTING_KEY.get(routing_key)
    if wanted is None:
        known = ", ".join(INBOUND_BY_ROUTING_KEY)
        raise InvalidMessage([{"field": "", "problem": f"routing key must be one of {known}"}], message_id=message_id)
    try:
        data = _json(body, MAX_BODY_BYTES)
        _must_be_object(data)
        if "specversion" in data or (content_type or "").lower().startswith(CLOUD_EVENT):
            return _inbound_event(data, wanted, now)
        message = parse_payload(wanted.TOPIC, data)
    except InvalidMessage as error:
        error.message_id = error.message_id or message_id
        raise
    assert isinstance(message, InboundLead)
    source = f"funnel:{message.funnel_id}" if message.funnel_id else "funnel"
    return Envelope(
        id=message_id or "",
        message=message,
        source=source,
        time=now,
        organization_id=message.organization_id,
        actor="funnel",
    )


def _must_be_object(data: Any) -> None:
    if not isinstance(data, dict):
        raise InvalidMessage([{"field": "", "problem": "must be a JSON object"}])


def _inbound_event(event: dict[str, Any], wanted: type[InboundLead], now: datetime) -> Envelope:
    """A funnel's CloudEvent. Raises InvalidMessage."""
    stamped = {**event, "time": event.get("time") or now.isoformat()}
    try:
        envelope = from_cloud_event(stamped)
    except UnknownTopic as error:
        raise InvalidMessage([{"field": "type", "problem": str(error)}]) from error
    message = envelope.message
    if not isinstance(message, wanted):
        raise InvalidMessage([{"field": "type", "problem": f"must be {wanted.TOPIC}"}], message_id=envelope.id)
    if envelope.organization_id not in (None, message.organization_id):
        raise InvalidMessage(
            [{"field": "organizationid", "problem": "differs from data.organization_id"}], message_id=envelope.id
        )
    if message.occurred_at is None and event.get("time"):
        message = message.model_copy(update={"occurred_at": envelope.time})
    return Envelope(
        id=envelope.id,
        message=message,
        source=envelope.source,
        time=now,
        organization_id=message.organization_id,
        traceparent=envelope.traceparent,
        causation_id=envelope.causation_id,
        actor="funnel",
    )


def _json(body: bytes, limit: int) -> Any:
    if len(body) > limit:
        raise InvalidMessage([{"field": "", "problem": f"is {len(body)} bytes long, at most {limit} are taken"}])
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidMessage([{"field": "", "problem": f"is not JSON: {error.msg} at {error.pos}"}]) from None
