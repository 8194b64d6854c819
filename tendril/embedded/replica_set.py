"""A replica set of one node: is it the primary yet? It is made at the first start."""

from __future__ import annotations

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from tendril.embedded.ports import LOOPBACK

NOT_INITIATED = 94  # server error code NotYetInitialized


class SingleNode:
    """A mongod on loopback, asked directly: it may not belong to its replica set yet."""

    def __init__(self, replica_set: str, port: int) -> None:
        self._replica_set = replica_set
        self._port = port
        self._client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(
            LOOPBACK,
            port,
            directConnection=True,
            serverSelectionTimeoutMS=500,
            connectTimeoutMS=500,
            heartbeatFrequencyMS=500,
        )

    async def close(self) -> None:
        """Ends the connections."""
        await self._client.close()

    async def is_primary(self) -> bool:
        """Whether it takes writes. A node without a replica set is given one on the way."""
        try:
            hello = await self._client.admin.command("hello")
            if hello.get("isWritablePrimary"):
                return True
            if not hello.get("setName"):
                await self._initiate()
        except PyMongoError:
            pass
        return False

    async def _initiate(self) -> None:
        """Make the replica set. A node that was moved to another port is told its new address."""
        member = {"_id": 0, "host": f"{LOOPBACK}:{self._port}"}
        try:
            stored = (await self._client.admin.command("replSetGetConfig"))["config"]
        except OperationFailure as failure:
            if failure.code != NOT_INITIATED:
                raise
            settings = {"electionTimeoutMillis": 500}  # alone, it need not wait for others
            config = {"_id": self._replica_set, "members": [member], "settings": settings}
            await self._client.admin.command("replSetInitiate", config)
            return
        if stored["members"][0]["host"] != member["host"]:
            stored["members"] = [member]
            stored["version"] += 1
            await self._client.admin.command("replSetReconfig", stored, force=True)
