"""A raw SMTP sink that does what it is told: answers, delays, drops the line at any verb, swallows the answer after
the dot.

It imports no product code. What it keeps in ``mails`` was accepted whole: content up to the final dot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Mail:
    sender: str
    to: str
    content: bytes


@dataclass
class Script:
    """``answers``: verb (lower case; ``connect``, ``content`` and ``dot`` too) -> what to do instead of a plain yes.

    A text is sent as the answer; ``drop`` closes the line there; ``hang`` says nothing more; ``swallow`` (dot) keeps
    the mail and closes. A list is used up one by one, the last one stays; None in it means a plain yes.
    """

    answers: dict[str, Any] = field(default_factory=dict)

    def take(self, verb: str) -> str | None:
        wanted: str | list[str | None] | None = self.answers.get(verb)
        if isinstance(wanted, list):
            return wanted.pop(0) if len(wanted) > 1 else wanted[0]
        return wanted


class Sink:
    def __init__(self, script: Script | None = None, extensions: tuple[str, ...] = ("8BITMIME", "SMTPUTF8")) -> None:
        self.script = script or Script()
        self.extensions = extensions
        self.mails: list[Mail] = []
        self.connections = 0
        self.dropped = 0  #: lines dropped in the middle of the content
        self._said = ""
        self.verbs: list[str] = []
        self.at_dot: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Sink:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 24)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._session(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._say(writer, "connect", "220 sink ready"):
            return
        sender = to = ""
        while line := await reader.readline():
            text = line.decode().strip()
            verb = text.split(" ")[0].lower()
            self.verbs.append(verb)
            usual = "250 OK"
            if verb == "ehlo":
                usual = "\r\n".join([*(f"250-{e}" for e in ("sink", *self.extensions)), "250 HELP"])
            elif verb == "mail":
                sender = text[text.index("<") + 1 : text.index(">")]
            elif verb == "rcpt":
                to = text[text.index("<") + 1 : text.index(">")]
            elif verb == "quit":
                usual = "221 bye"
            elif verb == "data":
                usual = "354 go ahead"
            if not await self._say(writer, verb, usual):
                return
            if verb == "quit":
                return
            if verb == "data" and self._said.startswith("354") and not await self._content(reader, writer, sender, to):
                return

    async def _content(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sender: str, to: str) -> bool:
        wanted = self.script.take("content")
        lines: list[bytes] = []
        if wanted == "drop":
            await reader.readline()
            writer.transport.abort()
            self.dropped += 1
            return False
        if wanted is not None:
            writer.write(f"{wanted}\r\n".encode())
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                return False
            lines.append(line[1:] if line.startswith(b".") else line)
        if self.at_dot is not None:
            await self.at_dot()
        action = self.script.take("dot")
        if action is None or action.startswith(("2", "swallow", "hang", "late", "garbage")):
            self.mails.append(Mail(sender, to, b"".join(lines)))
        if action == "swallow":
            writer.transport.abort()
            return False
        if action == "drop":
            writer.transport.abort()
            return False
        if action == "hang":
            await asyncio.Event().wait()
        if action == "garbage":
            writer.write(b"\x00\xff nonsense\r\n")
            return True
        if action is not None and action.startswith("late "):
            _, seconds, answer = action.split(" ", 2)
            await asyncio.sleep(float(seconds))
            action = answer
        writer.write(f"{action or '250 2.0.0 taken'}\r\n".encode())
        await writer.drain()
        return True

    async def _say(self, writer: asyncio.StreamWriter, verb: str, usual: str) -> bool:
        wanted = self.script.take(verb)
        if wanted == "drop":
            writer.transport.abort()
            return False
        if wanted == "hang":
            await asyncio.Event().wait()
        self._said = wanted or usual
        writer.write(f"{self._said}\r\n".encode())
        await writer.drain()
        return not (wanted or "").startswith("421")
