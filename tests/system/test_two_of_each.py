"""Two processes of every service on PostgreSQL: identities, limits, timers and partitions hold."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.system.checking import nothing_is_stuck, settled, verify_all
from tests.system.sequences import email, sequence, three_mails
from tests.system.stack import lead, running_stack

pytestmark = [pytest.mark.system, pytest.mark.postgres]

LEADS = 200


async def test_two_of_each_lose_nothing_and_double_nothing(tmp_path, postgres_url: str) -> None:
    async with running_stack(tmp_path, event_store=postgres_url, copies=2) as stack:
        await stack.api("POST", "sequences?activate=true", json=three_mails())
        # Every lead comes three times, under ids of its own: the two processes race for its identity.
        bodies = [lead(number) for number in range(LEADS) for _ in range(3)]
        await stack.publish_leads(bodies)
        enrollments = await settled(stack, LEADS)
        assert Counter(each["status"] for each in enrollments) == {"completed": LEADS}
        assert len(await stack.items("leads")) == LEADS
        assert len(stack.sink.mails) == LEADS * 3
        assert stack.sink.duplicates() == {}
        await nothing_is_stuck(stack)
        await verify_all(stack)


async def test_the_clerk_is_replaced_when_it_is_killed_and_a_limit_is_never_exceeded(
    tmp_path, postgres_url: str
) -> None:
    async with running_stack(tmp_path, event_store=postgres_url, copies=2) as stack:
        limited = sequence("Limited", [email("only")], limits={"per_day": 120})
        await stack.api("POST", "sequences?activate=true", json=limited)
        await stack.publish_leads([lead(number) for number in range(LEADS)])
        await stack.sink.wait_for(40)
        for name in ("enrollment", "projector", "dispatcher"):
            await stack.kill(name)
        await stack.sink.wait_for(120, seconds=120)
        for name in ("enrollment", "projector", "dispatcher"):
            await stack.restart(name)
        enrollments = await settled(stack, LEADS, allowed=("completed", "active"))
        assert len(stack.sink.mails) == 120
        assert Counter(each["status"] for each in enrollments) == {"completed": 120, "active": LEADS - 120}
        await nothing_is_stuck(stack)
        await verify_all(stack)
