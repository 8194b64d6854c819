"""A backup of a stack at work, brought back into an empty place: what was known goes on there, and nothing goes out a
second time.

The backup finds enrollments at every point: waiting for a later step, stopped, and with a step at its final dot,
claimed or still on the dispatchers' queue. What was claimed or queued goes out after the backup, before the old stack
is killed: the restored place cannot know it, and must not repeat it. The sink sees both places.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from bson import decode_all

from shared.persistence.mongo import CODEC
from shared.persistence.views import VIEW_NAMES
from tests.support.waiting import eventually
from tests.system.checking import nothing_is_stuck
from tests.system.runs import Run
from tests.system.sequences import email
from tests.system.signals import one_click
from tests.system.stack import Stack, running_stack

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

STEPS = [email("m0"), email("m1", amount=3, unit="days")]
#: How each lead of the first run stands when the backup is made, by its number.
STANDS = ("active", "active", "unsubscribed", "unsubscribed", "paused", "paused")
#: Steps at their dot, and steps that are claimed: fewer than the dispatcher has lines.
AT_THE_DOT, CLAIMED, QUEUED = 2, 3, 2
LATER = timedelta(days=3, hours=1)


class Known(NamedTuple):
    """What the API shows of a place, in an order of its own. ``everyone``: the ids of all leads; the rest is of the
    first run."""

    everyone: list[str]
    leads: list[dict[str, Any]]
    enrollments: list[dict[str, Any]]
    stats: dict[str, Any]


class Restored(NamedTuple):
    """``before``: what the old stack showed when the backup was made; ``sent``: the mails at its end."""

    stack: Stack
    waiting: Run
    at_the_dot: Run
    claimed: Run
    queued: Run
    before: Known
    sent: Counter[tuple[str, str]]


async def known(stack: Stack, run: Run) -> Known:
    leads = sorted(await stack.items("leads"), key=lambda each: each["lead_id"])
    return Known(
        [each["lead_id"] for each in leads],
        [each for each in leads if each["email"].startswith(run.tag)],
        sorted(await stack.items("enrollments", sequence_id=run.sequence_id), key=lambda each: each["id"]),
        await stack.api("GET", f"sequences/{run.sequence_id}/stats"),
    )


def mails(stack: Stack) -> Counter[tuple[str, str]]:
    return Counter((mail.to, mail.subject) for mail in stack.sink.mails)


async def stopped(stack: Stack, run: Run) -> None:
    """Brings the leads of the first run where they stand."""
    found = await run.by_number()
    for number, how in enumerate(STANDS):
        if how == "unsubscribed":
            await one_click(stack, run.to(number)[0])
        elif how == "paused":
            await stack.api("POST", f"enrollments/{found[number]['id']}/pause", json={})

    async def so() -> bool:
        now = await run.by_number()
        statuses = [now[number]["status"] for number in range(run.leads)]
        assert statuses == ["exited" if how == "unsubscribed" else how for how in STANDS]
        assert all(each["counts"]["sent"] == 1 for each in now.values())
        return True

    await eventually(so, timeout_seconds=60)


async def is_due(run: Run) -> bool:
    """Was a step of every lead handed to the dispatchers' queue?"""
    due = await run.stack.items("messages", sequence_id=run.sequence_id, status="due")
    return len(due) == run.leads


