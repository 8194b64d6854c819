"""What must be true at the end of a run, read from the outside: the API and the sink."""

from __future__ import annotations

from typing import Any

from tests.support.waiting import eventually
from tests.system.stack import Stack


async def verify_all(stack: Stack, *, seconds: float = 180) -> None:
    """Verifies every view against a replay of the log; none may differ."""
    views = [view["name"] for view in (await stack.api("GET", "ops/views"))["items"]]
    assert views
    jobs = {name: (await stack.api("POST", f"ops/views/{name}/verify"))["job_id"] for name in views}
    for name, job_id in jobs.items():

        async def finished(job_id: str = job_id) -> dict[str, Any] | None:
            job: dict[str, Any] = await stack.api("GET", f"jobs/{job_id}")
            return job if job["state"] in ("done", "failed") else None

        job = await eventually(finished, timeout_seconds=seconds, message=f"verifying {name} did not end")
        assert job["state"] == "done", (name, job)
        assert job["result"]["differences"] == 0, (name, job)


async def nothing_is_stuck(stack: Stack) -> None:
    """No enrollment is active without a timer or a named blocker."""
    stuck = [
        each
        for each in await stack.items("enrollments", status="active")
        if each["next"] is None and each["waiting_for"] is None
    ]
    assert not stuck, stuck[:3]
