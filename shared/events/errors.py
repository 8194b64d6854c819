"""What can go wrong with a message.

MessageError
├── InvalidMessage     the message does not validate; carries field-by-field reasons
├── UnknownTopic       no class is registered for a topic
└── DuplicateTopic     two classes claim one topic (raised at import)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class MessageError(Exception):
    """Something is wrong with a message."""


class InvalidMessage(MessageError):
    """The message does not validate.

    ``reasons`` is a list of ``{"field": "lead.email", "problem": "..."}``; an empty field means the whole body.
    """

    def __init__(self, reasons: Sequence[dict[str, str]], *, message_id: str | None = None) -> None:
        self.reasons = list(reasons)
        self.message_id = message_id
        super().__init__("; ".join(f"{r['field'] or 'body'}: {r['problem']}" for r in self.reasons))


class UnknownTopic(MessageError):
    """No class is registered for a topic."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(f"no message class is registered for topic {topic!r}")


class DuplicateTopic(MessageError):
    """Two classes claim one topic."""

    def __init__(self, topic: str, first: str, second: str) -> None:
        self.topic = topic
        super().__init__(f"topic {topic!r} is claimed by {first} and by {second}")
