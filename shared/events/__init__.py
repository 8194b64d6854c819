"""Every event and command, as frozen pydantic models: the contract, the stored form and the published form."""

from shared.events import definition, dispatch, engagement, enrollment, lead, organization, query, sequence, task, why
from shared.events.envelope import Envelope, from_cloud_event, to_cloud_event
from shared.events.errors import DuplicateTopic, InvalidMessage, MessageError, UnknownTopic
from shared.events.message import (
    Command,
    Event,
    Fact,
    Message,
    Value,
    message_class,
    parse_payload,
    pii_fields,
    registered,
    upcast,
)

__all__ = [
    "Command",
    "DuplicateTopic",
    "Envelope",
    "Event",
    "Fact",
    "InvalidMessage",
    "Message",
    "MessageError",
    "UnknownTopic",
    "Value",
    "definition",
    "dispatch",
    "engagement",
    "enrollment",
    "from_cloud_event",
    "lead",
    "message_class",
    "organization",
    "parse_payload",
    "pii_fields",
    "query",
    "registered",
    "sequence",
    "task",
    "to_cloud_event",
    "upcast",
    "why",
]
