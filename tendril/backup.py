"""A backup of all that cannot be made again, and its way back: the event store, the send ledger, the attachments'
bytes, what the gateway keeps. Views are not in it: they are built from the log.

The event store is copied first and the rest after it. So the ledger knows every step that the log takes for sent or on
its way, and the bytes of every file that the log names are there. The copy of the event store is one moment of it,
whatever is written meanwhile; of the ledger each row is whole by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aio_pika
from aio_pika.exceptions import ChannelNotFoundEntity
from bson import decode_file_iter, encode

from shared.clock import load_clock
from shared.messaging.topology import queues
from shared.persistence.mongo import CODEC, Collection, Database, Document, MongoClient, connect
from shared.settings import Settings, SqliteStore
from tendril.embedded.mongod import MongoServer
from tendril.up.home_lock import alone

MANIFEST = "backup.json"
EVENTS = "events.db"
#: Databases of MongoDB, by what follows the prefix in their names.
DATABASES = ("ledger", "files", "gateway")
#: Written at once on the way back: so many documents, or so many bytes.
MOST_DOCUMENTS, MOST_BYTES = 500, 8 << 20
CONNECT_SECONDS = 10.0
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class BackupProblem(Exception):
    """It cannot be made, or not be brought back. One line."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the backup. ``count``: events or documents in it."""

    sha256: str
    count: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Written last: a folder without it is no backup. ``position`` is the log's last, None where it lies elsewhere;
    ``files`` by their paths within the folder."""

    made_at: str
    partitions: int
    position: int | None
    files: dict[str, Kept] = field(default_factory=dict)

    def written(self) -> bytes:
        return json.dumps(asdict(self), indent=2).encode()


async def back_up(settings: Settings, folder: Path, *, events: bool = True) -> Manifest:
    """Into a folder that is new or empty. ``events`` False leaves the event store out: PostgreSQL has its own ways.

    Raises BackupProblem, and the driver's error when MongoDB does not answer.
    """
    _make_room(folder)
    files: dict[str, Kept] = {}
    position = None
    if events:
        position = copy_events(_sqlite(settings), folder / EVENTS)
        files[EVENTS] = Kept(_hash(folder / EVENTS), position)
    async with _mongo(settings) as client:
        for database in DATABASES:
            found = client.database(f"{settings.database_prefix}_{database}")
            for name in sorted(await found.collection_names()):
                path = folder / database / f"{name}.bson"
                count = await _write(found.collection(name), path)
                files[f"{database}/{name}.bson"] = Kept(_hash(path), count)
    manifest = Manifest(datetime.now(UTC).isoformat(), settings.partitions, position, files)
    _keep(folder / MANIFEST, manifest.written())
    return manifest


async def restore(settings: Settings, folder: Path) -> Manifest:
    """Into a place where there is nothing yet; nothing is ever overwritten. The event store comes last: where it
    stands, all of it has been brought back.

    Every step that was on its way, whether the ledger knows it or not, is in doubt from then on, and none of them is
    repeated. Raises BackupProblem, and the driver's error when MongoDB or RabbitMQ does not answer.
    """
    manifest = read_manifest(folder)
    target = _sqlite(settings) if EVENTS in manifest.files else None
    for path in _files_of(target) if target is not None else ():
        if path.exists():
            raise BackupProblem(f"{path} is there already: restore into a new place")
    if manifest.partitions != settings.partitions:
        raise BackupProblem(f"the backup has {manifest.partitions} partitions: set TENDRIL_PARTITIONS to that")
    await _refuse_a_used_broker(settings)
    async with _mongo(settings) as client:
        databases = {each: client.database(f"{settings.database_prefix}_{each}") for each in DATABASES}
        for found in databases.values():
            if await found.collection_names():
                raise BackupProblem(f"MongoDB has a database {found.name} already: restore into a new place")
        for name in manifest.files:
            database, _, file = name.partition("/")
            if file:
                await _read(folder / name, databases[database].collection(file.removesuffix(".bson")))
        await _doubt(databases["ledger"], load_clock(settings.home).now())
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        shutil.copyfile(folder / EVENTS, draft)
        _sync(draft)
        draft.replace(target)
    return manifest


def copy_events(source: Path, target: Path) -> int:
    """A SQLite store as it is at one moment, also while it is written to; its last position. Raises BackupProblem when
    it cannot be read, or the copy is not sound."""
    if not source.exists():
        raise BackupProblem(f"there is no event store at {source}")
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            [(verdict,)] = copy.execute("PRAGMA integrity_check(1)").fetchall()
            if verdict != "ok":
                raise BackupProblem(f"the copy of {source} is not sound: {verdict}")
            [(position,)] = copy.execute("SELECT coalesce(max(notification_id), 0) FROM stored_events").fetchall()
    except sqlite3.Error as error:
        raise BackupProblem(f"{source} cannot be copied: {error}") from error
    _sync(target)
    return int(position)


def read_manifest(folder: Path) -> Manifest:
    """Of a folder whose files are all there and unchanged. Raises BackupProblem."""
    try:
        said = json.loads((folder / MANIFEST).read_bytes())
        files = {name: Kept(**each) for name, each in said.pop("files").items()}
        manifest = Manifest(**said, files=files)
    except FileNotFoundError:
        raise BackupProblem(f"{folder} holds no whole backup: there is no {MANIFEST}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupProblem(f"{folder / MANIFEST} cannot be read: {error}") from None
    for name, kept in manifest.files.items():
        path = folder / name
        if not path.is_file() or _hash(path) != kept.sha256:
            raise BackupProblem(f"{path} is missing or was changed")
    return manifest


@asynccontextmanager
async def _mongo(settings: Settings) -> AsyncIterator[MongoClient]:
    """The MongoDB of the settings; without an address the home's own, started for the time."""
    if settings.mongo_url is not None:
        client = connect(settings.mongo_url, settings.mongo_driver)
        try:
            await client.ping()
            yield client
        finally:
            await client.close()
        return
    with alone(settings.home):
        server = MongoServer(settings.home / "mongod")
        await server.start()
        client = connect(server.url, settings.mongo_driver)
        try:
            yield client
        finally:
            await client.close()
            await server.stop()


