"""Where system tests run: with one process of every service on SQLite, or with two on PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tendril.embedded.postgres import PostgresServer
from tests.support.servers import ServerLoop


@pytest.fixture(scope="module")
def store_url(server_loop: ServerLoop, postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database for the whole module."""
    name = f"two{secrets.token_hex(6)}"
    yield server_loop.call(postgres_server.add_database(name))
    server_loop.call(postgres_server.delete_database(name))


@pytest.fixture(scope="module", params=["one", pytest.param("two", marks=pytest.mark.postgres)])
def of_each(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of a stack; a module that asks for them runs in both ways."""
    if request.param == "one":
        return {}
    return {"event_store": request.getfixturevalue("store_url"), "copies": 2}
