"""Bytes of attachments, by organization and content hash: database ``<prefix>_files``, collection ``blobs``.

What stands under a hash never changes, so it can be kept in memory for as long as one likes. The gateway writes, the
dispatchers read.
"""

from __future__ import annotations

from hashlib import sha256

from shared.persistence.mongo import Database, MongoClient, is_duplicate_key


class Files:
    """The store. Every method raises what ``is_unavailable`` knows when MongoDB is away."""

    def __init__(self, mongo: MongoClient, prefix: str) -> None:
        self._blobs = files_database(mongo, prefix).collection("blobs")

    async def put(self, organization_id: str, data: bytes) -> str:
        """Keeps the bytes, journaled by a majority; their SHA-256 in hex. What is there already stays."""
        digest = sha256(data).hexdigest()
        try:
            await self._blobs.insert_one({"_id": _key(organization_id, digest), "data": data})
        except Exception as error:
            if not is_duplicate_key(error):
                raise
        return digest

    async def get(self, organization_id: str, digest: str) -> bytes | None:
        """The bytes; None when they are not there, or are not what the hash says."""
        found = await self._blobs.find_one({"_id": _key(organization_id, digest)})
        if found is None:
            return None
        data = bytes(found["data"])
        return data if sha256(data).hexdigest() == digest else None


def files_database(mongo: MongoClient, prefix: str) -> Database:
    """Where the bytes are."""
    return mongo.database(f"{prefix}_files")


def _key(organization_id: str, digest: str) -> str:
    return f"{organization_id}:{digest}"
