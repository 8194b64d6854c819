"""A private PostgreSQL, for tests: the default event store is SQLite."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from pathlib import Path

import psycopg

from tendril.embedded.errors import EmbeddedError
from tendril.embedded.ports import LOOPBACK, kept_port
from tendril.embedded.process import ServerProcess

READY_SECONDS = 30.0
SUPERUSER = "tendril"
UNPRIVILEGED = ("postgres", "nobody")  # PostgreSQL refuses to run as root
DEBIAN_FOLDER = Path("/usr/lib/postgresql")


class PostgresServer:
    """Runs on loopback, without a password; keeps data, log and port in `home`, which a root gives to another user."""

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        self.home = home.resolve()
        self._wanted_port = port
        self._port: int | None = port
        self._process = ServerProcess("PostgreSQL", self.home / "postgres.log")

    @property
    def port(self) -> int:
        """Known after the first start."""
        if self._port is None:
            raise EmbeddedError("PostgreSQL has not been started")
        return self._port

    @property
    def url(self) -> str:
        """Address of the database `postgres`."""
        return self.database_url("postgres")

    @property
    def pid(self) -> int:
        """Of the running server. Raises EmbeddedError when it does not run."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process.running

    @property
    def runs_as(self) -> str | None:
        """The user it runs as, when that is not whoever starts it."""
        return _unprivileged_user() if os.geteuid() == 0 else None

    def database_url(self, name: str) -> str:
        """Address of one of its databases."""
        return f"postgresql://{SUPERUSER}@{LOOPBACK}:{self.port}/{name}"

    async def add_database(self, name: str) -> str:
        """Make a database; its address."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            await connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self.database_url(name)

    async def delete_database(self, name: str) -> None:
        """Remove a database, cutting off who still uses it."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            await connection.execute(
                psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(psycopg.sql.Identifier(name))
            )

    async def start(self) -> None:
        """Start, making the data folder at the first time, and wait until it answers. Raises EmbeddedError."""
        user = self.runs_as
        self.home.mkdir(parents=True, exist_ok=True)
        data = self.home / "data"
        self._port = kept_port(self.home, "postgres", self._wanted_port or self._port)
        if not (data / "PG_VERSION").exists():
            await self._make(data, user)
        command = [str(find_postgres("postgres")), "-D", str(data), "-p", str(self._port), "-h", LOOPBACK]
        for setting in ("unix_socket_directories=", "max_connections=200", "shared_buffers=64MB"):
            command += ["-c", setting]
        await self._process.start(command, env=os.environ, user=user, cwd=data)
        await self._process.wait_ready(self._answers, READY_SECONDS)

    async def stop(self) -> None:
        """Shut down cleanly, without waiting for clients to leave."""
        await self._process.stop(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL, for tests of what a crash leaves behind."""
        self._process.kill()

    async def wait_ended(self) -> None:
        """Return once it is gone."""
        await self._process.wait_ended()

    async def _make(self, data: Path, user: str | None) -> None:
        data.mkdir(mode=0o700, exist_ok=True)
        if user is not None:
            shutil.chown(data, user)
            for folder in (self.home, *self.home.parents):
                if not _open_to_all(folder):
                    raise EmbeddedError(f"PostgreSQL runs as {user}, who cannot enter {folder}")
        command = [str(find_postgres("initdb")), "-D", str(data), "-U", SUPERUSER, "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        maker = ServerProcess("initdb", self.home / "initdb.log")
        await maker.start(command, env=os.environ, user=user, cwd=data)
        await maker.wait_ended()
        if not (data / "PG_VERSION").exists():
            raise EmbeddedError(f"initdb made no data folder; see {maker.log}")

    async def _answers(self) -> bool:
        try:
            connection = await psycopg.AsyncConnection.connect(self.url, connect_timeout=2)
        except (psycopg.OperationalError, TimeoutError):
            return False
        await connection.close()
        return True


def find_postgres(name: str) -> Path:
    """A program of PostgreSQL: on PATH, else the newest under Debian's folder. Raises EmbeddedError."""
    found = shutil.which(name)
    if found:
        return Path(found).resolve()
    installed = sorted(DEBIAN_FOLDER.glob(f"*/bin/{name}"), key=lambda path: float(path.parent.parent.name))
    if installed:
        return installed[-1]
    raise EmbeddedError(f"there is no {name}: install PostgreSQL's server (Debian: postgresql)")


def _unprivileged_user() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in UNPRIVILEGED:
        if name in known:
            return name
    raise EmbeddedError("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _open_to_all(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)
