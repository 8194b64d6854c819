"""Processes from the nursery, as `up` sees them: adopted, with their output in a pipe."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NURSERY = "tendril.up.nursery"
SET_CHILD_SUBREAPER = 36  #: prctl's PR_SET_CHILD_SUBREAPER
LINE_BYTES = 1 << 20


class NurseryFailed(Exception):
    """It did not bear what it was told to. One line."""


@dataclass(frozen=True, slots=True)
class Order:
    """``module`` is run with ``arguments`` and exactly this environment."""

    module: str
    arguments: Sequence[str]
    env: Mapping[str, str]


class Newborn:
    """Has what `up` uses of an ``asyncio.subprocess.Process``."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        self._descriptor = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._reap)

    def send_signal(self, number: int) -> None:
        """Raises ProcessLookupError when it is gone."""
        if self.returncode is not None:
            raise ProcessLookupError(self.pid)
        os.kill(self.pid, number)

    async def wait(self) -> int:
        """Its exit status, below 0 for a signal."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()


class Nursery:
    """Begins to load as soon as it is started; bears once."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._pipes: list[tuple[int, int]] = []

    async def start(self, environ: Mapping[str, str], count: int) -> None:
        """For at most ``count`` processes."""
        self._pipes = [os.pipe() for _ in range(count)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            NURSERY,
            env=dict(environ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=[writing for _, writing in self._pipes],
            start_new_session=True,
        )

    async def bear(self, orders: Sequence[Order]) -> list[Newborn]:
        """The processes, in the same order. Raises NurseryFailed."""
        assert self._process is not None
        assert len(orders) <= len(self._pipes)
        told = [
            {"module": order.module, "arguments": list(order.arguments), "env": dict(order.env), "output": writing}
            for order, (_, writing) in zip(orders, self._pipes, strict=False)
        ]
        assert self._process.stdout is not None
        await self._process.stdout.readline()  # loaded
        # Only now, and briefly: the servers' own orphans are none of ours.
        _adopt(orphans=True)
        try:
            answer, _ = await self._process.communicate(json.dumps(told).encode() + b"\n")
        finally:
            _adopt(orphans=False)
            for _, writing in self._pipes:
                os.close(writing)
        try:
            pids: list[int] = json.loads(answer)
        except ValueError:
            raise NurseryFailed(
                f"the services' processes could not be made (status {self._process.returncode})"
            ) from None
        readers = [await _reader(reading) for reading, _ in self._pipes[: len(pids)]]
        return [Newborn(pid, reader) for pid, reader in zip(pids, readers, strict=True)]

    async def stop(self) -> None:
        """Ends one that has not borne."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


def _adopt(*, orphans: bool) -> None:
    """Whether processes below us whose parent ends become our own children."""
    if ctypes.CDLL(None, use_errno=True).prctl(SET_CHILD_SUBREAPER, int(orphans), 0, 0, 0) != 0:
        raise NurseryFailed(f"this kernel cannot adopt processes: {os.strerror(ctypes.get_errno())}")
