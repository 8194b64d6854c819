"""Backups: made while everything is written to, brought back into a new place, and never over anything."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import pytest

from services.dispatcher.ledger import Answered
from services.dispatcher.ledger_mongo import MongoLedger
from services.dispatcher.states import Claim, State, Step
from shared.persistence.eventstore.opening import open_url
from shared.persistence.files import Files
from shared.persistence.mongo import MongoClient, connect
from shared.settings import Settings, load_settings
from tendril.backup import (
    EVENTS,
    MANIFEST,
    BackupProblem,
    Kept,
    Manifest,
    back_up,
    copy_events,
    read_manifest,
    restore,
)
from tendril.backup_keys import missing_keys, prove_keys
from tendril.cli import restore as command
from tendril.up.secret_file import keep_secrets
from tests.eventstore.builders import activated, captured, completed

MASTER = b"k" * 32
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def open_store(path: Path) -> Any:
    return closing(open_url(f"sqlite:///{path}", master_key=MASTER))


def test_the_copy_is_one_moment_of_a_store_that_is_written_to(tmp_path: Path) -> None:
    source, copy = tmp_path / "live.db", tmp_path / "copy.db"
    done = threading.Event()
    written: list[int] = []
    with open_store(source) as store:
        lead = uuid4()
        store.append([captured(lead)])

        def write() -> None:
            while not done.is_set():
                enrollment = uuid4()
                written.extend(store.append([activated(enrollment), completed(enrollment, 2)]))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            while len(written) < 200 and writer.is_alive():
                done.wait(0.01)
            before = len(written)
            position = copy_events(source, copy)
        finally:
            done.set()
            writer.join()
        assert position >= before
        log = store.page_events(0, 100_000, position)
    with open_store(copy) as kept:
        assert kept.last_position() == position
        assert kept.page_events(0, 100_000) == log
        [first] = kept.load(lead)
        assert first.message.email == "ada@example.com"
    assert not Path(f"{copy}-wal").exists()


async def filled(settings: Settings, client: MongoClient) -> str:
    """A place with a log of two events, a row in the ledger, bytes of a file and a dead letter; the file's hash."""
    with open_store(settings.store.path) as store:  # type: ignore[union-attr]
        enrollment = uuid4()
        store.append([activated(enrollment), completed(enrollment, 2)])
    ledger = client.database(f"{settings.database_prefix}_ledger")
    await ledger.collection("dispatches").insert_one({"_id": uuid4(), "at": NOON, "raw": b"\x00\xff", "state": "sent"})
    await ledger.collection("meta").insert_one({"_id": "ledger", "ledger_id": "one", "count": 7})
    many = [{"_id": number} for number in range(1_201)]
    await client.database(f"{settings.database_prefix}_gateway").collection("dead_letters").insert_many(many)
    return await Files(client, settings.database_prefix).put("demo", b"%PDF")


def place(mongo_url: str, home: Path) -> Settings:
    return load_settings({"TENDRIL_HOME": str(home)}, mongo_url=mongo_url)


@pytest.fixture
async def client(mongo_url: str) -> AsyncIterator[MongoClient]:
    connected = connect(mongo_url)
    yield connected
    await connected.close()


async def drop(client: MongoClient, settings: Settings) -> None:
    for name in await client.database_names():
        if name.startswith(settings.database_prefix):
            await client.drop_database(name)


async def contents(client: MongoClient, settings: Settings) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for each in ("ledger", "files", "gateway"):
        database = client.database(f"{settings.database_prefix}_{each}")
        for name in await database.collection_names():
            found[f"{each}/{name}"] = await database.collection(name).find({}, sort=[("_id", 1)]).to_list()
    return found


async def test_what_cannot_be_made_again_comes_back_as_it_was(
    mongo_url: str, client: MongoClient, tmp_path: Path
) -> None:
    old, new = place(mongo_url, tmp_path / "old"), place(mongo_url, tmp_path / "new")
    digest = await filled(old, client)
    before = await contents(client, old)
    made = await back_up(old, tmp_path / "backup")
    assert {name: kept.count for name, kept in made.files.items()} == {
        EVENTS: 2,
        "ledger/dispatches.bson": 1,
        "ledger/meta.bson": 1,
        "files/blobs.bson": 1,
        "gateway/dead_letters.bson": 1_201,
    }
    await drop(client, old)
    assert await restore(new, tmp_path / "backup") == made
    after = await contents(client, new)
    [meta] = after["ledger/meta"]
    mark = meta.pop("restored_at")
    assert abs((datetime.now(UTC) - mark).total_seconds()) < 600, "the ledger must know that it was restored"
    assert after == before
    assert await Files(client, new.database_prefix).get("demo", digest) == b"%PDF"
    with open_store(new.store.path) as store:  # type: ignore[union-attr]
        assert store.last_position() == made.position == 2


