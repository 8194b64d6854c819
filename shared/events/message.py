"""Messages: frozen pydantic models, each known by an explicit topic, never by its module path.

A topic reads ``<aggregate>.<name>.v<n>``. Moving or renaming a class orphans nothing, because only the topic is
stored and sent. A payload that changes shape gets a new class with the next ``v``, and the old topic an upcaster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, ClassVar, get_args, get_origin

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, ValidationError

from shared.events.errors import DuplicateTopic, InvalidMessage, UnknownTopic
from shared.events.places import reasons_of

TOPIC_FORM = re.compile(r"^[a-z][a-z_]*\.[a-z][a-z_]*\.v[1-9][0-9]*$")

#: The largest whole number that every reader of JSON keeps.
MOST = 2**53 - 1


def utc(moment: datetime) -> datetime:
    """An aware moment in UTC. Raises ValueError for a naive one, and for one that lies beyond the calendar in UTC."""
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        raise ValueError("a moment must carry its time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a moment must lie in the years 1 to 9999, in UTC") from None


#: An instant, always UTC-aware; other zones are converted on the way in.
Instant = Annotated[AwareDatetime, AfterValidator(utc)]


class PiiMark:
    """Marks a field as personal: the store encrypts it with the lead's own key."""

    def __repr__(self) -> str:
        return "Pii"


_PII = PiiMark()
#: A personal text. It reads ``None`` once the lead's key is deleted.
Pii = Annotated[str | None, _PII]
#: Personal values by name (custom fields). It reads ``None`` once the lead's key is deleted.
PiiMap = Annotated[dict[str, Any] | None, _PII]
#: Several personal texts. It reads ``None`` once the lead's key is deleted.
PiiTexts = Annotated[list[str] | None, _PII]


class Value(BaseModel):
    """A part of a message: frozen, compared by content, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(BaseModel):
    """Anything sent or stored. Subclasses that set ``TOPIC`` register themselves; a topic taken twice is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    TOPIC: ClassVar[str] = ""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "TOPIC" in cls.__dict__:
            _register(cls)


class Event(Message):
    """A fact in the past tense, stored for ever. Unknown fields are ignored, so that a newer writer does not stop an
    older reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Command(Message):
    """An order to the write side; it may be refused with a typed error."""


class Fact(Command):
    """Something that happened outside (an outcome, a signal): recorded whatever the state."""


_classes: dict[str, type[Message]] = {}
_upcasters: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {}


def _register(cls: type[Message]) -> None:
    if not TOPIC_FORM.match(cls.TOPIC):
        raise ValueError(f"{cls.__qualname__}.TOPIC must read <aggregate>.<name>.v<n>, got {cls.TOPIC!r}")
    taken = _classes.get(cls.TOPIC)
    if taken is not None:
        raise DuplicateTopic(cls.TOPIC, taken.__qualname__, cls.__qualname__)
    _classes[cls.TOPIC] = cls


def upcast(
    old_topic: str, new_topic: str
) -> Callable[[Callable[[dict[str, Any]], dict[str, Any]]], Callable[[dict[str, Any]], dict[str, Any]]]:
    """Decorates a function that turns a payload stored under ``old_topic`` into one of ``new_topic`` (usually the
    next version)."""

    def register(function: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        if old_topic in _upcasters or old_topic in _classes:
            raise DuplicateTopic(old_topic, "an upcaster or class", function.__qualname__)
        _upcasters[old_topic] = (new_topic, function)
        return function

    return register


def upcast_payload(topic: str, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The payload in its newest version, with that version's topic."""
    while topic in _upcasters:
        topic, function = _upcasters[topic]
        payload = function(dict(payload))
    return topic, payload


def stored_as(classes: Iterable[type[Message]]) -> frozenset[str]:
    """Topics under which messages of these classes may lie in the log: their own, and older ones upcast to them."""
    topics = {cls.TOPIC for cls in classes}
    for old in _upcasters:
        newest = old
        while newest in _upcasters:
            newest, _ = _upcasters[newest]
            if newest in topics:
                topics.add(old)
    return frozenset(topics)


def message_class(topic: str) -> type[Message]:
    """The class registered for ``topic``. Raises UnknownTopic."""
    try:
        return _classes[topic]
    except KeyError:
        raise UnknownTopic(topic) from None


def registered() -> dict[str, type[Message]]:
    """Every registered class by topic, in order of topic."""
    return dict(sorted(_classes.items()))


def parse_payload(topic: str, payload: dict[str, Any]) -> Message:
    """A message from its topic and payload, upcast on the way.

    Raises UnknownTopic, or InvalidMessage with a reason for every field.
    """
    topic, payload = upcast_payload(topic, payload)
    cls = message_class(topic)
    try:
        return cls.model_validate(payload)
    except ValidationError as error:
        raise InvalidMessage(reasons_of(error, payload)) from error


@cache
def fields_of(cls: type[Message]) -> frozenset[str]:
    """Names of a class's fields. To ask a message itself for one that it may lack is slow."""
    return frozenset(cls.model_fields)


@cache
def pii_fields(cls: type[Message]) -> tuple[str, ...]:
    """Names of a class's personal fields (top level only: personal values never hide deeper)."""
    return tuple(
        name
        for name, field in cls.model_fields.items()
        if any(isinstance(mark, PiiMark) for mark in field.metadata) or _marked(field.annotation)
    )


def _marked(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return any(isinstance(mark, PiiMark) for mark in get_args(annotation)[1:])
    return any(_marked(part) for part in get_args(annotation))


def aggregate_of(topic: str) -> str:
    """First word of a topic: ``enrollment`` of ``enrollment.step_due.v1``."""
    return topic.partition(".")[0]


def name_of(topic: str) -> str:
    """Middle word of a topic: ``step_due`` of ``enrollment.step_due.v1``."""
    return topic.split(".")[1]
