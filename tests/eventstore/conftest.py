"""A fresh store on each database, and a second process's view of it where there can be one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from shared.persistence.eventstore import EventStore, open_url
from tests.eventstore.builders import MASTER_KEY

Opener = Callable[[], EventStore]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store not yet made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/events.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(store_url: str) -> Iterator[EventStore]:
    with closing(open_url(store_url, master_key=MASTER_KEY)) as opened:
        yield opened


@pytest.fixture
def open_shared(postgres_url: str) -> Iterator[Opener]:
    """Opens one PostgreSQL store as often as asked, each time as another process would."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(open_url(postgres_url, master_key=MASTER_KEY)))
