"""Faults: every service, RabbitMQ and mongod killed, stopped or frozen in the middle of 500 running enrollments.

A run counts only when the fault struck while work was under way: the process died at its named crash point, or mails
had begun to arrive and were not all there. The sink imports no product code; what it received is the evidence.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
import pytest_asyncio

from tendril.embedded.mongod import MongoServer
from tendril.embedded.rabbitmq import RabbitServer
from tests.support.waiting import eventually
from tests.system.checking import verify_all
from tests.system.people import people
from tests.system.runs import Run
from tests.system.stack import Stack, running_stack

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

LEADS = 500
SEED = int(os.environ.get("TENDRIL_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))

#: Crash points of a service and their passages, each between two instructions whose order matters. A run meets all of a
#: line, one after the other: whoever comes back is killed at the next.
CRASH_POINTS = [
    (
        "enrollment",
        "scheduler.before_wake:2",  # the first, for timers ring when leads begin
        "committer.before_commit:2",
        "store.before_commit:2",
        "committer.after_commit:2",
    ),
    ("enrollment", "relay.after_stops:3", "relay.after_publish:3", "relay.after_save:2"),
    (
        "dispatcher",
        "dispatcher.after_claim:5",
        "dispatcher.before_hand_over:40",
        "dispatcher.after_hand_over:40",
        "dispatcher.after_dot:40",
        "dispatcher.before_report:3",
        "dispatcher.after_report:3",
    ),
    ("projector", "projector.before_commit:3", "projector.after_commit:3", "projector.after_ack:2"),
]
SERVICES = ("enrollment", "dispatcher", "tracker", "projector", "gateway")
#: Services whose steps or partitions stay theirs for a while after they died.
HOLDERS = ("dispatcher", "projector")
#: The leads that come before each blow at a random moment: every service is struck twice.
PART = 60
#: Machine time: longer than a claim lives, than a driver waits for an answer, and than a connection goes without a
#: heartbeat.
FROZEN_SECONDS = 36.0
#: Steps that one dispatcher may hold between "handing over" and the stored answer: one on each of its eight lines, and
#: those whose answer is being stored. It may hold two hundred in all.
IN_FLIGHT = 40


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process does nothing inside the block, and goes on after it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def passed(seconds: float) -> None:
    """Returns once so much machine time has gone by: how long a freeze lasts is part of it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    await eventually(lambda: loop.time() >= until, timeout_seconds=seconds + 10)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """At the end of whatever these tests did to it, every view equals the log."""
    async with running_stack(tmp_path_factory.mktemp("faults")) as running:
        yield running
        await verify_all(running)


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def everything_runs(stack: Stack) -> None:
    """A test begins with every service up, whatever the one before left."""
    for name, process in stack.services.items():
        if not process.running:
            await stack.restart(name)
    stack.sink.hold = None


@pytest.mark.parametrize("line", CRASH_POINTS, ids=[line[1].partition(".")[0] for line in CRASH_POINTS])
async def test_kills_at_named_points_lose_nothing_and_repeat_nothing(stack: Stack, line: tuple[str, ...]) -> None:
    service, first, *others = line
    await stack.kill(service)
    await stack.restart(service, env={"TENDRIL_CRASH_AT": first}, doomed=True)
    run = await Run.begin(stack, LEADS)
    more: list[Run] = []
    for point, then in pairwise([first, *others, None]):
        assert await stack.died(service) == -signal.SIGKILL, f"{point} was not passed"
        if service != "projector":  # a projector at its crash point has a batch in hand, whatever the mails do
            assert len(run.mails) < LEADS * run.steps, f"the kill at {point} came too late to count"
        await stack.restart(service, env={"TENDRIL_CRASH_AT": then} if then else None, doomed=then is not None)
        if service == "projector" and then:  # whoever comes back takes all there is in a batch or two
            more.append(await Run.begin(stack, PART))
    for each in (run, *more):
        # A kill after the mark "handing over" cannot be told from one after the dot: those few are in doubt, no others.
        await each.ends_as_calm(in_doubt_at_most=len(others) * IN_FLIGHT if service == "dispatcher" else 0)


