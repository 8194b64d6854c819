"""Exchanges, queues and bindings, as code. Any service declares all of it, in any order, any number of times.

Arguments depend on the broker's version only where they must: RabbitMQ 4.0 gives quorum queues a delivery limit of 20
by itself,
which partition queues (a projector that is away must not lose its place) and the dead letters lift with -1; older
brokers
have no default and refuse -1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelPreconditionFailed

from shared.events import Command, Envelope, Event
from shared.events.bulk import NameBulkTargets
from shared.events.dispatch import DressedStep, ForgetLead, SendTest, SettleDispatch, StopOrder
from shared.events.engagement import RecordSignal
from shared.events.enrollment import Outcome
from shared.events.lead import INBOUND_BY_ROUTING_KEY, InboundLead
from shared.events.message import aggregate_of, name_of
from shared.messaging.errors import TopologyMismatch

LEADS = "tendril.leads"
COMMANDS = "tendril.commands"
DISPATCH = "tendril.dispatch"
STOPS = "tendril.stops"
EVENTS = "tendril.events"
FEED = "tendril.feed"
REPLAY = "tendril.replay"
DEAD = "tendril.dead"

QUEUE_LEADS = "enrollment.leads"
QUEUE_COMMANDS = "enrollment.commands"
QUEUE_OUTCOMES = "enrollment.outcomes"
QUEUE_SIGNALS = "enrollment.signals"
QUEUE_BULK = "enrollment.bulk"
QUEUE_QUERIES = "enrollment.queries"
QUEUE_STOPS = "dispatcher.stops"
QUEUE_DEAD = "tendril.dead"

#: Channels whose queues exist from the start; others are declared by the dispatcher that serves them.
DEFAULT_CHANNELS = ("email", "sms", "whatsapp", "webhook", "null")
#: Channels that a dispatcher has an adapter for. A sequence that uses another cannot be activated.
SERVED_CHANNELS = ("email", "webhook", "null")
PARTITIONS = 16
#: Only a backstop against messages that kill their consumer: it counts crashes and lost channels too.
DELIVERY_LIMIT = 50

EXCHANGES: Mapping[str, Literal["topic", "direct"]] = {
    LEADS: "topic",
    COMMANDS: "topic",
    DISPATCH: "topic",
    STOPS: "topic",
    EVENTS: "topic",
    FEED: "direct",
    REPLAY: "topic",
    DEAD: "topic",
}


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A durable quorum queue and its one binding. ``limited``: the broker gives up after ``DELIVERY_LIMIT`` deliveries.
    ``dead_letters``: what it gives up goes to ``tendril.dead``, with the queue's name as routing key."""

    name: str
    exchange: str
    routing_key: str
    limited: bool = True
    dead_letters: bool = True

    def arguments(self, broker_version: tuple[int, ...]) -> dict[str, Any]:
        """Queue arguments for a broker of this version."""
        arguments: dict[str, Any] = {"x-queue-type": "quorum"}
        if self.dead_letters:
            arguments |= {
                "x-dead-letter-exchange": DEAD,
                "x-dead-letter-routing-key": self.name,
                # Without both of these dead lettering is silently at most once.
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }
        if self.limited:
            arguments["x-delivery-limit"] = DELIVERY_LIMIT
        elif broker_version >= (4,):
            arguments["x-delivery-limit"] = -1
        return arguments


def dispatch_queue(channel: str) -> str:
    """Queue of due steps of a channel."""
    return f"dispatcher.{channel}"


def partition_queue(partition: int) -> str:
    """Queue of a partition's feed: ``projector.00`` and on."""
    return f"projector.{partition:02d}"


