"""One supervised process: its log, its readiness, its restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from shared.ending import ended
from tendril.up.console import Lines
from tendril.up.newborn import LINE_BYTES, Newborn, Order

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0  #: who has lived this long starts again without delay
FAILED_STARTS = 4  #: of a process that was never ready: then `up` gives up
STOP_SECONDS = 10.0
POLL_SECONDS = 0.05
LOG_BYTES = 20_000_000
TAIL_LINES = 15


class ChildFailed(Exception):
    """A process does not come up. The text says which, with the end of its log."""


@dataclass(frozen=True, slots=True)
class Spec(Order):
    """``ready`` asks whether it serves."""

    name: str
    ready: Callable[[], Awaitable[bool]]


class Child:
    """Runs the process of a spec, and starts it again when it ends unasked."""

    def __init__(self, spec: Spec, logs: Path, lines: Lines) -> None:
        self.spec = spec
        self.log = logs / f"{spec.name}.log"
        self.restarts = 0
        self._lines = lines
        self._process: asyncio.subprocess.Process | Newborn | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self._was_ready = False

    @property
    def name(self) -> str:
        """Unique within `up`."""
        return self.spec.name

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def start(self, first: Newborn | None = None) -> None:
        """Begins, with a process that runs already when one is given; readiness is another matter."""
        self._keeper = asyncio.create_task(self._keep(first), name=f"keep {self.name}")

    async def wait_ready(self) -> None:
        """Returns once it serves. Raises ChildFailed when it cannot be brought up."""
        assert self._keeper is not None
        while not self._keeper.done():
            if self.pid is not None and await self.spec.ready():
                self._was_ready = True
                return
            await asyncio.sleep(POLL_SECONDS)
        await self._keeper

    async def failed(self) -> None:
        """Returns, by raising, only when the process can be kept up no longer."""
        if self._keeper is not None:
            await self._keeper

    async def stop(self) -> None:
        """Ends it with SIGTERM; after ten seconds with SIGKILL."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                self._lines.say(f"{self.name} did not end in {STOP_SECONDS:g} s and was killed", "yellow")
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        await ended(self._keeper)

    async def _keep(self, first: Newborn | None) -> None:
        pause, failures = FIRST_PAUSE_SECONDS, 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._process = process = first or await self._begin()
            first = None
            await self._copy(process)
            status = await process.wait()
            if self._stopping:
                return
            failures += 1
            if not self._was_ready and failures >= FAILED_STARTS:
                raise ChildFailed(
                    f"{self.name} does not start (status {status}); the end of {self.log}:\n{self._tail()}"
                )
            if loop.time() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._lines.say(f"{self.name} ended with status {status}; again in {pause:g} s", "yellow")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            self.restarts += 1

    async def _begin(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self.spec.module,
            *self.spec.arguments,
            env=dict(self.spec.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in a terminal reaches `up` alone, which ends the others in order
            limit=LINE_BYTES,
        )

    async def _copy(self, process: asyncio.subprocess.Process | Newborn) -> None:
        assert process.stdout is not None
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab", buffering=0) as log:
            while True:
                try:
                    line = await process.stdout.readline()
                except ValueError:
                    continue  # a line of over a megabyte: the reader has dropped it
                if not line:
                    return
                log.write(line)
                self._lines.of_service(self.name, line.decode(errors="replace"))

    def _tail(self) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(f"    {line}" for line in self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
        return "    (empty)"
