from __future__ import annotations

from typing import Any

import pytest

from shared.events import (
    Command,
    DuplicateTopic,
    Event,
    InvalidMessage,
    UnknownTopic,
    message_class,
    parse_payload,
    pii_fields,
    registered,
    upcast,
)
from shared.events import message as module
from shared.events.lead import PERSONAL_FIELDS, LeadCaptured, LeadReplied
from shared.events.message import stored_as
from shared.events.task import TaskOpened


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes made here are forgotten again."""
    monkeypatch.setattr(module, "_classes", dict(module._classes))
    monkeypatch.setattr(module, "_upcasters", dict(module._upcasters))


def test_a_topic_belongs_to_one_class() -> None:
    class First(Event):
        TOPIC = "thing.happened.v1"

    assert message_class("thing.happened.v1") is First
    with pytest.raises(DuplicateTopic, match=r"thing\.happened\.v1"):

        class Second(Event):
            TOPIC = "thing.happened.v1"


@pytest.mark.parametrize("topic", ["thing", "Thing.happened.v1", "thing.happened", "thing.happened.v0", "a.b.c.v1"])
def test_a_topic_has_a_form(topic: str) -> None:
    with pytest.raises(ValueError, match="TOPIC must read"):
        type("Wrong", (Event,), {"TOPIC": topic, "__module__": __name__})


def test_an_old_payload_is_lifted_step_by_step() -> None:
    class Happened(Event):
        TOPIC = "thing.happened.v3"
        colour: str
        size: int

    @upcast("thing.happened.v1", "thing.happened.v2")
    def _first(payload: dict[str, Any]) -> dict[str, Any]:
        return {"colour": payload["color"]}

    @upcast("thing.happened.v2", "thing.happened.v3")
    def _second(payload: dict[str, Any]) -> dict[str, Any]:
        return {**payload, "size": 1}

    stored = {"color": "red"}
    assert parse_payload("thing.happened.v1", stored) == Happened(colour="red", size=1)
    assert parse_payload("thing.happened.v2", {"colour": "red"}) == Happened(colour="red", size=1)
    assert stored == {"color": "red"}
    assert stored_as([Happened]) == {"thing.happened.v1", "thing.happened.v2", "thing.happened.v3"}
    with pytest.raises(DuplicateTopic):
        upcast("thing.happened.v1", "thing.happened.v3")(_first)
    with pytest.raises(DuplicateTopic):
        upcast("thing.happened.v3", "thing.happened.v4")(_first)


def test_an_unknown_topic_is_named() -> None:
    with pytest.raises(UnknownTopic, match=r"nobody\.knows\.v1"):
        parse_payload("nobody.knows.v1", {})


def test_reasons_name_fields_and_never_repeat_values() -> None:
    with pytest.raises(InvalidMessage) as caught:
        parse_payload("lead.tag.v1", {"lead_id": "secret-value", "surplus": 1})
    assert {reason["field"] for reason in caught.value.reasons} == {"lead_id", "surplus"}
    assert "secret-value" not in str(caught.value.reasons)


def test_personal_fields_are_marked() -> None:
    assert set(pii_fields(LeadCaptured)) == {*PERSONAL_FIELDS, "custom_fields"}
    assert set(pii_fields(LeadReplied)) == {"subject", "text"}
    assert set(pii_fields(TaskOpened)) == {"title", "notes", "subject", "html", "text", "preheader"}


def test_what_is_personal_may_read_none() -> None:
    """An erased lead's fields read None, so each must allow it."""
    for cls in registered().values():
        if issubclass(cls, Event):
            for name in pii_fields(cls):
                assert type(None) in getattr(cls.model_fields[name].annotation, "__args__", ()), f"{cls.TOPIC}.{name}"


def test_commands_refuse_unknown_fields_and_events_ignore_them() -> None:
    for cls in registered().values():
        wanted = "ignore" if issubclass(cls, Event) else "forbid"
        assert cls.model_config["extra"] == wanted, cls.TOPIC
        assert cls.model_config["frozen"], cls.TOPIC
        assert issubclass(cls, Event | Command) or cls.TOPIC == "dispatch.step.v1"