def queues(channels: Sequence[str] = DEFAULT_CHANNELS, partitions: int = PARTITIONS) -> list[QueueSpec]:
    """Every queue, in order of declaration."""
    return [
        QueueSpec(QUEUE_DEAD, DEAD, "#", limited=False, dead_letters=False),
        QueueSpec(QUEUE_LEADS, LEADS, "#"),
        QueueSpec(QUEUE_COMMANDS, COMMANDS, "command.#"),
        QueueSpec(QUEUE_OUTCOMES, COMMANDS, "outcome.#"),
        QueueSpec(QUEUE_SIGNALS, COMMANDS, "signal.#"),
        QueueSpec(QUEUE_BULK, COMMANDS, "bulk.#"),
        QueueSpec(QUEUE_QUERIES, COMMANDS, "query.#"),
        QueueSpec(QUEUE_STOPS, STOPS, "#"),
        *(QueueSpec(dispatch_queue(name), DISPATCH, name) for name in dict.fromkeys((*DEFAULT_CHANNELS, *channels))),
        *(QueueSpec(partition_queue(n), FEED, f"{n:02d}", limited=False) for n in range(partitions)),
    ]


async def declare(
    channel: AbstractChannel, channels: Sequence[str] = DEFAULT_CHANNELS, partitions: int = PARTITIONS
) -> None:
    """Declares everything; what exists already stays as it is. A robust channel declares it again by itself after a
    reconnect.

    Raises TopologyMismatch when something exists with other arguments (the channel is closed by then).
    """
    version = await broker_version(channel)
    name = ""
    try:
        exchanges = {}
        for name, kind in EXCHANGES.items():
            exchanges[name] = await channel.declare_exchange(name, kind, durable=True)
        for spec in queues(channels, partitions):
            name = spec.name
            queue = await channel.declare_queue(name, durable=True, arguments=spec.arguments(version))
            await queue.bind(exchanges[spec.exchange], spec.routing_key)
    except ChannelPreconditionFailed as error:
        raise TopologyMismatch(name, str(error)) from error


async def broker_version(channel: AbstractChannel) -> tuple[int, ...]:
    """The broker's version as numbers, ``(3, 10, 8)``; ``(3,)`` when it does not say."""
    underlay = await channel.get_underlay_channel()
    said = underlay.connection.server_properties.get("version", "3")
    text = said.decode() if isinstance(said, bytes) else str(said)
    numbers = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers) or (3,)


_INBOUND_KEYS = {cls: key for key, cls in INBOUND_BY_ROUTING_KEY.items()}


def exchange_of(envelope: Envelope) -> str:
    """The exchange an envelope is published to, by the class of its message."""
    match envelope.message:
        case InboundLead() if not envelope.by_person:  # whoever publishes there is a funnel
            return LEADS
        case StopOrder() | SettleDispatch() | ForgetLead():
            return STOPS
        case DressedStep() | SendTest():
            return DISPATCH
        case Event():
            return EVENTS
        case _:
            return COMMANDS


def routing_key_of(envelope: Envelope) -> str:  # noqa: PLR0911
    """The routing key of a single envelope, by class and topic."""
    message = envelope.message
    match message:
        case InboundLead() if not envelope.by_person:
            return _INBOUND_KEYS[type(message)]
        case StopOrder():
            return f"stop.{message.scope}"
        case SettleDispatch():
            return "settle.dispatch"
        case ForgetLead():
            return "forget.lead"
        case DressedStep():
            return message.channel
        case SendTest():
            return message.step.channel
        case Outcome():
            return f"outcome.{name_of(message.TOPIC)}"
        case RecordSignal():
            return f"signal.{message.signal}"
        case NameBulkTargets():
            return bulk_key_of(envelope)
        case Event():
            return event_key_of(message.TOPIC, getattr(message, "channel", None))
        case Command() if aggregate_of(message.TOPIC) == "query":
            return f"query.{name_of(message.TOPIC)}"
        case _:
            return f"command.{aggregate_of(message.TOPIC)}.{name_of(message.TOPIC)}"


def bulk_key_of(envelope: Envelope) -> str:
    """Routing key of an order that is one of thousands, so that it never stands before a person's."""
    return f"bulk.{aggregate_of(envelope.topic)}.{name_of(envelope.topic)}"


def event_key_of(topic: str, channel: str | None = None) -> str:
    """Routing key on ``tendril.events``: ``<aggregate>.<event>[.<channel>]``."""
    key = f"{aggregate_of(topic)}.{name_of(topic)}"
    return f"{key}.{channel}" if channel else key
