"""Real servers for every test that asks: one of each per run, and a place of its own in it for each test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

import pymongo
import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tendril.embedded.mongod import MongoServer
from tendril.embedded.postgres import PostgresServer
from tendril.embedded.rabbitmq import RabbitServer
from tests.support.patience import patience
from tests.support.servers import ServerLoop, VirtualHosts, running, server_home

# Programs that tests start are compiled once, even where Python is told to write no bytecode: a start then takes a
# quarter of the time.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode"))

#: Servers write to memory where there is enough of it: what these tests kill is processes, not the machine.
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 6 << 30
if (
    "TMPDIR" not in os.environ
    and os.access(MEMORY, os.W_OK | os.X_OK)
    and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
):
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

#: Where the longest tests are: they begin first, so that no worker is left alone with them at the end.
LONGEST = ("test_faults.py", "test_stops.py", "test_two_of_each.py", "system", "web")
# A busy machine is no fault of what is tested.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

FAULTS = "tests/system/test_faults.py"
PARTS_OF_FAULTS = 2


class WholeFiles(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Each worker takes whole files, for what the tests of a file share. The pages share one place, and the faults,
    which take longest, go in parts.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if path == FAULTS:
            return f"{path}/{crc32(nodeid.encode()) % PARTS_OF_FAULTS}"
        return "web" if path.startswith("tests/web/") else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WholeFiles:
    return WholeFiles(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    places = (item.path.name, item.path.parent.name)
    return next((turn for turn, name in enumerate(LONGEST) if name in places), len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """None takes for ever."""
    with patience(item.nodeid):
        return (yield)


@pytest.fixture(scope="session")
def server_loop() -> Iterator[ServerLoop]:
    """Where the servers are looked after."""
    loop = ServerLoop()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def rabbit_server(server_loop: ServerLoop) -> Iterator[RabbitServer]:
    """RabbitMQ for the whole run. Do not stop it: tests of faults start their own."""
    with server_home("rabbitmq") as home:
        server = RabbitServer(home)
        with running(server_loop, server):
            yield server


@pytest.fixture(scope="session")
def mongo_server(server_loop: ServerLoop) -> Iterator[MongoServer]:
    """MongoDB for the whole run. Do not stop it."""
    with server_home("mongod") as home:
        server = MongoServer(home)
        with running(server_loop, server):
            yield server


@pytest.fixture(scope="session")
def postgres_server(server_loop: ServerLoop) -> Iterator[PostgresServer]:
    """PostgreSQL for the whole run. Do not stop it."""
    with server_home("postgres") as home:
        server = PostgresServer(home)
        with running(server_loop, server):
            yield server


@pytest.fixture(scope="session")
def virtual_hosts(server_loop: ServerLoop, rabbit_server: RabbitServer) -> VirtualHosts:
    """Empty virtual hosts for the asking."""
    return VirtualHosts(server_loop, rabbit_server)


@pytest.fixture
def amqp_url(virtual_hosts: VirtualHosts) -> Iterator[str]:
    """The address of an empty virtual host."""
    url = virtual_hosts.take()
    yield url
    virtual_hosts.give_back(url)


@pytest.fixture
def mongo_url(mongo_server: MongoServer) -> Iterator[str]:
    """An address whose path is a fresh prefix for the names of databases; all that begin with it are removed."""
    prefix = f"test{uuid4().hex[:12]}"
    yield mongo_server.url.replace("/?", f"/{prefix}?")
    with pymongo.MongoClient[dict[str, object]](mongo_server.url) as client:
        for name in client.list_database_names():
            if name.startswith(prefix):
                client.drop_database(name)


@pytest.fixture
def postgres_url(server_loop: ServerLoop, postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty database."""
    name = f"test{uuid4().hex[:12]}"
    yield server_loop.call(postgres_server.add_database(name))
    server_loop.call(postgres_server.delete_database(name))
