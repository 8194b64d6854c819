"""Stops: a pause, an unsubscribe or a reply never lets a later message out, wherever the step is at that moment."""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from tests.support.waiting import eventually
from tests.system.checking import nothing_is_stuck, settled, verify_all
from tests.system.sequences import email, sequence, three_mails
from tests.system.stack import Stack, lead, running_stack

pytestmark = [pytest.mark.system, pytest.mark.faults]


async def one_click(stack: Stack, mail) -> int:
    address = next(part.strip(" <>") for part in str(mail.message["List-Unsubscribe"]).split(",") if "http" in part)
    return (await stack.http.post(address, data={"List-Unsubscribe": "One-Click"})).status_code


async def test_an_unsubscribe_holds_while_the_enrollment_service_is_down_and_the_next_mail_is_already_queued(
    tmp_path,
) -> None:
    async with running_stack(tmp_path) as stack:
        await stack.api("POST", "sequences?activate=true", json=three_mails())
        stack.sink.hold = asyncio.Event()
        await stack.publish_leads([lead(1)])
        first = (await stack.sink.wait_for(1, to="lead1@example.com"))[0]
        stack.services["dispatcher"].signal(signal.SIGSTOP)
        stack.sink.hold.set()
        stack.sink.hold = None
        await stack.kill("enrollment")
        stack.services["dispatcher"].signal(signal.SIGCONT)
        assert await one_click(stack, first) == 200
        await stack.restart("enrollment")
        ended = await settled(stack, 1)
        assert [each["reason"] for each in ended] == ["unsubscribed"]
        assert len(stack.sink.to("lead1@example.com")) == 1


async def test_an_unsubscribe_overtakes_20_000_queued_messages(tmp_path) -> None:
    """The steps of 2,000 leads wait in front of it on the dispatcher's queue; the stop has its own way."""
    async with running_stack(tmp_path) as stack:
        definition = sequence("Ten", [email(f"m{number}") for number in range(10)])
        await stack.api("POST", "sequences?activate=true", json=definition)
        await stack.publish_leads([lead(0)])
        first = (await stack.sink.wait_for(1, to="lead0@example.com"))[0]
        stack.services["dispatcher"].signal(signal.SIGSTOP)
        await stack.publish_leads([lead(number) for number in range(1, 2_001)])
        assert await one_click(stack, first) == 200
        sent_before = len(stack.sink.to("lead0@example.com"))
        stack.services["dispatcher"].signal(signal.SIGCONT)

        async def stopped() -> bool:
            found = await stack.items("enrollments", status="exited")
            return any(each["reason"] == "unsubscribed" for each in found)

        await eventually(stopped, timeout_seconds=120)
        await stack.sink.wait_for(2_000, seconds=240)
        assert (
            len(stack.sink.to("lead0@example.com")) <= sent_before + 1
        )  # one may have been at its dot when the process froze


@pytest.mark.parametrize("order", ["pause", "cancel"])
async def test_orders_raced_against_sends_let_nothing_out_after_their_answer(order: str, tmp_path) -> None:
    """50 enrollments are stopped at random moments. What the sink got after the answer stood at its dot before, and
    is shown as sent."""
    chance = random.Random(20261121)
    async with running_stack(tmp_path) as stack:
        await stack.api(
            "POST", "sequences?activate=true", json=sequence("Race", [email(f"m{number}") for number in range(6)])
        )
        await stack.publish_leads([lead(number) for number in range(50)])

        async def started():
            found = await stack.items("enrollments")
            return found if len(found) == 50 else None

        enrollments = await eventually(started, timeout_seconds=60)
        chance.shuffle(enrollments)
        for enrollment in enrollments:
            await stack.api("POST", f"enrollments/{enrollment['id']}/{order}", json={}, expect=(200, 202, 409, 422))

        async def calm():
            found = await stack.items("enrollments")
            return (
                found
                if all(
                    each["status"] in ("paused", "exited", "completed")
                    and each["waiting_for"] in (None, each["waiting_for"])
                    for each in found
                )
                else None
            )

        await eventually(calm, timeout_seconds=60)
        if order == "pause":
            for enrollment in await stack.items("enrollments", status="paused"):
                await stack.api("POST", f"enrollments/{enrollment['id']}/resume", json={})
            await settled(stack, 50, allowed=("completed",))
            assert len(stack.sink.mails) == 300
        assert stack.sink.duplicates() == {}
        await nothing_is_stuck(stack)
        await verify_all(stack)
