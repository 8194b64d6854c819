"""Rebuilding every view while traffic runs ends equal to the live views, and sends nothing."""

from __future__ import annotations

import pytest

from tests.support.waiting import eventually
from tests.system.checking import settled, verify_all
from tests.system.sequences import three_mails
from tests.system.stack import lead, running_stack

pytestmark = [pytest.mark.system]

LEADS = 300


async def test_every_view_is_rebuilt_under_traffic(tmp_path) -> None:
    async with running_stack(tmp_path) as stack:
        await stack.api("POST", "sequences?activate=true", json=three_mails())
        await stack.publish_leads([lead(number) for number in range(LEADS // 2)])
        await stack.sink.wait_for(50)
        views = [view["name"] for view in (await stack.api("GET", "ops/views"))["items"]]
        jobs = [(await stack.api("POST", f"ops/views/{name}/rebuild"))["job_id"] for name in views]
        await stack.publish_leads([lead(number) for number in range(LEADS // 2, LEADS)])
        for job_id in jobs:

            async def finished(job_id: str = job_id):
                job = await stack.api("GET", f"jobs/{job_id}")
                return job if job["state"] in ("done", "failed") else None

            job = await eventually(finished, timeout_seconds=180)
            assert job["state"] == "done", job
        await settled(stack, LEADS)
        assert len(stack.sink.mails) == LEADS * 3
        assert stack.sink.duplicates() == {}
        await verify_all(stack)
        assert len(stack.sink.mails) == LEADS * 3
