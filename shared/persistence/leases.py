"""Leases in MongoDB: processes share partitions out among themselves, and each partition has one owner at a time.

A lease is a hint about who should work, never a fence: a frozen owner wakes up believing in it. What fences its stale
writes is `epoch`, which grows with every change of owner and which the owner's writes carry as a filter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from shared.persistence.mongo import Collection, Document, is_duplicate_key

TTL_SECONDS = (
    15.0  #: after this long without a renewal the partition is free; far below the 90 s promised for a takeover
)
RENEW_SECONDS = 5.0  #: two renewals may be lost before the lease is


@dataclass(frozen=True, slots=True)
class Lease:
    """This partition is ours, for the `epoch`-th time that it changed hands."""

    partition: int
    epoch: int


@dataclass(frozen=True, slots=True)
class LeaseChange:
    """What a tick brought: start work on `gained`, stop it on `lost` (taken, or run out before we renewed them)."""

    gained: list[Lease] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)


class Leases:
    """The leases of one group of like processes (`projector`), seen by one of them (`owner`, unique per start).

    All comparisons of time are made by the server's clock. Raises what MongoDB raises; `held` then tells what it told
    before, and the caller lets go of everything once `ttl_seconds` have passed without a successful tick.
    """

    def __init__(
        self,
        collection: Collection,
        owner: str,
        *,
        group: str,
        partitions: int = 16,
        ttl_seconds: float = TTL_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        if not 0 < renew_seconds < ttl_seconds:
            raise ValueError(f"renew_seconds must lie between 0 and ttl_seconds, got {renew_seconds} of {ttl_seconds}")
        self._collection = collection
        self._owner = owner
        self._group = group
        self._partitions = partitions
        self._expiry = {"$add": ["$$NOW", int(ttl_seconds * 1000)]}
        self._ready = False
        self.renew_seconds = renew_seconds
        self.held: dict[int, Lease] = {}

    async def tick(self) -> LeaseChange:
        """Say that we live, renew what is ours, give back a surplus, take what is free up to our share."""
        if not self._ready:
            await self._prepare()
        before = self.held
        members = await self._live_members()
        mine = await self._renew()
        share = -(-self._partitions // len(members))
        # All aim at the share rounded up, so everything has an owner and nobody has more than one partition too many.
        for partition in sorted(mine, reverse=True)[: max(len(mine) - share, 0)]:
            await self._give_back(partition)
            del mine[partition]
        for partition in await self._free(share - len(mine)):
            lease = await self._take(partition)
            if lease is not None:
                mine[partition] = lease
        self.held = mine
        return LeaseChange(
            gained=[lease for partition, lease in sorted(mine.items()) if before.get(partition) != lease],
            lost=[partition for partition, lease in sorted(before.items()) if mine.get(partition) != lease],
        )

    async def release(self, partition: int) -> None:
        """Give one back, so that another process need not wait until it runs out."""
        if self.held.pop(partition, None) is not None:
            await self._give_back(partition)

    async def release_all(self) -> None:
        """Give everything back and leave the group."""
        self.held = {}
        await self._collection.update_many(
            {"group": self._group, "kind": "lease", "owner": self._owner}, {"$set": {"owner": None, "expires_at": None}}
        )
        await self._collection.delete_one({"_id": self._member_id()})

    async def _prepare(self) -> None:
        """A document per partition, made by whoever comes first."""
        fields: Document = {"group": self._group, "kind": "lease", "owner": None, "epoch": 0, "expires_at": None}
        operations = [
            UpdateOne(
                {"_id": self._lease_id(partition)},
                {"$setOnInsert": {**fields, "partition": partition}},
                upsert=True,
            )
            for partition in range(self._partitions)
        ]
        try:
            await self._collection.bulk_write(operations)
        except BulkWriteError as error:
            if not is_duplicate_key(error):  # two upserts at once: the other one made it
                raise
        self._ready = True

    async def _live_members(self) -> list[str]:
        """Register, forget the dead, and list who lives; we are always among them."""
        change = [{"$set": {"group": self._group, "kind": "member", "owner": self._owner, "expires_at": self._expiry}}]
        await self._collection.update_one({"_id": self._member_id()}, change, upsert=True)
        expired = {"$expr": {"$lte": ["$expires_at", "$$NOW"]}}
        await self._collection.delete_many({"group": self._group, "kind": "member", **expired})
        members = await self._collection.find({"group": self._group, "kind": "member"}, {"owner": 1}).to_list()
        return sorted({member["owner"] for member in members} | {self._owner})

    async def _renew(self) -> dict[int, Lease]:
        """Prolong what is ours. One that ran out is not ours any more, even if nobody took it."""
        ours = {"group": self._group, "kind": "lease", "owner": self._owner}
        alive = {"$expr": {"$gt": ["$expires_at", "$$NOW"]}}
        await self._collection.update_many({**ours, **alive}, [{"$set": {"expires_at": self._expiry}}])
        found = await self._collection.find({**ours, **alive}).to_list()
        return {document["partition"]: _lease(document) for document in found}

    async def _free(self, wanted: int) -> list[int]:
        if wanted <= 0:
            return []
        free = {"group": self._group, "kind": "lease", "$expr": _FREE}
        documents = await self._collection.find(free, {"partition": 1}, sort=[("partition", 1)]).to_list()
        partitions = [int(document["partition"]) for document in documents]
        # Each process begins elsewhere, so that two that start together seldom reach for the same ones.
        start = sum(self._owner.encode()) % max(len(partitions), 1)
        return (partitions[start:] + partitions[:start])[:wanted]

    async def _take(self, partition: int) -> Lease | None:
        """Ours, under the next epoch, or None when someone was quicker."""
        document = await self._collection.find_one_and_update(
            {"_id": self._lease_id(partition), "$expr": _FREE},
            [{"$set": {"owner": self._owner, "epoch": {"$add": ["$epoch", 1]}, "expires_at": self._expiry}}],
        )
        return None if document is None else _lease(document)

    async def _give_back(self, partition: int) -> None:
        await self._collection.update_one(
            {"_id": self._lease_id(partition), "owner": self._owner}, {"$set": {"owner": None, "expires_at": None}}
        )

    def _lease_id(self, partition: int) -> str:
        return f"{self._group}:lease:{partition:02d}"

    def _member_id(self) -> str:
        return f"{self._group}:member:{self._owner}"


_FREE: dict[str, Any] = {"$or": [{"$eq": ["$owner", None]}, {"$lte": ["$expires_at", "$$NOW"]}]}


def _lease(document: Document) -> Lease:
    return Lease(partition=int(document["partition"]), epoch=int(document["epoch"]))