async def test_what_was_claimed_when_the_backup_was_made_is_in_doubt_and_never_repeated(
    mongo_url: str, client: MongoClient, tmp_path: Path
) -> None:
    old, new = place(mongo_url, tmp_path / "old"), place(mongo_url, tmp_path / "new")
    await filled(old, client)
    step = Step(
        dispatch_id=uuid4(), organization_id="demo", lead_id=uuid4(), enrollment_id=uuid4(), sequence_id=uuid4(),
        execution=1, step_id="a", channel="email", attempt=1, position=5, decided_at=NOON, keys=(),
    )  # fmt: skip
    before = MongoLedger(client.database(f"{old.database_prefix}_ledger"), owner="old")
    assert isinstance(await before.claim(step, datetime.now(UTC)), Claim)
    await back_up(old, tmp_path / "backup")
    await drop(client, old)
    await restore(new, tmp_path / "backup")
    after = MongoLedger(client.database(f"{new.database_prefix}_ledger"), owner="new")
    found = await after.claim(step, datetime.now(UTC))
    assert isinstance(found, Answered)
    assert found.row.state is State.IN_DOUBT


async def test_nothing_is_ever_overwritten(mongo_url: str, client: MongoClient, tmp_path: Path) -> None:
    old = place(mongo_url, tmp_path / "old")
    await filled(old, client)
    folder = tmp_path / "backup"
    await back_up(old, folder)
    with pytest.raises(BackupProblem, match="holds something already"):
        await back_up(old, folder)
    with pytest.raises(BackupProblem, match="is there already"):
        await restore(old, folder)
    new = place(mongo_url, tmp_path / "new")
    with pytest.raises(BackupProblem, match="_ledger already"):
        await restore(new, folder)
    assert not new.store.path.exists()  # type: ignore[union-attr]
    await drop(client, new)
    journal = new.store.path.with_name(f"{new.store.path.name}-wal")  # type: ignore[union-attr]
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_bytes(b"of a log that is gone")
    with pytest.raises(BackupProblem, match="-wal is there already"):
        await restore(new, folder)


async def test_a_broker_that_was_used_is_refused_before_anything_is_written(
    mongo_url: str, client: MongoClient, amqp_url: str, tmp_path: Path
) -> None:
    old = place(mongo_url, tmp_path / "old")
    await filled(old, client)
    await back_up(old, tmp_path / "backup")
    await drop(client, old)
    new = load_settings({"TENDRIL_HOME": str(tmp_path / "new")}, mongo_url=mongo_url, amqp_url=amqp_url)
    async with await aio_pika.connect(amqp_url) as connection, await connection.channel() as channel:
        await channel.declare_queue("projector.07", durable=True, arguments={"x-queue-type": "quorum"})
        with pytest.raises(BackupProblem, match=r"a queue projector\.07 already"):
            await restore(new, tmp_path / "backup")
        await channel.queue_delete("projector.07")
    (tmp_path / "used" / "rabbitmq").mkdir(parents=True)
    with pytest.raises(BackupProblem, match="rabbitmq is there already"):
        await restore(place(mongo_url, tmp_path / "used"), tmp_path / "backup")
    assert await contents(client, new) == {}
    await restore(new, tmp_path / "backup")


async def test_what_is_not_whole_is_not_brought_back(mongo_url: str, client: MongoClient, tmp_path: Path) -> None:
    old, new = place(mongo_url, tmp_path / "old"), place(mongo_url, tmp_path / "new")
    await filled(old, client)
    folder = tmp_path / "backup"
    await back_up(old, folder)
    await drop(client, old)
    ledger = folder / "ledger" / "dispatches.bson"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:-1])
    with pytest.raises(BackupProblem, match=r"dispatches\.bson is missing or was changed"):
        await restore(new, folder)
    ledger.write_bytes(whole)
    (folder / MANIFEST).unlink()
    with pytest.raises(BackupProblem, match="holds no whole backup"):
        await restore(new, folder)
    assert await contents(client, new) == {}


