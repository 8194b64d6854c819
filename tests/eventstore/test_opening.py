"""Who may open a store, and what is checked."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from shared.ids import new_id
from shared.persistence.eventstore import (
    EventStore,
    PartitionsDiffer,
    SchemaUnknown,
    StoreInUse,
    StoreUnavailable,
    SyncFailed,
    WrongMasterKey,
    open_store,
    open_url,
)
from shared.settings import load_settings
from tests.eventstore.builders import MASTER_KEY, activated

OPEN = "import sys; from shared.persistence.eventstore import open_url; open_url(sys.argv[1], master_key=b'm' * 32)"


def test_a_second_process_is_refused_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/events.db"
    with closing(open_url(url, master_key=MASTER_KEY)):
        second = subprocess.run(
            [sys.executable, "-c", OPEN, url], capture_output=True, text=True, timeout=120, check=False
        )
        assert second.returncode == 1
        assert "is in use by process" in second.stderr.splitlines()[-1]
        with pytest.raises(StoreInUse):
            open_url(url, master_key=MASTER_KEY)
    assert subprocess.run([sys.executable, "-c", OPEN, url], timeout=120, check=False).returncode == 0


def test_a_store_is_reopened_as_it_was(store_url: str) -> None:
    with closing(open_url(store_url, master_key=MASTER_KEY)) as store:
        aggregate_id = new_id()
        store.append([activated(aggregate_id)])
        expected = store.load(aggregate_id), store.meta()
    with closing(open_url(store_url, master_key=MASTER_KEY)) as store:
        assert (store.load(aggregate_id), store.meta()) == expected
        assert store.append([activated(aggregate_id, 2)]) == [2]
        store.check_master_key()


def test_another_master_key_is_refused(store_url: str) -> None:
    open_url(store_url, master_key=MASTER_KEY).close()
    with pytest.raises(WrongMasterKey, match="TENDRIL_MASTER_KEY"):
        open_url(store_url, master_key=b"n" * 32)
    open_url(store_url, master_key=MASTER_KEY).close()


def test_another_number_of_partitions_is_refused(store_url: str) -> None:
    open_url(store_url, master_key=MASTER_KEY, partitions=16).close()
    with pytest.raises(PartitionsDiffer, match=r"8.*16"):
        open_url(store_url, master_key=MASTER_KEY, partitions=8)


def test_a_newer_schema_is_refused(store_url: str) -> None:
    with closing(open_url(store_url, master_key=MASTER_KEY)) as store, store._recorder.writing() as session:
        session.run("UPDATE meta SET number = 999 WHERE key = 'schema_version'")
    with pytest.raises(SchemaUnknown):
        open_url(store_url, master_key=MASTER_KEY)


def test_the_settings_name_the_store(tmp_path: Path) -> None:
    key = "bW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW0="
    settings = load_settings({"TENDRIL_HOME": str(tmp_path), "TENDRIL_MASTER_KEY": key, "TENDRIL_PARTITIONS": "4"})
    with closing(open_store(settings, roles=["commands"])) as store:
        assert store.meta().partitions == 4
    assert (tmp_path / "tendril.db").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        open_url(f"sqlite:///{tmp_path}/file/events.db", master_key=MASTER_KEY)


def test_a_file_that_is_no_store_stops_the_process(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(SyncFailed):
        open_url(f"sqlite:///{tmp_path}/events.db", master_key=MASTER_KEY)


def test_a_full_disk_is_no_ones_fault_and_loses_nothing(tmp_path: Path) -> None:
    with closing(open_url(f"sqlite:///{tmp_path}/events.db", master_key=MASTER_KEY)) as store:
        first, second = new_id(), new_id()
        store.append([activated(first)])
        limit_pages(store, 1)
        with pytest.raises(StoreUnavailable, match="full"):
            store.append([activated(second, version) for version in range(1, 2000)])
        limit_pages(store, 2**30)
        assert store.last_position() == 1
        assert store.append([activated(second)]) == [2]


def limit_pages(store: EventStore, pages: int) -> None:
    """A full disk, as SQLite sees it: no page may be added. It holds for the connection that writes."""
    with store._recorder.writing() as session:
        session.rows(f"PRAGMA max_page_count = {pages}")


@pytest.mark.postgres
def test_racing_processes_make_one_schema(postgres_url: str) -> None:
    def make(_: int) -> EventStore:
        return open_url(postgres_url, master_key=MASTER_KEY)

    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(make, range(4)))
    for store in stores:
        store.append([activated(new_id())])
    assert {store.last_position() for store in stores} == {4}
    for store in stores:
        store.close()


@pytest.mark.postgres
def test_a_database_that_is_away_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        open_url("postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=1", master_key=MASTER_KEY)
