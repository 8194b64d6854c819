"""E-mail over SMTP.

Until the final dot a lost line or a 4xx costs nothing: the step is tried again, at once for a lost line, later for a
refusal. After the dot only the answer counts: 2xx accepted, 4xx deferred, 5xx rejected, and none at all is in doubt.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from services.dispatcher.channels.account import Breaker, Limiter
from services.dispatcher.channels.protocol import HandOver
from services.dispatcher.channels.smtp_line import AnswerLate, AnswerLost, Refused, SmtpAddress, SmtpLine
from services.dispatcher.errors import LineLost
from services.dispatcher.message import Outbound
from services.dispatcher.outcomes import Accepted, Answer, Deferred, InDoubt, Rejected
from shared import telemetry
from shared.ending import ended
from shared.faults import crash_point

#: A verb that takes longer fails; a healthy server answers in a fraction of it.
VERB_SECONDS = 10.0
#: All of an attempt before the hand-over point; with the answer it stays within what a step may be held.
BEFORE_SECONDS = 15.0
#: How long the answer to the final dot is waited for before the send is in doubt,
ANSWER_SECONDS = 15.0
#: and how long a line then stays open for a late one.
LATE_SECONDS = 300.0
#: Tries of an attempt before the hand-over point.
TRIES = 3
#: Servers grow tired of a line.
MOST_MESSAGES_PER_LINE = 100
IDLE_LINES = 4

_ENHANCED = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_PERSONAL = re.compile(r"<?[^\s<>@]+@[^\s<>@]+>?")
_answers = telemetry.histogram("dispatcher_smtp_seconds", "Machine seconds from the first verb to the answer")


class SmtpChannel:
    """One account; lines are pooled and used again. ``monotonic`` is machine time."""

    wants_mime = True

    def __init__(
        self,
        address: SmtpAddress,
        monotonic: Callable[[], float],
        *,
        verb_seconds: float = VERB_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        late_seconds: float = LATE_SECONDS,
        breaker: Breaker | None = None,
    ) -> None:
        self._address = address
        self._monotonic = monotonic
        self._verb_seconds = verb_seconds
        self._answer_seconds = answer_seconds
        self._late_seconds = late_seconds
        self._breaker = breaker or Breaker(monotonic)
        self._limiter = Limiter(monotonic, per_second=address.per_second)
        self._slots = asyncio.Semaphore(address.connections)
        self._idle: list[SmtpLine] = []
        self._late: set[asyncio.Task[Accepted | Deferred | Rejected | None]] = set()

    async def send(self, message: Outbound, hand_over: HandOver) -> Answer:
        """See Channel."""
        started = self._monotonic()
        wait = await self._limiter.turn(BEFORE_SECONDS / 2)
        if wait:
            return Deferred("the sender is throttled", fault=False, retry_after_seconds=wait)
        try:
            async with asyncio.timeout(BEFORE_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            return Deferred("all connections are busy", fault=False, retry_after_seconds=BEFORE_SECONDS)
        try:
            closed = self._breaker.open_for()
            if closed:
                return Deferred(
                    "the mail server failed repeatedly and is given a rest", fault=False, retry_after_seconds=closed
                )
            return await self._attempt(message, hand_over)
        finally:
            self._breaker.unclear()
            self._slots.release()
            _answers.observe(self._monotonic() - started)

    async def close(self) -> None:
        """Says goodbye on idle lines; late answers are waited for no longer."""
        await ended(*self._late)
        idle, self._idle = self._idle, []
        await asyncio.gather(*(line.quit() for line in idle))

    async def _attempt(self, message: Outbound, hand_over: HandOver) -> Answer:
        try:
            async with asyncio.timeout(BEFORE_SECONDS):
                line = await self._begun(message)
        except (LineLost, TimeoutError) as error:
            self._breaker.fault()
            return Deferred(f"the mail server cannot be reached: {str(error) or 'too slow'}")
        except Refused as refusal:
            return self._refused(refusal)
        crash_point("dispatcher.before_dot")
        try:
            code, text = await line.end(hand_over, timeout_seconds=self._answer_seconds)
        except LineLost as error:
            self._breaker.fault()
            return Deferred(f"the mail server cannot be reached: {error}")
        except AnswerLost as error:
            self._breaker.fault()
            return InDoubt(str(error))
        except AnswerLate as error:
            return InDoubt(str(error), self._wait_on(line))
        crash_point("dispatcher.after_dot")
        self._breaker.well()
        await self._give_back(line)
        return answer_after_dot(code, text)

    async def _begun(self, message: Outbound) -> SmtpLine:
        """A line that has everything but the final dot. Raises LineLost, Refused."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(LineLost),
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(multiplier=0.2, max=2.0),
            reraise=True,
        ):
            with attempt:
                line = await self._line()
                try:
                    await line.begin(message)
                except Refused:
                    await self._give_back(line, clean=False)
                    raise
                except BaseException:
                    line.close()
                    raise
                return line
        raise AssertionError("unreachable: the loop returns or raises")

    async def _line(self) -> SmtpLine:
        while self._idle:
            line = self._idle.pop()
            if line.stands:
                return line
        return await SmtpLine.open(self._address, timeout_seconds=self._verb_seconds)

    async def _give_back(self, line: SmtpLine, *, clean: bool = True) -> None:
        line.used += 0 if clean else 1  # something was said: the next message begins with RSET
        if not line.stands:
            return
        if line.used >= MOST_MESSAGES_PER_LINE or len(self._idle) >= max(IDLE_LINES, self._address.connections):
            await line.quit()
        else:
            self._idle.append(line)

    def _wait_on(self, line: SmtpLine) -> asyncio.Task[Accepted | Deferred | Rejected | None]:
        async def late() -> Accepted | Deferred | Rejected | None:
            found = await line.late_answer(self._late_seconds)
            return None if found is None else answer_after_dot(*found)

        task = asyncio.create_task(late(), name="late answer")
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return task

    def _refused(self, refusal: Refused) -> Answer:
        reason = _reason(refusal.verb, refusal.code, refusal.text)
        if refusal.verb in ("connect", "login"):  # about us, not about this message
            self._breaker.fault()
            return Deferred(reason)
        if refusal.code == 421:
            self._breaker.fault()
            return Deferred(reason)
        self._breaker.well()
        if refusal.code < 500:
            return Deferred(reason)
        return Rejected(reason, bounce=refusal.verb == "rcpt" and about_address(refusal.code, refusal.text))


def answer_after_dot(code: int, text: str) -> Accepted | Deferred | Rejected:
    """What the reply to the final dot means; ``code`` is 2xx, 4xx or 5xx."""
    if code < 300:
        return Accepted(_reason("", code, text))
    if code < 500:
        return Deferred(_reason("content", code, text))
    enhanced = _ENHANCED.search(text)
    return Rejected(_reason("content", code, text), bounce=enhanced is not None and about_address(code, text))


def about_address(code: int, text: str) -> bool:
    """Whether a 5xx says that the mailbox itself is bad, and not that this server, policy or message is the matter."""
    enhanced = _ENHANCED.search(text)
    if enhanced is not None:
        return enhanced[1] == "5" and (enhanced[2] == "1" or (enhanced[2], enhanced[3]) == ("2", "1"))
    return code in (550, 551, 553)


def _reason(verb: str, code: int, text: str) -> str:
    """The server's word, without addresses, on one line."""
    said = _PERSONAL.sub("…", " ".join(text.split()))[:300]
    with suppress(UnicodeError):
        said.encode()
        return f"{verb} {code} {said}".strip()
    return f"{verb} {code}".strip()