async def test_a_store_elsewhere_is_left_to_its_own_tools(mongo_url: str, tmp_path: Path) -> None:
    settings = load_settings(
        {"TENDRIL_HOME": str(tmp_path), "TENDRIL_EVENT_STORE": "postgresql://x@127.0.0.1:1/x"}, mongo_url=mongo_url
    )
    with pytest.raises(BackupProblem, match="pg_dump"):
        await back_up(settings, tmp_path / "first")
    made = await back_up(settings, tmp_path / "second", events=False)
    assert (made.position, read_manifest(tmp_path / "second")) == (None, made)


# --- the keys ---------------------------------------------------------------------------------------------------------


def a_backup(folder: Path) -> Path:
    """Of an event store alone, made with ``MASTER``."""
    folder.mkdir()
    with open_store(folder / "live.db") as store:
        store.append([activated(enrollment := uuid4()), completed(enrollment, 2)])
    kept = folder / "backup"
    kept.mkdir()
    position = copy_events(folder / "live.db", kept / EVENTS)
    files = {EVENTS: Kept(hashlib.sha256((kept / EVENTS).read_bytes()).hexdigest(), position)}
    (kept / MANIFEST).write_bytes(Manifest("2026-11-20T12:00:00+00:00", 16, position, files).written())
    return kept


def keyed(home: Path, master: bytes | None = None, secret: str | None = None) -> Settings:
    given = {"TENDRIL_HOME": str(home)}
    if master is not None:
        given["TENDRIL_MASTER_KEY"] = base64.b64encode(master).decode()
    if secret is not None:
        given["TENDRIL_SECRET_KEYS"] = secret
    return load_settings(given)


def test_missing_keys_are_named_with_what_is_lost_without_them(tmp_path: Path) -> None:
    neither = missing_keys(keyed(tmp_path))
    assert neither is not None
    for said in ("secrets.json is not there", "TENDRIL_MASTER_KEY and TENDRIL_SECRET_KEYS are not set", "for ever"):
        assert said in neither
    signing = missing_keys(keyed(tmp_path, MASTER))
    assert signing is not None
    assert ("TENDRIL_SECRET_KEYS is not set" in signing, "for ever" in signing) == (True, False)
    assert missing_keys(keyed(tmp_path, MASTER, "s" * 16)) is None
    keep_secrets(tmp_path)
    assert missing_keys(keyed(tmp_path)) is None


def test_a_master_key_that_does_not_open_the_backup_is_refused(tmp_path: Path) -> None:
    kept = a_backup(tmp_path / "old")
    before = {each.name: each.read_bytes() for each in kept.iterdir()}
    prove_keys(keyed(tmp_path, MASTER), kept)
    prove_keys(keyed(tmp_path), kept)  # none yet: nothing is proven
    with pytest.raises(BackupProblem, match=r"in TENDRIL_MASTER_KEY does not open this backup"):
        prove_keys(keyed(tmp_path, b"x" * 32), kept)
    keep_secrets(tmp_path)
    with pytest.raises(BackupProblem, match=r"in .*secrets\.json does not open this backup"):
        prove_keys(keyed(tmp_path), kept)
    prove_keys(keyed(tmp_path, MASTER), kept)  # the environment counts before the file, as when it runs
    assert {each.name: each.read_bytes() for each in kept.iterdir()} == before


def test_nothing_is_restored_without_keys_unless_they_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = a_backup(tmp_path / "old")
    restored: list[Path] = []

    async def brought_back(_: Settings, folder: Path) -> Manifest:
        restored.append(folder)
        return read_manifest(folder)

    monkeypatch.setattr(command, "restore", brought_back)
    monkeypatch.setattr(command, "settings_here", lambda: keyed(tmp_path / "new"))
    with pytest.raises(BackupProblem, match="Nothing was restored: put the keys in their place, or say --keys-later"):
        command.app((str(kept),), standalone_mode=False)
    assert restored == []
    command.app((str(kept), "--keys-later"), standalone_mode=False)
    assert restored == [kept]
    said = " ".join(capsys.readouterr().err.split())
    assert "Before anything is started:" in said
    assert "stays closed for ever" in said
    monkeypatch.setattr(command, "settings_here", lambda: keyed(tmp_path / "new", MASTER, "s" * 16))
    command.app((str(kept),), standalone_mode=False)
    assert "Before anything is started" not in capsys.readouterr().err
