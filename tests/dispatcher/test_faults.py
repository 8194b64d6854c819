"""Real processes killed at named points, or frozen and thawed: never two mails, in doubt only where none can know."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.events.enrollment import RecordInDoubt, RecordSent
from shared.settings import Settings
from tests.dispatcher.making import dressed
from tests.dispatcher.test_service import World, settings, world
from tests.support.waiting import eventually

__all__ = ["settings", "world"]

pytestmark = [pytest.mark.system, pytest.mark.faults]

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def dispatcher(world: World, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process, ready; killed at the end if it still lives."""
    given: Settings = world.settings
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.dispatcher.process", cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        env={
            **os.environ, "TENDRIL_AMQP_URL": given.require_amqp_url(), "TENDRIL_MONGO_URL": given.require_mongo_url(),
            "TENDRIL_HOME": str(given.home), "TENDRIL_SECRET_KEYS": ",".join(given.secret_key_list),
            "TENDRIL_SMTP_URL": world.sink.url, **environment,
        },
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await process.communicate()  # closes the pipe


@pytest.mark.parametrize(
    ("point", "mails", "outcome"),
    [
        ("after_claim", 1, RecordSent),
        ("before_dot", 1, RecordSent),
        ("before_hand_over", 1, RecordSent),
        ("after_hand_over", 0, RecordInDoubt),
        ("after_dot", 1, RecordInDoubt),
        ("before_report", 1, RecordSent),
        ("after_report", 1, RecordSent),
    ],
)
async def test_killed_at(world: World, point: str, mails: int, outcome: type[object]) -> None:
    step = dressed()
    async with dispatcher(world, TENDRIL_CRASH_AT=f"dispatcher.{point}") as process:
        await world.send(step)
        async with asyncio.timeout(30):
            assert await process.wait() == -signal.SIGKILL, "the kill hit its point"
    async with dispatcher(world):
        await eventually(lambda: len(world.answers(step)) >= 1, 30)
        if point == "after_report":
            await eventually(lambda: len(world.answers(step)) >= 2, 30)
    assert {type(answer) for answer in world.answers(step)} == {outcome}
    assert len(world.sink.mails) == mails


@pytest.mark.parametrize(("point", "mails"), [("before_hand_over", 1), ("after_hand_over", 1)])
async def test_frozen_and_thawed(world: World, point: str, mails: int) -> None:
    """The twin takes over what was claimed and doubts what was handed over; the thawed one sends nothing twice."""
    step = dressed()
    async with dispatcher(world, TENDRIL_FREEZE_AT=f"dispatcher.{point}") as frozen:
        await world.send(step)
        await eventually(lambda: "data" in world.sink.verbs, 30)
        await eventually(lambda: stopped(frozen.pid), 30)
        async with dispatcher(world):
            await world.send(step.model_copy(update={"reminder": True}))
            await eventually(lambda: world.answers(step), 30)
            first = world.answers(step)[0]
            assert isinstance(first, RecordSent if point == "before_hand_over" else RecordInDoubt)
            frozen.send_signal(signal.SIGCONT)
            await eventually(lambda: isinstance(world.answers(step)[-1], RecordSent), 30)
            frozen.terminate()
            async with asyncio.timeout(40):
                await frozen.wait()
    assert len(world.sink.mails) == mails


def stopped(pid: int) -> bool:
    """Whether the process is frozen."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
