"""Ids: new ones that sort by time, and derived ones that every redelivery computes the same."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from functools import cache
from uuid import UUID, SafeUUID

#: The short word by which everybody names an organization, and its most characters.
ORGANIZATION = r"^[a-z0-9][a-z0-9_-]*$"
MOST_ORGANIZATION = 64

_VARIANT = 0b10 << 62
#: What an id of version 8 keeps of a hash, and what it adds: its version and its variant.
_KEPT = ~(0xF << 76 | 0b11 << 62)
_VERSION_8 = 0x8 << 76 | _VARIANT
_lock = threading.Lock()
_last = 0  # milliseconds and sequence of the newest id of this process, as one 60-bit number


def new_id() -> UUID:
    """A fresh id in the layout of UUID version 7: 48 bits of Unix milliseconds, a 12-bit sequence, 62 random bits.

    Ids of one process are strictly increasing, also within a millisecond and when the system's clock is set back.
    """
    global _last  # noqa: PLW0603  # the newest id is a fact of the process
    with _lock:
        _last = max(_last + 1, (time.time_ns() // 1_000_000) << 12)
        stamp = _last
    random = int.from_bytes(os.urandom(8), "big") >> 2
    return UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | _VARIANT | random)


def _uuid(number: int) -> UUID:
    """``UUID(int=number)`` for a number known to fit, without looking at it again: ids are made at every decision."""
    made = object.__new__(UUID)
    object.__setattr__(made, "int", number)
    object.__setattr__(made, "is_safe", SafeUUID.unknown)
    return made


@cache
def _length(length: int) -> bytes:
    return length.to_bytes(8, "big")


def derived_id(*parts: object) -> UUID:
    """The id that belongs to these parts, in this order, for ever; in the layout of UUID version 8.

    Each part is taken as `str(part)` and hashed with its length in front, so `("ab", "c")` and `("a", "bc")` differ.
    A UUID and its text give the same id. Raises ValueError when there are no parts.
    """
    if not parts:
        raise ValueError("derived_id needs at least one part")
    framed: list[bytes] = []
    for part in parts:
        text = str(part).encode()
        framed += (_length(len(text)), text)
    number = int.from_bytes(hashlib.blake2b(b"".join(framed), digest_size=16).digest(), "big")
    return _uuid(number & _KEPT | _VERSION_8)


def partition_of(key: UUID, partitions: int = 16) -> int:
    """The partition, `0` to `partitions - 1`, of a lead's id, or of an aggregate's own id when it has no lead.

    The id is hashed first: ids made together have their high bits in common. Raises ValueError below 1 partition.
    """
    if partitions < 1:
        raise ValueError(f"partitions must be at least 1, got {partitions}")
    return int.from_bytes(hashlib.blake2b(key.bytes, digest_size=8).digest(), "big") % partitions


def dispatch_id(organization_id: str, enrollment_id: UUID, execution: int, step_id: str) -> UUID:
    """The id under which an execution is handed to a channel: the same for every redelivery and every attempt."""
    return derived_id("dispatch", organization_id, enrollment_id, execution, step_id)