def ledger_of(folder: Path) -> Counter[str]:
    """The steps in a backup's ledger, by state."""
    return Counter(each["state"] for each in decode_all((folder / "ledger/dispatches.bson").read_bytes(), CODEC))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def restored(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Restored]:
    old_home, folder = tmp_path_factory.mktemp("old"), tmp_path_factory.mktemp("kept") / "backup"
    async with running_stack(old_home) as old:
        waiting = await Run.begin(old, len(STANDS), STEPS)
        await waiting.sent(len(STANDS))
        await stopped(old, waiting)
        old.sink.hold = hold = asyncio.Event()
        at_the_dot = await Run.begin(old, AT_THE_DOT, STEPS)
        await at_the_dot.sent(AT_THE_DOT)
        old.sink.hold_data = hold_data = asyncio.Event()
        claimed = await Run.begin(old, CLAIMED, STEPS)
        await eventually(lambda: old.sink.asked >= CLAIMED, timeout_seconds=60, message="not every step is claimed")
        old.services["dispatcher"].signal(signal.SIGSTOP)  # so that it stays as it is until the backup is made
        queued = await Run.begin(old, QUEUED, STEPS)
        await eventually(partial(is_due, queued), timeout_seconds=60, message="not every step is queued")
        for run in (at_the_dot, claimed, queued):
            await run.by_number()  # all of them are in the views
        before = await known(old, waiting)
        await old.command("backup", str(folder))
        kept = ledger_of(folder)
        assert (kept["sent"], kept["claimed"]) == (len(STANDS), CLAIMED)
        assert kept["handing_over"] + kept["in_doubt"] == AT_THE_DOT  # the mail server's answer may have taken too long
        for event in (hold, hold_data):
            event.set()
        old.sink.hold = old.sink.hold_data = None
        old.services["dispatcher"].signal(signal.SIGCONT)
        await claimed.sent(CLAIMED)
        await queued.sent(QUEUED)
        for name in old.services:
            await old.kill(name)
    sent = mails(old)
    new = old.elsewhere(tmp_path_factory.mktemp("new"))
    try:
        await new.start_servers()
        await new.command("restore", str(folder))
        await new.start_services()
        for run in (waiting, at_the_dot, claimed, queued):
            run.stack = new
        yield Restored(new, waiting, at_the_dot, claimed, queued, before, sent)
    finally:
        await new.stop()


async def test_the_views_show_what_was_known(restored: Restored) -> None:
    async def same() -> bool:
        assert await known(restored.stack, restored.waiting) == restored.before
        return True

    await eventually(same, timeout_seconds=60)


async def test_every_view_is_verified_without_a_difference(restored: Restored) -> None:
    said = json.loads(await restored.stack.command("views", "verify", "--all", "--json"))
    assert {each["view"]: each["result"]["differences"] for each in said["items"]} == dict.fromkeys(VIEW_NAMES, 0)


async def test_what_was_on_its_way_is_in_doubt(restored: Restored) -> None:
    async def doubtful() -> bool:
        assert len(await restored.at_the_dot.in_doubt()) == AT_THE_DOT
        assert len(await restored.claimed.in_doubt()) == CLAIMED
        return True

    await eventually(doubtful, timeout_seconds=60)
    assert await restored.waiting.in_doubt() == []
    assert mails(restored.stack) == restored.sent


async def test_days_later_who_waited_goes_on_and_who_was_stopped_does_not(restored: Restored) -> None:
    stack, run = restored.stack, restored.waiting
    await stack.jump_to(datetime.now(UTC) + LATER, "enrollment", "dispatcher")

    async def ended() -> bool:
        found = await run.by_number()
        assert [found[number]["status"] for number in range(run.leads)] == [
            {"active": "completed", "unsubscribed": "exited"}.get(how, how) for how in STANDS
        ]
        return True

    await eventually(ended, timeout_seconds=60)
    for other in (restored.at_the_dot, restored.claimed):  # in doubt counts as sent, so these go on too
        await other.settled("completed", seconds=60)
    again = await Run.begin(stack, 0, [email("new")])
    back = {"email": run.address(2), "first_name": "Back"}
    await stack.publish_leads([{**run.lead(2), "funnel_id": again.tag, "lead": back}])

    async def heard() -> bool:
        return any(each["first_name"] == "Back" for each in await stack.items("leads", q=run.tag))

    await eventually(heard, timeout_seconds=60, message="who had unsubscribed did not come back")
    await stack.publish_leads([again.lead(0)])
    await again.sent(1)  # hers would have gone out before
    for number in (4, 5):
        found = await run.by_number()
        await stack.api("POST", f"enrollments/{found[number]['id']}/resume", json={})
    await run.settled("completed", "exited", seconds=60)
    assert [run.subjects(number) for number in range(run.leads)] == [
        ["m0"] if how == "unsubscribed" else ["m0", "m1"] for how in STANDS
    ]
    assert [restored.queued.subjects(number) for number in range(QUEUED)] == [["m0"]] * QUEUED
    for other in (restored.at_the_dot, restored.claimed):
        assert [other.subjects(number) for number in range(other.leads)] == [["m0", "m1"]] * other.leads
    assert max(mails(stack).values()) == 1
    await nothing_is_stuck(stack)
