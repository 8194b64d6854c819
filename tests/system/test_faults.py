"""Faults: every service, RabbitMQ and mongod killed, stopped or frozen in the middle of 500 running enrollments.

A run counts only when the fault really struck while work was under way (the process died at its named crash point, or
had work in flight when the signal came). The sink imports no product code; what it received is the evidence.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter

import pytest

from tests.support.waiting import eventually
from tests.system.checking import nothing_is_stuck, settled, verify_all
from tests.system.sequences import three_mails
from tests.system.stack import Stack, lead, running_stack

pytestmark = [pytest.mark.system, pytest.mark.faults]

LEADS = 500
STEPS = 3
SEED = int(os.environ.get("TENDRIL_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))

#: (service, crash point and passage): each between two instructions whose order matters.
CRASH_POINTS = [
    ("enrollment", "committer.before_commit:4"),
    ("enrollment", "committer.after_commit:4"),
    ("enrollment", "scheduler.before_wake:3"),
    ("enrollment", "relay.after_stops:5"),
    ("enrollment", "relay.after_publish:5"),
    ("enrollment", "relay.after_save:3"),
    ("dispatcher", "dispatcher.after_claim:5"),
    ("dispatcher", "dispatcher.before_hand_over:40"),
    ("dispatcher", "dispatcher.after_hand_over:40"),
    ("dispatcher", "dispatcher.before_report:5"),
    ("dispatcher", "dispatcher.after_report:5"),
    ("projector", "projector.before_commit:4"),
    ("projector", "projector.after_commit:4"),
]


async def run_leads(stack: Stack) -> None:
    await stack.api("POST", "sequences?activate=true", json=three_mails())
    await stack.publish_leads(
        [lead(number) for number in range(LEADS)], message_ids=[f"lead-{number}" for number in range(LEADS)]
    )


async def check(stack: Stack, *, in_doubt_at_most: int) -> None:
    """The end of a calm run: everything completed, each step at most once at the sink, none stuck, views equal the
    log."""
    enrollments = await settled(stack, LEADS)
    assert len(enrollments) == LEADS
    assert Counter(each["status"] for each in enrollments) == {"completed": LEADS}
    assert stack.sink.duplicates() == {}
    doubtful = await stack.items("messages/in-doubt")
    assert len(doubtful) <= in_doubt_at_most, f"{len(doubtful)} in doubt"
    assert LEADS * STEPS - len(doubtful) <= len(stack.sink.mails) <= LEADS * STEPS
    await nothing_is_stuck(stack)
    await verify_all(stack)


@pytest.mark.parametrize(("service", "point"), CRASH_POINTS, ids=[point for _, point in CRASH_POINTS])
async def test_a_kill_at_a_named_point_loses_nothing_and_repeats_nothing(service: str, point: str, tmp_path) -> None:
    async with running_stack(tmp_path) as stack:
        await stack.kill(service)
        await stack.restart(service, env={"TENDRIL_CRASH_AT": point})
        await run_leads(stack)
        assert await stack.died(service) == -signal.SIGKILL, f"{point} was never passed"
        await stack.restart(service)
        # A kill between the mark "handing over" and the dot cannot be told from one after it: those few are in doubt,
        # and only they.
        await check(stack, in_doubt_at_most=25 if "hand_over" in point or "report" in point else 0)


async def test_a_kill_after_the_final_dot_is_in_doubt_and_only_that(tmp_path) -> None:
    async with running_stack(tmp_path) as stack:
        stack.sink.hold = asyncio.Event()  # the dot is out, the answer is not
        await run_leads(stack)
        await stack.sink.wait_for(1)
        await stack.kill("dispatcher")
        handed_over = len(stack.sink.mails)
        stack.sink.hold.set()
        stack.sink.hold = None
        await stack.restart("dispatcher")
        await check(stack, in_doubt_at_most=handed_over)
        assert len(await stack.items("messages/in-doubt")) == handed_over


@pytest.mark.parametrize("victim", ["enrollment", "dispatcher", "tracker", "projector", "gateway"])
async def test_kills_at_random_moments(victim: str, tmp_path) -> None:
    chance = random.Random(f"{SEED}-{victim}")
    print(f"TENDRIL_FAULT_SEED={SEED}")  # noqa: T201
    async with running_stack(tmp_path) as stack:
        await run_leads(stack)
        for _ in range(3):
            await stack.sink.wait_for(min(len(stack.sink.mails) + chance.randrange(10, 200), LEADS * STEPS - 50))
            await stack.kill(victim)
            await stack.restart(victim)
        await check(stack, in_doubt_at_most=150 if victim == "dispatcher" else 0)


@pytest.mark.parametrize("how", ["kill", "restart", "freeze"])
@pytest.mark.parametrize("server", ["rabbit", "mongo"])
async def test_a_server_away_in_the_middle(server: str, how: str, tmp_path) -> None:
    async with running_stack(tmp_path) as stack:
        await run_leads(stack)
        await stack.sink.wait_for(200)
        chosen = getattr(stack, server)
        if how == "freeze":
            os.kill(chosen.pid, signal.SIGSTOP)
            await asyncio.wait(
                [asyncio.create_task(stack.sink.wait_for(LEADS * STEPS, seconds=12))]
            )  # nothing more comes, or the rest does
            os.kill(chosen.pid, signal.SIGCONT)
        else:
            if how == "kill":
                chosen.kill()
                await chosen.wait_ended()
            else:
                await chosen.stop()
            await chosen.start()
        await check(stack, in_doubt_at_most=100 if server == "mongo" else 0)


async def test_a_frozen_dispatcher_writes_nothing_stale_when_it_thaws(tmp_path) -> None:
    async with running_stack(tmp_path) as stack:
        await stack.start_service("dispatcher", name="dispatcher-2")
        await stack.ready("dispatcher-2")
        await run_leads(stack)
        await stack.sink.wait_for(100)
        stack.services["dispatcher"].signal(signal.SIGSTOP)
        frozen_until = asyncio.get_running_loop().time() + 45  # longer than a claim lives

        async def lease_is_over() -> bool:
            return asyncio.get_running_loop().time() > frozen_until

        await eventually(lease_is_over, timeout_seconds=60)
        stack.services["dispatcher"].signal(signal.SIGCONT)
        await check(stack, in_doubt_at_most=50)


async def test_a_frozen_projector_is_replaced_within_90_seconds(tmp_path) -> None:
    async with running_stack(tmp_path) as stack:
        await stack.start_service("projector", name="projector-2")
        await stack.ready("projector-2")
        await run_leads(stack)
        await stack.sink.wait_for(100)
        stack.services["projector"].signal(signal.SIGSTOP)
        await settled(stack, LEADS, seconds=90)
        stack.services["projector"].signal(signal.SIGCONT)
        await check(stack, in_doubt_at_most=0)