async def test_a_kill_after_the_final_dot_is_in_doubt_and_only_that(stack: Stack) -> None:
    await stack.kill("dispatcher")
    await stack.restart("dispatcher", doomed=True)
    stack.sink.hold = asyncio.Event()  # the dot is out, the answer is not
    run = await Run.begin(stack, LEADS)
    await run.sent(1)
    await stack.kill("dispatcher")
    handed_over = len(run.mails)
    stack.sink.hold.set()
    stack.sink.hold = None
    await stack.restart("dispatcher")
    await run.ends_as_calm(in_doubt_at_most=IN_FLIGHT)
    assert len(await run.in_doubt()) >= handed_over


async def test_kills_at_random_moments(stack: Stack) -> None:
    """Two kills of every service, each with leads on their way that came just before it. Meanwhile leads open their
    mails and a member drafts sequences, and whoever gets no answer asks again."""
    chance = random.Random(SEED)
    print(f"TENDRIL_FAULT_SEED={SEED}")  # noqa: T201
    victims = [*chance.sample(SERVICES, len(SERVICES)), *chance.sample(SERVICES, len(SERVICES))]
    for victim in HOLDERS:
        await stack.kill(victim)
        await stack.restart(victim, doomed=True)
    runs: list[Run] = []
    async with people(stack) as at_work:
        for number, victim in enumerate(victims):
            run = await Run.begin(stack, PART)
            runs.append(run)
            await run.sent(chance.randrange(10, 40))
            await stack.kill(victim)
            assert len(run.mails) < PART * run.steps, "the kill came too late to count"
            await stack.restart(victim, doomed=victim in HOLDERS and victim in victims[number + 1 :])
        for run in runs:
            await run.ends_as_calm(in_doubt_at_most=2 * IN_FLIGHT)
        await at_work.ends_as_calm(runs)
        assert at_work.unheard, "nobody missed the gateway, nor the tracker"


@pytest.mark.parametrize("server", ["rabbit", "mongo"])
async def test_a_server_gone_and_back_in_the_middle(stack: Stack, server: str) -> None:
    """Once killed, once ended in peace."""
    chosen: RabbitServer | MongoServer = getattr(stack, server)
    run = await Run.begin(stack, LEADS)
    await run.sent(150)
    chosen.kill()
    await chosen.wait_ended()
    reached = len(run.mails)
    await chosen.start()
    await run.sent(reached + 150)
    await chosen.stop()
    assert len(run.mails) < LEADS * run.steps, "the faults came too late to count"
    await chosen.start()
    await run.ends_as_calm()


@pytest.mark.parametrize("server", ["rabbit", "mongo"])
async def test_a_server_frozen_in_the_middle(stack: Stack, server: str) -> None:
    await stack.kill("dispatcher")
    await stack.restart("dispatcher", doomed=True)
    run = await Run.begin(stack, LEADS)
    await run.sent(150)
    chosen: RabbitServer | MongoServer = getattr(stack, server)
    with frozen(chosen.pid):
        await passed(FROZEN_SECONDS / 2)  # what the dispatcher had in hand may still go out
        before = len(run.mails)
        await passed(FROZEN_SECONDS / 2)
        assert len(run.mails) == before, "the freeze changed nothing"
    assert before < LEADS * run.steps, "the fault came too late to count"
    # A frozen mongod may carry out, when it thaws, the mark "handing over" of a step that was let go of meanwhile.
    await run.ends_as_calm(in_doubt_at_most=IN_FLIGHT if server == "mongo" else 0)
    await stack.kill("dispatcher")


async def test_a_frozen_dispatcher_writes_nothing_stale_when_it_thaws(stack: Stack) -> None:
    twin = "dispatcher-2"
    await stack.start_service("dispatcher", name=twin)
    await stack.ready(twin)
    run = await Run.begin(stack, LEADS)
    await run.sent(100)
    with frozen(stack.services["dispatcher"].pid):
        assert len(run.mails) < LEADS * run.steps, "the freeze came too late to count"
        await passed(FROZEN_SECONDS)
    await run.ends_as_calm(in_doubt_at_most=IN_FLIGHT)
    await stack.kill(twin)
    del stack.services[twin]


async def test_a_frozen_projector_is_replaced_within_90_seconds(stack: Stack) -> None:
    twin = "projector-2"
    await stack.start_service("projector", name=twin)
    await stack.ready(twin)
    run = await Run.begin(stack, LEADS)
    await run.sent(100)
    with frozen(stack.services["projector"].pid):
        assert len(run.mails) < LEADS * run.steps, "the freeze came too late to count"
        await run.settled("completed", seconds=90)
    await run.ends_as_calm()
    await stack.kill(twin)
    del stack.services[twin]
