"""What a view is: a name, a version, indexes, and a pure function from an event to orders for its documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from services.projector.event import Event
from services.projector.ops import Document, Ops

Handler = Callable[[Any, Event, Ops], None]
Keys = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Partial:
    """An index over only those documents in which ``field`` equals ``value``."""

    keys: Keys
    field: str
    value: str | bool


def on(*topics: str) -> Callable[[Handler], Handler]:
    """Marks a method as the one that handles these topics."""

    def mark(method: Handler) -> Handler:
        method.__dict__["topics"] = topics
        return method

    return mark


class View:
    """A read model with one collection. A document is written from one partition's events only.

    ``version`` grows whenever ``apply`` changes what it writes: the view is then built again by itself. ``indexes``
    serve the list queries.
    Every registered event is either handled or named in ``ignored``.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    indexes: ClassVar[Sequence[Keys | Partial]] = ()
    ignored: ClassVar[frozenset[str]] = frozenset()
    handlers: ClassVar[Mapping[str, Handler]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        handlers: dict[str, Handler] = {}
        for member in vars(cls).values():
            for topic in getattr(member, "topics", ()):
                if topic in handlers:
                    raise ValueError(f"{cls.__name__} handles {topic} twice")
                handlers[topic] = member
        cls.handlers = {**cls.handlers, **handlers}

    def apply(self, event: Event, ops: Ops) -> None:
        """Order what the event means for this view's documents. What it raises sets the view aside."""
        handler = self.handlers.get(event.topic)
        if handler is not None:
            handler(self, event, ops)

    def concerns(self, event: Event) -> bool:
        """Does an event of a handled topic change anything here? Clients are told only then. A view that looks at most
        events of a topic in vain overrides it.
        """
        del event
        return True

    @staticmethod
    def of_subject(event: Event, ops: Ops) -> Document:
        """The document of the event's own aggregate."""
        return ops.document(event, event.subject)

    @staticmethod
    def new_of_subject(event: Event, ops: Ops, fields: Mapping[str, Any]) -> Document:
        """The document of an aggregate whose first event this is."""
        return ops.new_document(event, event.subject, fields)
