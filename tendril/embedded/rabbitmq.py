"""A private RabbitMQ node: own name, data, cookie and name server; a system broker is neither used nor disturbed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import psutil

from tendril.embedded.errors import EmbeddedError
from tendril.embedded.ports import LOOPBACK, kept_port
from tendril.embedded.process import ServerProcess

READY_SECONDS = 90.0
CONTROL_SECONDS = 60.0
GONE_SECONDS = 5.0  # for one that was killed
MEMORY_LIMIT = "1GiB"  # publishers are blocked above it
DISK_LIMIT = "200MB"
SCHEDULERS = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none +A 4"  # no busy waiting on a machine that others share
# Debian's programs under /usr/sbin change to the user `rabbitmq`; these do not.
METHOD_FRAME = b"\x01"
VHOST_NAME = re.compile(r"[A-Za-z0-9._/-]{1,200}")
NODE_NAME = "tendril@localhost"  # the data belong to this name; a name server of its own keeps it from clashing
DEBIAN_FOLDER = Path("/usr/lib/rabbitmq/bin")


class RabbitServer:
    """Runs on loopback as whoever starts it; keeps data, logs, cookie and ports in `home`."""

    def __init__(self, home: Path, *, port: int | None = None, folder: Path | None = None) -> None:
        self.home = home.resolve()
        self._wanted_port = port
        self._folder = folder
        self._port: int | None = port
        self._ports = (0, 0)
        self._process = ServerProcess("RabbitMQ", self.home / "rabbitmq.log")
        self._killed: list[psutil.Process] = []
        self._names = ServerProcess("epmd", self.home / "epmd.log")

    @property
    def port(self) -> int:
        """AMQP port; known after the first start."""
        if self._port is None:
            raise EmbeddedError("RabbitMQ has not been started")
        return self._port

    @property
    def port_known(self) -> bool:
        """Whether the port is chosen, which happens early in the first start."""
        return self._port is not None

    @property
    def url(self) -> str:
        """Address of the default virtual host."""
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/"

    @property
    def pid(self) -> int:
        """Of the Erlang machine, a child of the start script. Raises EmbeddedError when it does not run."""
        script = psutil.Process(self._process.pid)
        for process in (script, *script.children(recursive=True)):
            if process.name().startswith("beam"):
                return int(process.pid)
        raise EmbeddedError("RabbitMQ's Erlang machine does not run")

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process.running

    async def start(self) -> None:
        """Start and wait until it takes connections. Raises EmbeddedError."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._port = kept_port(self.home, "amqp", self._wanted_port or self._port)
        self._ports = (kept_port(self.home, "epmd"), kept_port(self.home, "distribution"))
        self._configure()
        program = self._program("rabbitmq-server")
        env = self._environment()
        if not self._names.running:
            epmd = shutil.which("epmd")
            if epmd is None:
                raise EmbeddedError("there is no epmd on PATH; it comes with Erlang")
            await self._names.start([epmd, "-port", str(self._ports[0]), "-address", LOOPBACK], env=env)
        await self._process.start([str(program)], env=env, cwd=self.home)
        try:
            await self._process.wait_ready(self._answers, READY_SECONDS)
        except EmbeddedError:
            await self._names.stop()
            raise

    async def stop(self) -> None:
        """Shut down cleanly; the name server goes with it."""
        await self._process.stop()
        await self._names.stop()

    def kill(self) -> None:
        """SIGKILL, for tests of what a crash leaves behind."""
        if self.running:
            script = psutil.Process(self._process.pid)
            self._killed = script.children(recursive=True)
        self._process.kill()
        self._names.kill()

    async def wait_ended(self) -> None:
        """Return once it is gone, the Erlang machine too: it may outlive the start script for a moment."""
        await self._process.wait_ended()
        await self._names.wait_ended()
        await asyncio.to_thread(psutil.wait_procs, self._killed, READY_SECONDS)
        self._killed = []

    def vhost_url(self, name: str) -> str:
        """Address of a virtual host."""
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/{quote(name, safe='')}"

    async def add_vhost(self, name: str) -> str:
        """Make a virtual host that the guest user may use; its address. One that exists is taken as it is."""
        await self.change_vhosts(add=[name])
        return self.vhost_url(name)

    async def delete_vhost(self, name: str) -> None:
        """Remove a virtual host with all that is in it; nothing happens when there is none."""
        await self.change_vhosts(delete=[name])

    async def change_vhosts(self, *, add: Sequence[str] = (), delete: Sequence[str] = ()) -> None:
        """Remove and make many at once: a call takes a second, whatever the number.

        Raises EmbeddedError for a name that is not of letters, digits, `-`, `_`, `.` and `/`.
        """
        for name in (*add, *delete):
            if not VHOST_NAME.fullmatch(name):
                raise EmbeddedError(f"a virtual host cannot be called {name!r}")
        added, deleted = (", ".join(f'<<"{name}">>' for name in names) for names in (add, delete))
        everything = '<<".*">>'
        await self.control(
            "eval",
            f'[rabbit_vhost:delete(V, <<"tendril">>) || V <- [{deleted}], rabbit_vhost:exists(V)], '
            f'[begin rabbit_vhost:exists(V) orelse rabbit_vhost:add(V, <<"tendril">>), '
            f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, V, {everything}, {everything}, {everything}, '
            f'<<"tendril">>) end || V <- [{added}]].',
        )

    async def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on this node; what it printed. Raises EmbeddedError when it fails."""
        child = await asyncio.create_subprocess_exec(
            str(self._program("rabbitmqctl")),
            "--quiet",
            *arguments,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.home,
        )
        try:
            output, _ = await asyncio.wait_for(child.communicate(), CONTROL_SECONDS)
        except TimeoutError:
            child.kill()
            with contextlib.suppress(TimeoutError):  # what it started may keep its output open, and it with that
                await asyncio.wait_for(child.wait(), GONE_SECONDS)
            raise EmbeddedError(f"rabbitmqctl {arguments[0]} did not end within {CONTROL_SECONDS:g} s") from None
        text = output.decode(errors="replace")
        if child.returncode:
            raise EmbeddedError(f"rabbitmqctl {arguments[0]} failed: {text.strip()}")
        return text

    async def _answers(self) -> bool:
        """Whether the broker opens a conversation: it listens at the end of its start, and not before."""
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        except OSError:
            return False
        try:
            writer.write(b"AMQP\x00\x00\x09\x01")
            return await asyncio.wait_for(reader.read(1), 2) == METHOD_FRAME
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()

    def _configure(self) -> None:
        (self.home / "rabbitmq.conf").write_text(
            "\n".join(
                (
                    f"listeners.tcp.1 = {LOOPBACK}:{self._port}",
                    f"vm_memory_high_watermark.absolute = {MEMORY_LIMIT}",
                    f"disk_free_limit.absolute = {DISK_LIMIT}",
                    "heartbeat = 10",
                    "log.console = true",
                    "log.console.level = info",
                    "log.file = false",
                    "collect_statistics_interval = 60000",
                    "",
                )
            )
        )
        (self.home / "enabled_plugins").write_text("[].\n")
        (self.home / "rabbitmq-env.conf").write_text("")
        cookie = self.home / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(20))
            cookie.chmod(0o400)

    def _environment(self) -> dict[str, str]:
        epmd, distribution = self._ports
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return kept | {
            "HOME": str(self.home),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": NODE_NAME,
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.home / "rabbitmq-env.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{SCHEDULERS} -kernel inet_dist_use_interface {{127,0,0,1}}",
        }

    def _program(self, name: str) -> Path:
        for folder in filter(None, (self._folder, DEBIAN_FOLDER)):
            if (folder / name).exists():
                return folder / name
        found = shutil.which(name)
        if found:
            return Path(found)
        raise EmbeddedError(f"there is no {name}: install RabbitMQ (Debian: rabbitmq-server), or set TENDRIL_AMQP_URL")
