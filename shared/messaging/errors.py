"""What can go wrong with messaging.

MessagingError
├── BrokerAway           nothing was sent: there is no connection, or the broker takes nothing at present
├── PublishUnknown       the confirm did not come: the message may or may not be stored; publish again with the same ids
│   └── PublishRefused   the broker said no (a full queue); publish again later with the same ids
├── Unroutable           no queue takes this exchange and routing key
├── RequestTimeout       no answer in time; the order may have been carried out; ask again with the same id
├── DependencyAway       raised by handlers: a store or provider is missing, which is never the message's fault
└── TopologyMismatch     an exchange or queue exists with other arguments
"""

from __future__ import annotations


class MessagingError(Exception):
    """Something is wrong with messaging."""


class BrokerAway(MessagingError):
    """Nothing was sent: there is no connection, or the broker takes nothing at present."""


class PublishUnknown(MessagingError):
    """The confirm did not come: the message may or may not be stored. Publish again with the same ids."""

    def __init__(self, exchange: str, routing_key: str, why: str) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        super().__init__(f"no confirm for {routing_key!r} on {exchange or 'the default exchange'!r}: {why}")


class PublishRefused(PublishUnknown):
    """The broker said no (a full queue). Publish again later with the same ids."""


class Unroutable(MessagingError):
    """No queue takes this exchange and routing key."""

    def __init__(self, exchange: str, routing_key: str) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        super().__init__(f"no queue takes {routing_key!r} on {exchange or 'the default exchange'!r}")


class RequestTimeout(MessagingError):
    """No answer in time. The order may have been carried out; ask again with the same id."""

    def __init__(self, routing_key: str, timeout_seconds: float) -> None:
        self.routing_key = routing_key
        self.timeout_seconds = timeout_seconds
        super().__init__(f"no answer to {routing_key!r} within {timeout_seconds:g} s")


class DependencyAway(MessagingError):
    """A store, a database or a provider is missing. Handlers raise it; the message is not to blame and is kept."""


class TopologyMismatch(MessagingError):
    """An exchange or queue exists with other arguments than this version declares."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        super().__init__(f"{name} exists with other arguments: {why}")
