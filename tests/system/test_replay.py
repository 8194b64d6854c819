"""Rebuilding every view while traffic runs ends equal to the live views, and sends nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.waiting import eventually
from tests.system.checking import verify_all
from tests.system.runs import Run
from tests.system.stack import Stack, running_stack

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

LEADS = 300


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, of_each: dict[str, Any]) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("replay"), **of_each) as running:
        yield running


async def generations(stack: Stack) -> dict[str, int]:
    return {view["name"]: view["generation"] for view in (await stack.api("GET", "ops/views"))["items"]}


async def rebuild_all(stack: Stack) -> list[str]:
    """Asks for a rebuild of every view; the jobs."""
    return [(await stack.api("POST", f"ops/views/{name}/rebuild"))["job_id"] for name in await generations(stack)]


async def done(stack: Stack, jobs: list[str]) -> None:
    """Waits until every job is done."""
    for job_id in jobs:

        async def ended(job_id: str = job_id) -> dict[str, Any] | None:
            job: dict[str, Any] = await stack.api("GET", f"jobs/{job_id}")
            return job if job["state"] in ("done", "failed") else None

        job = await eventually(ended, timeout_seconds=180, message="a rebuild did not end")
        assert job["state"] == "done", job


async def test_every_view_is_rebuilt_under_traffic(stack: Stack) -> None:
    first = await Run.begin(stack, LEADS)
    await first.sent(50)
    before = await generations(stack)
    jobs = await rebuild_all(stack)
    second = await Run.begin(stack, LEADS)
    assert len(first.mails) < LEADS * 3, "the rebuild began too late to count"
    await done(stack, jobs)
    after = await generations(stack)
    assert {name for name in before if after[name] <= before[name]} == set()
    for run in (first, second):
        await run.ends_as_calm()
    await verify_all(stack)
    assert len(stack.sink.mails) == 2 * LEADS * 3


async def test_a_rebuild_goes_on_after_its_projector_was_killed(stack: Stack) -> None:
    run = await Run.begin(stack, LEADS)
    await run.sent(50)
    before, sent = await generations(stack), len(stack.sink.mails) - len(run.mails)
    jobs = await rebuild_all(stack)
    await stack.kill("projector")
    await stack.restart("projector")
    await done(stack, jobs)
    after = await generations(stack)
    assert {name for name in before if after[name] <= before[name]} == set()
    await run.ends_as_calm()
    await verify_all(stack)
    assert len(stack.sink.mails) == sent + LEADS * 3
