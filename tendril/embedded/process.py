"""A server as a child process: started with its log in a file, awaited by condition, ended with or without grace."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tendril.embedded.errors import EmbeddedError, with_log_tail

POLL_SECONDS = 0.05


class ServerProcess:
    """One child in a process group of its own, so that Ctrl-C reaches it only through its owner."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Raises EmbeddedError when it does not run."""
        if not self.running:
            raise EmbeddedError(f"{self.name} does not run")
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the child lives."""
        return self._child is not None and self._child.returncode is None

    async def start(
        self, command: Sequence[str], *, env: Mapping[str, str], user: str | None = None, cwd: Path | None = None
    ) -> None:
        """Start the child as `user` (None = whoever we are). Raises EmbeddedError when it cannot be started."""
        if self.running:
            raise EmbeddedError(f"{self.name} runs already")
        as_user: dict[str, Any] = {} if user is None else {"user": user, "group": _group_of(user), "extra_groups": []}
        with self.log.open("ab") as log:
            try:
                self._child = await asyncio.create_subprocess_exec(
                    *command,
                    env=dict(env),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    cwd=cwd,
                    **as_user,
                )
            except OSError as error:
                raise EmbeddedError(f"{self.name} cannot be started: {error}") from error

    async def wait_ready(self, ready: Callable[[], Awaitable[bool]], timeout_seconds: float) -> None:
        """Wait until `ready` says so. Raises EmbeddedError, and ends the child, when it dies or the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while True:
            if not self.running:
                assert self._child is not None
                raise with_log_tail(f"{self.name} ended with status {self._child.returncode}", self.log)
            if await ready():
                return
            if loop.time() > deadline:
                self.kill()
                await self.wait_ended()
                raise with_log_tail(f"{self.name} was not ready within {timeout_seconds:g} s", self.log)
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self, signal_number: int = signal.SIGTERM, timeout_seconds: float = 30.0) -> None:
        """End the child and wait; what does not end in time is killed. Nothing happens when it does not run."""
        if not self.running:
            return
        assert self._child is not None
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signal_number)
        try:
            await asyncio.wait_for(self._child.wait(), timeout_seconds)
        except TimeoutError:
            self.kill()
            await self._child.wait()

    def kill(self) -> None:
        """SIGKILL to the child and all that it started."""
        if self.running:
            assert self._child is not None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)

    async def wait_ended(self) -> None:
        """Return once the child is gone."""
        if self._child is not None:
            await self._child.wait()


def _group_of(user: str) -> int:
    import pwd  # noqa: PLC0415  # exists on POSIX only, and only a change of user needs it

    return pwd.getpwnam(user).pw_gid
