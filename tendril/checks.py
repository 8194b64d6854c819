"""What a healthy installation needs, looked at one by one."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import aio_pika
import psycopg
from aio_pika.exceptions import AMQPError
from pymongo.errors import PyMongoError

from shared.clock import ClockError, load_clock
from shared.messaging.topology import broker_version
from shared.persistence.mongo import connect
from shared.persistence.views import ViewReader
from shared.settings import PostgresStore, Settings
from tendril.cli.links import without_password
from tendril.dead_letters import DeadLetterBox
from tendril.embedded.errors import EmbeddedError
from tendril.embedded.mongod import find_mongod
from tendril.embedded.ports import LOOPBACK, is_free
from tendril.place import Place, read_place
from tendril.up.secret_file import SecretsUnreadable, read_secrets

State = Literal["good", "note", "bad"]
SECONDS = 5.0
LEAST_DISK = 1 << 30
RABBITMQ_FOLDERS = ("/usr/lib/rabbitmq/bin", "/usr/sbin")
OLDEST_RABBITMQ = (3, 10)
WEB_INDEX = Path("web/dist/index.html")


@dataclass(frozen=True, slots=True)
class Check:
    """``note``: nothing is wrong, but one should know. ``mend`` is what to do."""

    name: str
    state: State
    finding: str
    mend: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


async def examine(settings: Settings) -> list[Check]:
    """All checks, in a fixed order; they run together. Raises nothing."""
    place = read_place(settings.home)
    checks: list[Callable[[], Awaitable[list[Check]]]] = [
        lambda: _one(_home(settings)),
        lambda: _one(_secrets(settings)),
        lambda: _one(_clock(settings)),
        lambda: _store(settings),
        lambda: _rabbitmq(settings),
        lambda: _mongodb(settings),
        lambda: _smtp(settings, place),
        lambda: _services(settings, place),
        lambda: _one(_web()),
    ]
    found = await asyncio.gather(*(check() for check in checks))
    return [check for group in found for check in group]


async def _one(check: Check) -> list[Check]:
    return [check]


def _home(settings: Settings) -> Check:
    home = settings.home.resolve()
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return Check("home", "bad", f"{home} cannot be written", "set TENDRIL_HOME to a folder of your own")
    free = shutil.disk_usage(existing).free
    if free < LEAST_DISK:
        return Check("home", "bad", f"{home}: only {free >> 20} MB are free", "make room: 1 GB at least")
    return Check("home", "good", f"{home}, {free >> 30} GB free")


def _secrets(settings: Settings) -> Check:
    try:
        kept = read_secrets(settings.home)
    except SecretsUnreadable as error:
        return Check("secrets", "bad", str(error), "restore the file from a backup: the log cannot be read without it")
    missing = [
        name
        for name, value in (("MASTER_KEY", settings.master_key), ("SECRET_KEYS", settings.secret_keys))
        if not value
    ]
    if not missing:
        return Check("secrets", "good", "set in the environment")
    if kept is not None:
        return Check("secrets", "good", f"kept in {settings.home / 'secrets.json'}")
    names = " and ".join(f"TENDRIL_{name}" for name in missing)
    return Check("secrets", "note", f"{names} not set", "tendril up makes them; services on their own need them set")


def _clock(settings: Settings) -> Check:
    try:
        clock = load_clock(settings.home)
    except ClockError as error:
        return Check("clock", "bad", str(error), "remove the file, if this home may go back to real time")
    if clock.speed == 1.0:
        return Check("clock", "good", "real time")
    return Check(
        "clock", "note", f"scaled: {clock.speed:g} business seconds in a second, now {clock.now():%Y-%m-%d %H:%M}"
    )


async def _store(settings: Settings) -> list[Check]:
    store = settings.store
    if isinstance(store, PostgresStore):
        shown = without_password(store.dsn)
        try:
            connection = await psycopg.AsyncConnection.connect(store.dsn, connect_timeout=int(SECONDS))
        except (psycopg.Error, OSError) as error:
            problem = str(error).splitlines()[0]
            return [Check("event store", "bad", f"{shown}: {problem}", "start PostgreSQL or mend TENDRIL_EVENT_STORE")]
        await connection.close()
        return [Check("event store", "good", f"PostgreSQL at {shown}")]
    if not store.path.exists():
        return [Check("event store", "note", f"{store.path} is not there yet", "the first start makes it")]
    try:
        with sqlite3.connect(f"file:{store.path}?mode=ro", uri=True) as connection_:
            connection_.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        return [Check("event store", "bad", f"{store.path}: {error}", "restore it from a backup")]
    return [Check("event store", "good", f"SQLite, {store.path}, {store.path.stat().st_size >> 20} MB")]


async def _rabbitmq(settings: Settings) -> list[Check]:
    if settings.amqp_url is None:
        found = shutil.which("rabbitmq-server") or next(
            (folder for folder in RABBITMQ_FOLDERS if (Path(folder) / "rabbitmq-server").exists()), None
        )
        if found:
            return [Check("RabbitMQ", "good", f"tendril up starts a private node ({found})")]
        mend = "install RabbitMQ (Debian: rabbitmq-server) or set TENDRIL_AMQP_URL"
        return [Check("RabbitMQ", "bad", "no address is set and no server is installed", mend)]
    shown = without_password(settings.amqp_url)
    try:
        connection = await aio_pika.connect(settings.amqp_url, timeout=SECONDS)
        async with connection, await connection.channel() as channel:
            version = await broker_version(channel)
    except (AMQPError, OSError, TimeoutError) as error:
        problem = str(error) or type(error).__name__
        return [Check("RabbitMQ", "bad", f"{shown}: {problem}", "start RabbitMQ or mend TENDRIL_AMQP_URL")]
    text = ".".join(map(str, version))
    if version < OLDEST_RABBITMQ:
        return [Check("RabbitMQ", "bad", f"{shown}: version {text}", "upgrade to 3.10 or later")]
    return [Check("RabbitMQ", "good", f"{text} at {shown}")]


async def _mongodb(settings: Settings) -> list[Check]:
    if settings.mongo_url is None:
        try:
            found = find_mongod()
        except EmbeddedError as error:
            return [Check("MongoDB", "bad", "no address is set and there is no mongod", str(error))]
        return [Check("MongoDB", "good", f"tendril up starts a private mongod ({found})")]
    shown = without_password(settings.mongo_url)
    client = connect(settings.mongo_url, settings.mongo_driver, server_selection_seconds=SECONDS)
    try:
        hello = await client.database("admin").command({"hello": 1})
        version = (await client.database("admin").command({"buildInfo": 1}))["version"]
        if not hello.get("setName"):
            mend = "start mongod with --replSet and run rs.initiate(): transactions need it"
            return [Check("MongoDB", "bad", f"{shown} is no replica set", mend)]
        checks = [Check("MongoDB", "good", f"{version} at {shown}")]
        broken = [
            view["name"] for view in await ViewReader(client, settings.database_prefix).status() if view["broken"]
        ]
        if broken:
            mend = "; ".join(f"tendril views rebuild {name}" for name in broken)
            checks.append(Check("views", "bad", f"broken: {', '.join(broken)}", mend))
        letters = await DeadLetterBox(client, settings.database_prefix).count()
        if letters:
            checks.append(Check("dead letters", "note", f"there are {letters}", "tendril dead list"))
    except PyMongoError as error:
        problem = str(error).split(",")[0]
        return [Check("MongoDB", "bad", f"{shown}: {problem}", "start MongoDB or mend TENDRIL_MONGO_URL")]
    finally:
        await client.close()
    return checks


async def _smtp(settings: Settings, place: Place | None) -> list[Check]:
    parts = urlsplit(settings.smtp_address)
    host, port = parts.hostname or LOOPBACK, parts.port or (465 if parts.scheme == "smtps" else 25)
    shown = f"{host}:{port}"
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
    except (OSError, TimeoutError) as error:
        if settings.smtp_url is None and place is None:
            return [Check("mail", "good", f"tendril up runs the demo mailbox at {shown}")]
        problem = str(error) or "no answer"
        return [Check("mail", "bad", f"{shown}: {problem}", "start the mail server or mend TENDRIL_SMTP_URL")]
    return [Check("mail", "good", f"{shown} takes connections")]


async def _services(settings: Settings, place: Place | None) -> list[Check]:
    """Of a running `up` whether each is ready; else whether the ports are free."""
    if place is None:
        wanted = {
            "gateway": settings.gateway_port,
            "tracker": settings.tracker_port,
            "SMTP": settings.inbound_smtp_port,
        }
        taken = [f"{port} ({name})" for name, port in wanted.items() if not is_free(port)]
        if taken:
            mend = "end the program that has them, unless it is a service of yours; or set other ports"
            return [Check("ports", "note", f"in use: {', '.join(taken)}", mend)]
        return [Check("ports", "good", "free")]
    names = list(place.telemetry)
    ready = await asyncio.gather(*(_ready(place.telemetry[name]) for name in names))
    return [
        Check("service", "good", f"{name} is ready")
        if answer is True
        else Check("service", "bad", f"{name}: {answer}", f"look into {settings.home / 'logs' / f'{name}.log'}")
        for name, answer in zip(names, ready, strict=True)
    ]


async def _ready(port: int) -> bool | str:
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = (await reader.read()).decode(errors="replace")
            writer.close()
    except (OSError, TimeoutError):
        return "does not answer"
    return True if " 200 " in answer.splitlines()[0] else f"not ready: {answer.rpartition(chr(10))[2]}"


def _web() -> Check:
    spec = importlib.util.find_spec("tendril")
    root = Path(spec.origin).parent.parent if spec and spec.origin else Path()
    if (root / WEB_INDEX).exists():
        return Check("web app", "good", str(root / "web" / "dist"))
    return Check("web app", "note", "is not built", "make web")
