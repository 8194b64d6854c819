"""The AsyncAPI document and the JSON Schemas, made from the same classes and the same topology that run.

Both are deterministic: the same code gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import yaml

from shared.events import Event, Message, pii_fields, registered
from shared.events.dispatch import DressedStep, ForgetLead, SendTest, SettleDispatch, StopOrder
from shared.events.engagement import RecordSignal
from shared.events.enrollment import Outcome
from shared.events.lead import INBOUND_BY_ROUTING_KEY, InboundLead
from shared.events.message import aggregate_of, name_of
from shared.messaging import topology

SCHEMAS = Path("docs/schemas")
ASYNCAPI = Path("docs/asyncapi.yaml")

#: Who publishes to an exchange and what it is for.
EXCHANGE_NOTES = {
    topology.LEADS: "Funnels publish; enrollment consumes.",
    topology.COMMANDS: "Gateway, dispatcher, tracker and command line publish; enrollment consumes.",
    topology.DISPATCH: "The clerk publishes due steps, the gateway tests; dispatchers consume, one queue per channel.",
    topology.STOPS: "The clerk and the tracker publish; every dispatcher's stops come ahead of its sends.",
    topology.EVENTS: "The clerk publishes every event; anyone may bind a queue.",
    topology.FEED: "The clerk publishes every event, in log order, in its partition; projectors consume.",
    topology.REPLAY: "The reader publishes chosen events again, marked replay; for operators' own queues.",
    topology.DEAD: "What was given up, with the queue it came from as routing key and the reasons as headers.",
}


def schema_of(cls: type[Message]) -> dict[str, Any]:
    """JSON Schema of a message's ``data``. Personal fields carry ``x-personal: true``."""
    schema = cls.model_json_schema(mode="serialization" if issubclass(cls, Event) else "validation")
    for name in pii_fields(cls):
        schema["properties"][name]["x-personal"] = True
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:tendril:{cls.TOPIC}",
        **schema,
        "title": cls.TOPIC,
    }


def documents() -> Iterator[tuple[Path, bytes]]:
    """Every generated document: its path from the project's root, and its content."""
    for topic, cls in registered().items():
        body = orjson.dumps(schema_of(cls), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        yield SCHEMAS / f"{topic}.json", body + b"\n"
    text = yaml.safe_dump(asyncapi(), sort_keys=False, allow_unicode=True, width=120)
    yield ASYNCAPI, text.encode()


def routes_of(topic: str, cls: type[Message]) -> list[tuple[str, str]]:  # noqa: PLR0911
    """Exchange and routing key (a pattern in braces where it varies) of a message."""
    if issubclass(cls, InboundLead):
        key = next(key for key, known in INBOUND_BY_ROUTING_KEY.items() if known is cls)
        return [(topology.LEADS, key)]
    if cls in (DressedStep, SendTest):
        return [(topology.DISPATCH, "{channel}")]
    if cls is StopOrder:
        return [(topology.STOPS, "stop.{scope}")]
    if cls in (SettleDispatch, ForgetLead):
        return [(topology.STOPS, {SettleDispatch: "settle.dispatch", ForgetLead: "forget.lead"}[cls])]
    key = f"{aggregate_of(topic)}.{name_of(topic)}"
    if issubclass(cls, Event):
        suffix = ".{channel}" if "channel" in cls.model_fields else ""
        return [(topology.EVENTS, key + suffix), (topology.FEED, "{partition}")]
    if issubclass(cls, Outcome):
        return [(topology.COMMANDS, f"outcome.{name_of(topic)}")]
    if cls is RecordSignal:
        return [(topology.COMMANDS, "signal.{signal}")]
    if aggregate_of(topic) == "query":
        return [(topology.COMMANDS, f"query.{name_of(topic)}")]
    return [(topology.COMMANDS, f"command.{key}")]


def asyncapi() -> dict[str, Any]:
    """The document, AsyncAPI 3.0: a channel per exchange, a message per topic."""
    messages: dict[str, Any] = {}
    on_exchange: dict[str, dict[str, Any]] = {name: {} for name in topology.EXCHANGES}
    for topic, cls in registered().items():
        routes = routes_of(topic, cls)
        messages[topic] = {
            "name": topic,
            "contentType": "application/cloudevents+json",
            "summary": (cls.__doc__ or "").strip().partition("\n")[0],
            "x-routing-keys": [f"{exchange} {key}" for exchange, key in routes],
            "payload": {
                "allOf": [
                    {"$ref": "#/components/schemas/CloudEvent"},
                    {"properties": {"type": {"const": topic}, "data": {"$ref": f"schemas/{topic}.json"}}},
                ]
            },
        }
        for exchange, _ in routes:
            on_exchange[exchange][topic] = {"$ref": f"#/components/messages/{topic}"}
    bound = topology.queues()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tendril",
            "version": "1.0.0",
            "license": {"name": "Apache-2.0"},
            "description": (
                "A body is one CloudEvent (application/cloudevents+json) or a frame of many "
                "(application/cloudevents-batch+json, an array); consumers take both. Funnels may send the bare data "
                "as application/json with the property message_id as idempotency key."
            ),
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {
            exchange: {
                "address": exchange,
                "description": EXCHANGE_NOTES[exchange],
                "messages": on_exchange[exchange],
                "bindings": {
                    "amqp": {"is": "routingKey", "exchange": {"name": exchange, "type": kind, "durable": True}}
                },
                "x-queues": {queue.name: queue.routing_key for queue in bound if queue.exchange == exchange},
            }
            for exchange, kind in topology.EXCHANGES.items()
        },
        "components": {"messages": messages, "schemas": {"CloudEvent": _CLOUD_EVENT}},
    }


_TEXT = {"type": "string"}
_CLOUD_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "type", "source", "time", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "description": "idempotency key"},
        "type": {"type": "string", "description": "the message's topic"},
        "source": _TEXT,
        "subject": {"type": "string", "format": "uuid", "description": "aggregate id"},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "data": {"type": "object"},
        "organizationid": _TEXT,
        "leadid": {"type": "string", "format": "uuid"},
        "partition": {"type": "string", "pattern": "^[0-9]{2}$"},
        "position": {"type": "integer"},
        "aggregateversion": {"type": "integer"},
        "traceparent": _TEXT,
        "causationid": _TEXT,
        "actor": _TEXT,
    },
}
