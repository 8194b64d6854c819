"""People at work while something fails: leads who open their first mail, and a member who drafts sequences. Whoever
gets no answer asks again, as browsers and clients with an idempotency key do; at the end each was heard exactly once.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

import httpx

from tests.support.waiting import eventually
from tests.system.runs import Run
from tests.system.sequences import email, sequence
from tests.system.sink import Mail
from tests.system.stack import Stack

OPENERS = 4
#: One draft for so many opened mails.
MAILS_PER_DRAFT = 10
ASK_AGAIN_SECONDS = 0.2
#: An answer comes at last: a gateway takes over what another left half done after a minute.
PATIENCE_SECONDS = 150.0


class People:
    """``unheard`` counts the requests that got no answer, or were told to come again."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._mails: asyncio.Queue[Mail] = asyncio.Queue()
        self._drafts: asyncio.Queue[str] = asyncio.Queue()
        self._tag = secrets.token_hex(4)
        self._drafted: list[str] = []
        self._mails_seen = 0
        self.unheard = 0

    async def ends_as_calm(self, runs: Sequence[Run]) -> None:
        """Every first mail of these runs counts as opened once, and every draft that was asked for is there once."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._mails.join()
            await self._drafts.join()
        for run in runs:
            await self._counted(run)
        found = await self._stack.items("sequences", q=self._tag)
        assert sorted(each["name"] for each in found) == sorted(self._drafted)

    async def _counted(self, run: Run) -> None:
        wanted = sum(is_first(mail) for mail in run.mails)

        async def so() -> bool:
            stats = await self._stack.api("GET", f"sequences/{run.sequence_id}/stats")
            assert stats["opened"] == wanted
            return True

        await eventually(so, timeout_seconds=30, every_seconds=ASK_AGAIN_SECONDS)

    async def look(self) -> None:
        """Hands out the mails as they come."""
        mails = self._stack.sink.mails
        seen = len(mails)

        def more() -> bool:
            return len(mails) > seen

        while True:
            await eventually(more, timeout_seconds=600)
            for mail in mails[seen:]:
                seen += 1
                if is_first(mail):
                    self._mails.put_nowait(mail)
                    if self._mails_seen % MAILS_PER_DRAFT == 0:
                        self._drafted.append(f"{self._tag} {len(self._drafted)}")
                        self._drafts.put_nowait(self._drafted[-1])
                    self._mails_seen += 1

    async def open_mails(self) -> None:
        """Opens each as it comes."""
        while True:
            mail = await self._mails.get()
            await self._heard(partial(self._stack.http.get, mail.link("/t/o/")))
            self._mails.task_done()

    async def draft(self) -> None:
        """Drafts a sequence of each name."""
        while True:
            name = await self._drafts.get()
            key = {"Idempotency-Key": f"draft {name}"}
            body = sequence(name, [email("only")])
            await self._heard(partial(self._stack.request, "POST", "sequences", json=body, headers=key))
            self._drafts.task_done()

    async def _heard(self, ask: Callable[[], Awaitable[httpx.Response]]) -> None:
        async def answered() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                answer = await ask()
                if answer.is_success:
                    return True
                assert answer.status_code in (409, 503), answer.text
            self.unheard += 1
            return False

        await eventually(answered, PATIENCE_SECONDS, "no answer", every_seconds=ASK_AGAIN_SECONDS)


def is_first(mail: Mail) -> bool:
    """Is it the mail of a sequence's first step?"""
    return mail.subject.startswith("m0 ")


@contextlib.asynccontextmanager
async def people(stack: Stack) -> AsyncIterator[People]:
    """They work until the block ends. What went wrong with one of them is raised at its end."""
    them = People(stack)
    works = [them.look(), them.draft(), *(them.open_mails() for _ in range(OPENERS))]
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield them
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
