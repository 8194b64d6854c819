"""Two processes of every service on PostgreSQL: identities, limits, timers and partitions hold."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.waiting import eventually
from tests.system.checking import nothing_is_stuck, verify_all
from tests.system.runs import Run
from tests.system.sequences import email
from tests.system.stack import Stack, running_stack

pytestmark = [pytest.mark.system, pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

LEADS = 200
CLERKS = ("enrollment", "enrollment-2")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, store_url: str) -> AsyncIterator[Stack]:
    home: Path = tmp_path_factory.mktemp("two")
    async with running_stack(home, event_store=store_url, copies=2) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def everything_runs(stack: Stack) -> None:
    """A test begins with both processes of every service up, whatever the one before left."""
    for name, process in stack.services.items():
        if not process.running:
            await stack.restart(name)


async def figure(stack: Stack, name: str, metric: str) -> float:
    """A metric of a process, summed over its labels; 0 when it has none."""
    answer = await stack.http.get(f"http://127.0.0.1:{stack.services[name].telemetry_port}/metrics")
    found = re.findall(rf"^(?:tendril_)?{metric}(?:\{{[^}}]*\}})? (\S+)$", answer.text, re.MULTILINE)
    return sum(float(each) for each in found)


async def clerk(stack: Stack) -> str:
    """The process that is the clerk, once one is."""

    async def active() -> str | None:
        running = [name for name in CLERKS if stack.services[name].running]
        said = [name for name in running if await figure(stack, name, "clerk_active")]
        assert len(said) < 2, "two clerks at a time"
        return said[0] if said else None

    found = await eventually(active, timeout_seconds=30, message="nobody is the clerk")
    assert found is not None
    return found


async def test_a_lead_published_three_times_is_one_lead(stack: Stack) -> None:
    """Under ids of their own, in other spellings, all at once: both processes race for each identity."""
    before = [await figure(stack, name, "commands_total") for name in CLERKS]
    run = await Run.begin(stack, LEADS)
    again = []
    for number in range(LEADS):
        loud, known = run.lead(number), run.lead(number)
        loud["lead"]["email"] = loud["lead"]["email"].upper()
        known["lead"]["external_id"] = f"crm-{run.tag}-{number}"
        again += [loud, known]
    random.shuffle(again)
    await stack.publish_leads(again)
    await run.ends_as_calm()
    leads = [each for each in await stack.items("leads", q=run.tag) if each["email"].startswith(run.tag)]
    assert len(leads) == LEADS
    assert {each["external_id"] for each in leads} == {f"crm-{run.tag}-{number}" for number in range(LEADS)}
    after = [await figure(stack, name, "commands_total") for name in CLERKS]
    assert all(late > early for late, early in zip(after, before, strict=True)), "one process did all of it"


async def test_the_clerk_is_replaced_and_every_timer_rings_once(stack: Stack) -> None:
    run = await Run.begin(stack, LEADS, [email("m0"), email("m1"), email("m2", amount=1, unit="minutes")])
    await run.sent(LEADS // 2)
    killed = await clerk(stack)
    await stack.kill(killed)
    assert len(run.mails) < LEADS * 2, "the kill came too late to count"
    assert await clerk(stack) != killed
    await run.sent(LEADS * 2)
    again = await clerk(stack)
    await stack.restart(killed)
    await stack.kill(again)  # while all of them wait for their last mail
    assert await clerk(stack) == killed
    await run.ends_as_calm()


async def test_a_limit_is_never_exceeded_whoever_is_killed(stack: Stack) -> None:
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    if midnight - now < timedelta(minutes=4):  # the limit is one of a day: wait for the next
        await eventually(lambda: datetime.now(UTC) >= midnight, timeout_seconds=300)
    limit = 120
    run = await Run.begin(stack, LEADS, 1, limits={"per_day": limit})
    await run.sent(20)
    victims = [await clerk(stack), "dispatcher", "projector"]
    await asyncio.gather(*(stack.kill(name) for name in victims))
    assert len(run.mails) < limit, "the kills came too late to count"

    async def used_up() -> bool:
        return bool((await stack.api("GET", f"sequences/{run.sequence_id}/stats"))["completed"] >= limit)

    await eventually(used_up, timeout_seconds=120, message="the limit was not used up")
    await asyncio.gather(*(stack.restart(name) for name in victims))
    assert await run.settled("completed", "active") == {"completed": limit, "active": LEADS - limit}
    doubtful = await run.in_doubt()
    assert limit - len(doubtful) <= len(run.mails) <= limit
    assert len({mail.to for mail in run.mails}) == len(run.mails)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    waiting = await run.enrollments(status="active")
    assert {each["next"]["at"][:10] for each in waiting} == {tomorrow}
    await nothing_is_stuck(stack)


async def test_after_all_that_every_view_equals_the_log(stack: Stack) -> None:
    await verify_all(stack)
