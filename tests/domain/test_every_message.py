"""Every event, and every order and fact of the write side, is spoken of in given/when/then."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from services.enrollment.domain.handling import HANDLED
from shared.events import Event, registered

STORIES = (Path(__file__).parent, Path(__file__).parents[1] / "simulation")


def spoken_of(source: str) -> Iterator[str]:
    """Names that a test uses, as they are or within a text; an import alone says nothing."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.Constant(value=str(text)):
                yield from text.split()


def test_every_event_and_every_order_has_a_story() -> None:
    told = {name for folder in STORIES for path in folder.rglob("*.py") for name in spoken_of(path.read_text("utf-8"))}
    wanted = {cls.__name__ for topic, cls in registered().items() if issubclass(cls, Event) or topic in HANDLED}
    assert wanted - told == set(), "tell in tests/domain when these are recorded, and what follows"


def test_an_import_alone_is_no_story() -> None:
    assert list(spoken_of("from shared.events.lead import LeadWon\n")) == []
    assert set(spoken_of('scenario.when(events.Enroll()).then("LeadWon")')) >= {"Enroll", "LeadWon"}
