"""What holds for a whole store: its schema, its number of partitions, the check of its master key, how far business
time has come.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from shared.persistence.eventstore.errors import PartitionsDiffer, SchemaUnknown
from shared.persistence.eventstore.keys import MasterKey
from shared.persistence.eventstore.moments import moment_of
from shared.persistence.eventstore.tables import statements as write
from shared.persistence.eventstore.tables.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from shared.persistence.eventstore.recorder import Recorder
    from shared.persistence.eventstore.tables.session import Session

_CHECK_TEXT = b"tendril event store"
_CHECK_OWNER = b"check value"


class Meta(NamedTuple):
    """``business_time`` is the latest time of any event; None for an empty log."""

    schema_version: int
    partitions: int
    business_time: datetime | None


def read_meta(session: Session) -> Meta:
    numbers = {key: number for key, _, number in session.rows("SELECT key, value, number FROM meta")}
    latest = numbers.get("business_time") or 0
    return Meta(numbers["schema_version"], numbers["partitions"], moment_of(latest) if latest else None)


def open_meta(recorder: Recorder, master: MasterKey, partitions: int) -> None:
    """Makes the rows of a new store, or checks those of an old one. Of racing processes the first decides.

    Raises SchemaUnknown, PartitionsDiffer, WrongMasterKey.
    """
    with recorder.reading() as session:
        known = {row[0] for row in session.rows("SELECT key FROM meta")}
    if len(known) < len(_ROWS):
        with recorder.writing() as session:
            session.take_write_lock()
            session.write(
                write.META,
                [
                    ("schema_version", None, SCHEMA_VERSION),
                    ("partitions", None, partitions),
                    ("check", master.wrap(_CHECK_TEXT, _CHECK_OWNER), None),
                    ("business_time", None, 0),
                    ("erasures", None, 0),
                ],
            )
    with recorder.reading() as session:
        rows = {key: (value, number) for key, value, number in session.rows("SELECT key, value, number FROM meta")}
    if rows["schema_version"][1] > SCHEMA_VERSION:
        raise SchemaUnknown(rows["schema_version"][1], SCHEMA_VERSION)
    if rows["partitions"][1] != partitions:
        raise PartitionsDiffer(rows["partitions"][1], partitions)
    _prove(master, bytes(rows["check"][0]))


def prove(check: bytes, master_key: bytes) -> None:
    """Raises WrongMasterKey unless the key opens the store that this check value stands in."""
    _prove(MasterKey(master_key), check)


def _prove(master: MasterKey, check: bytes) -> None:
    opened = master.unwrap(check, _CHECK_OWNER)
    assert hmac.compare_digest(opened, _CHECK_TEXT)


_ROWS = ("schema_version", "partitions", "check", "business_time", "erasures")
