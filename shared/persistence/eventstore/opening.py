"""Opening the store that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path

from shared.persistence.eventstore.recorder import Recorder
from shared.persistence.eventstore.sqlite import SqliteRecorder
from shared.persistence.eventstore.store import EventStore
from shared.settings import Settings, SqliteStore


def open_store(
    settings: Settings,
    *,
    roles: Collection[str] = (),
    wall: Callable[[], datetime] | None = None,
    read_only: bool = False,
) -> EventStore:
    """The store of ``settings.store``, made when it is new. ``roles`` are the process's; they name its connections to
    PostgreSQL.

    On SQLite it is held by a file lock until it is closed, unless it is ``read_only``: then it is read beside its
    holder. Raises StoreInUse, WrongMasterKey, PartitionsDiffer,
    SchemaUnknown, StoreUnavailable.
    """
    address = settings.store
    url = f"sqlite:///{address.path}" if isinstance(address, SqliteStore) else address.dsn
    return open_url(
        url,
        master_key=settings.master_key_bytes,
        partitions=settings.partitions,
        roles=roles,
        wall=wall,
        read_only=read_only,
    )


def open_url(
    url: str,
    *,
    master_key: bytes,
    partitions: int = 16,
    roles: Collection[str] = (),
    wall: Callable[[], datetime] | None = None,
    read_only: bool = False,
) -> EventStore:
    """The store at ``sqlite:///path`` or ``postgresql://…``, as ``open_store``."""
    recorder = _recorder(url, roles, read_only)
    try:
        return EventStore(recorder, master_key, partitions, wall)
    except BaseException:
        recorder.close()
        raise


def _recorder(url: str, roles: Collection[str], read_only: bool) -> Recorder:
    if url.startswith("sqlite:///"):
        return SqliteRecorder(Path(url.removeprefix("sqlite:///")), read_only=read_only)
    from shared.persistence.eventstore.postgres import PostgresRecorder  # noqa: PLC0415  its driver is loaded only where it is used

    return PostgresRecorder(url, name="tendril-" + "-".join(sorted(roles)) if roles else "tendril")