async def _refuse_a_used_broker(settings: Settings) -> None:
    """What its queues hold was numbered by a log that is gone: a projector or dispatcher would take it for what comes
    next. Without an address it is the home's own."""
    own = settings.home / "rabbitmq"
    if settings.amqp_url is None:
        if own.exists():
            raise BackupProblem(f"{own} is there already: restore into a new place")
        return
    async with await aio_pika.connect(settings.amqp_url, timeout=CONNECT_SECONDS) as connection:
        for each in queues(partitions=settings.partitions):
            channel = await connection.channel()  # one that asks for what there is not is closed by the broker
            with suppress(ChannelNotFoundEntity):
                await channel.get_queue(each.name)
                raise BackupProblem(f"RabbitMQ has a queue {each.name} already: restore with an empty virtual host")


async def _write(collection: Collection, path: Path) -> int:
    """Documents one after the other, as ``mongodump`` writes them."""
    path.parent.mkdir(exist_ok=True)
    count = 0
    with path.open("wb") as file:
        async for document in collection.find({}, sort=[("_id", 1)]):
            file.write(encode(document, codec_options=CODEC))
            count += 1
    _sync(path)
    return count


async def _read(path: Path, collection: Collection) -> None:
    for documents in _in_batches(path):
        await collection.insert_many(documents)


async def _doubt(ledger: Database, now: datetime) -> None:
    """What is not in the ledger and was decided before ``now`` may have been sent, and so may what was claimed when the
    backup was made: as if its holder had died while it handed over."""
    await ledger.collection("meta").update_one({"_id": "ledger"}, {"$max": {"restored_at": now}})
    lapsed = {"$set": {"state": "handing_over", "claim.until": LONG_AGO}, "$unset": {"open": ""}}
    await ledger.collection("dispatches").update_many({"state": "claimed"}, lapsed)


def _in_batches(path: Path) -> Iterator[list[Document]]:
    documents: list[Document] = []
    with path.open("rb") as file:
        begun = 0
        for document in decode_file_iter(file, codec_options=CODEC):
            documents.append(document)
            if len(documents) == MOST_DOCUMENTS or file.tell() - begun > MOST_BYTES:
                yield documents
                documents, begun = [], file.tell()
    if documents:
        yield documents


def _sqlite(settings: Settings) -> Path:
    store = settings.store
    if not isinstance(store, SqliteStore):
        raise BackupProblem("the event store is on PostgreSQL: use pg_dump first, then this --without-event-store")
    return store.path


def _files_of(store: Path) -> tuple[Path, ...]:
    """SQLite's own: it would play an old journal into a new file."""
    return (store, *(store.with_name(f"{store.name}{end}") for end in ("-wal", "-shm", "-journal")))


def _make_room(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        occupied = any(folder.iterdir())
        if not occupied:
            folder.chmod(0o700)
    except OSError as error:
        raise BackupProblem(f"{folder} cannot be written: {error}") from None
    if occupied:
        raise BackupProblem(f"{folder} holds something already: name a new folder")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(path: Path, data: bytes) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_bytes(data)
    _sync(draft)
    draft.replace(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
