"""What events hold of secrets does not reach the screen, and everything else does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from shared.events.definition import SequenceDefinition
from shared.events.message import Event
from shared.events.organization import ApiKeyIssued, MemberAdded, MemberSet
from shared.events.query import Answer, QueryAggregateEvents, QueryEventsPage, QueryOrganization
from shared.events.sequence import SequenceDrafted
from shared.settings import Settings, load_settings
from tendril.cli import events
from tendril.cli.events import _print
from tendril.cli.organizations import NoSuchOrganization
from tendril.cli.unsecret import SECRET_FIELDS, shown
from tests.gateway.test_masking import definition

HASH = "5" * 64
ARGON = "$argon2id$v=19$s3cret"


def cloud(event: Event) -> dict[str, Any]:
    return {
        "type": event.TOPIC,
        "subject": str(UUID(int=1)),
        "time": "2026-11-20T09:00:00Z",
        "position": 7,
        "data": orjson.loads(event.model_dump_json(by_alias=True)),
    }


EVENTS = [
    MemberAdded(member_id=UUID(int=2), email="ada@example.com", role="coach", name="Ada", password_hash=ARGON),
    MemberSet(member_id=UUID(int=2), password_hash=ARGON),
    ApiKeyIssued(key_id=UUID(int=3), name="crm", role="operator", scopes=[], secret_hash=HASH),
    SequenceDrafted(definition=SequenceDefinition.model_validate(definition())),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_no_secret_is_shown(event: Event, capsys: pytest.CaptureFixture[str]) -> None:
    whole = cloud(event)
    assert any(each in str(whole) for each in (ARGON, HASH, "s3cret"))
    seen = shown(whole)
    assert not any(each in str(seen) for each in (ARGON, HASH, "s3cret"))
    assert {name: value for name, value in seen.items() if name != "data"} == {
        name: value for name, value in whole.items() if name != "data"
    }
    assert seen["data"].keys() == whole["data"].keys()
    _print(whole)
    printed = capsys.readouterr().out
    assert event.TOPIC.rpartition(".")[0] in printed
    assert not any(each in printed for each in (ARGON, HASH, "s3cret"))


def test_a_member_without_a_password_is_shown_as_such() -> None:
    whole = cloud(MemberAdded(member_id=UUID(int=2), email="a@b.example", role="coach", name="A", password_hash=None))
    assert shown(whole) == whole


def test_every_hash_that_signs_somebody_in_is_known() -> None:
    """A field by such a name is either masked or known to be none: hashes of addresses and companies are keyed."""

    def every(cls: type[Event]) -> set[type[Event]]:
        return {cls, *(each for sub in cls.__subclasses__() for each in every(sub))}

    suspicious = ("hash", "secret", "password", "token")
    named = {
        field
        for cls in every(Event)
        if cls.__module__.startswith("shared.events")
        for field in cls.model_fields
        if any(word in field for word in suspicious)
    }
    assert named == SECRET_FIELDS | {"address_hash", "company_hash"}


class Link:
    """A log of these events; nobody founded anything but ``acme``."""

    async def ask(self, question: Any) -> Answer:
        match question:
            case QueryOrganization():
                return Answer(ok=True, result={"found": question.organization_id == "acme"})
            case QueryAggregateEvents():
                return Answer(ok=True, result={"events": [cloud(event) for event in EVENTS]})
            case _:
                assert isinstance(question, QueryEventsPage)
                return Answer(ok=True, result={"events": [cloud(event) for event in EVENTS], "last": 7, "end": 7})


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    @asynccontextmanager
    async def link(_: Settings) -> AsyncIterator[Link]:
        yield Link()

    monkeypatch.setattr(events, "broker", link)
    here = load_settings({}, home=tmp_path)
    monkeypatch.setattr(events, "settings_here", lambda: here)
    return here


@pytest.mark.parametrize(
    "words", [("replay", "--target", "-"), ("tail", "--no-follow", "--json"), ("tail", "--no-follow")]
)
def test_neither_replay_nor_tail_shows_secrets(
    settings: Settings, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    del settings
    events.app(words, standalone_mode=False)
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == len(EVENTS)
    assert "member_added" in printed
    assert not any(each in printed for each in (ARGON, HASH, "s3cret"))


def test_one_aggregate_is_shown_without_secrets(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    del settings
    events.app(("show", str(UUID(int=1)), "--json"), standalone_mode=False)
    shown_events = orjson.loads(capsys.readouterr().out)["items"]
    assert [each["type"] for each in shown_events] == [event.TOPIC for event in EVENTS]
    assert not any(each in str(shown_events) for each in (ARGON, HASH, "s3cret"))


@pytest.mark.parametrize("words", [("replay", "--target", "-"), ("tail", "--no-follow")])
def test_nobodys_events_are_an_error(
    settings: Settings, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    del settings
    with pytest.raises(NoSuchOrganization):
        events.app((*words, "--organization", "typo"), standalone_mode=False)
    assert capsys.readouterr().out == ""
