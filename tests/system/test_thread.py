"""The thread: a lead published by a bare AMQP client, its mail, its signals, and what the API shows of them."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from psycopg.sql import SQL, Identifier

from tests.support.waiting import eventually
from tests.system.checking import verify_all
from tests.system.sequences import email, mail_then_later, sequence
from tests.system.stack import ORGANIZATION, Stack, lead, running_stack

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, of_each: dict[str, Any]) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("thread"), **of_each) as running:
        yield running


async def activate(stack: Stack, definition: dict[str, Any]) -> str:
    return str((await stack.api("POST", "sequences?activate=true", json=definition))["sequence_id"])


async def enrollment_of(stack: Stack, address: str) -> dict[str, Any]:
    async def find() -> dict[str, Any] | None:
        leads = await stack.items("leads", q=address)
        if not leads:
            return None
        found = await stack.items("enrollments", lead_id=leads[0]["lead_id"])
        return found[0] if found else None

    found = await eventually(find, timeout_seconds=20, message=f"no enrollment of {address}")
    assert isinstance(found, dict)
    return found


async def test_a_lead_gets_its_mail_and_its_open_click_and_reply_show_and_the_reply_stops_the_sequence(
    stack: Stack,
) -> None:
    sequence_id = await activate(stack, mail_then_later())
    await stack.publish_leads([lead(1)])

    mail = (await stack.sink.wait_for(1, to="lead1@example.com"))[0]
    assert mail.subject == "welcome for Ada1"
    enrollment = await enrollment_of(stack, "lead1@example.com")
    assert enrollment["sequence_id"] == sequence_id

    assert (await stack.http.get(mail.link("/t/o/"))).status_code == 200
    clicked = await stack.http.get(mail.link("/t/c/"), follow_redirects=False)
    assert (clicked.status_code, clicked.headers["location"]) == (302, "https://example.com/welcome")

    answer = EmailMessage()
    answer["From"], answer["To"], answer["Subject"] = (
        "lead1@example.com",
        str(mail.message["Reply-To"]),
        f"Re: {mail.subject}",
    )
    answer["In-Reply-To"] = str(mail.message["Message-ID"])
    answer.set_content("Yes please, tell me more.\n")
    await asyncio.to_thread(send, stack.smtp_port, answer)

    async def stopped() -> dict[str, Any] | None:
        found = await stack.api("GET", f"enrollments/{enrollment['id']}")
        return found if found["status"] == "exited" else None

    ended = await eventually(stopped, timeout_seconds=20, message="the reply did not stop the enrollment")
    assert ended["reason"] == "replied"
    assert {key: ended["counts"][key] for key in ("sent", "opened", "clicked", "replied")} == {
        "sent": 1,
        "opened": 1,
        "clicked": 1,
        "replied": 1,
    }
    kinds = [item["kind"] for item in await stack.items(f"leads/{enrollment['lead_id']}/timeline")]
    assert {
        "lead.captured",
        "lead.matched",
        "enrollment.started",
        "enrollment.step_sent",
        "lead.replied",
        "enrollment.exited",
    } <= set(kinds)
    overview = await stack.api("GET", "metrics/overview")
    assert overview["today"]["sent"] >= 1
    assert overview["today"]["replied"] >= 1


def send(port: int, message: EmailMessage) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.send_message(message)


async def test_the_same_message_twice_makes_one_lead_and_one_mail(stack: Stack) -> None:
    body = lead(2)
    await stack.publish_leads([body, body, body], message_ids=["same-1", "same-1", "other-1"])
    await stack.sink.wait_for(1, to="lead2@example.com")
    await stack.publish_leads([lead(3)])
    await stack.sink.wait_for(1, to="lead3@example.com")
    assert len(stack.sink.to("lead2@example.com")) == 1
    await enrollment_of(stack, "lead2@example.com")  # the views come after the mail
    assert len(await stack.items("leads", q="lead2@example.com")) == 1


async def test_an_unsubscribe_by_one_click_stops_and_is_shown(stack: Stack) -> None:
    await stack.publish_leads([lead(4)])
    mail = (await stack.sink.wait_for(1, to="lead4@example.com"))[0]
    address = next(part.strip(" <>") for part in str(mail.message["List-Unsubscribe"]).split(",") if "http" in part)
    assert str(mail.message["List-Unsubscribe-Post"]) == "List-Unsubscribe=One-Click"
    assert (await stack.http.get(address)).status_code == 200  # showing the page does nothing
    assert (await enrollment_of(stack, "lead4@example.com"))["status"] == "active"
    done = await stack.http.post(address, data={"List-Unsubscribe": "One-Click"})
    assert done.status_code == 200

    async def ended() -> dict[str, Any] | None:
        found = await enrollment_of(stack, "lead4@example.com")
        return found if found["status"] == "exited" else None

    assert (await eventually(ended, timeout_seconds=20))["reason"] == "unsubscribed"


async def test_a_body_that_does_not_validate_is_a_dead_letter_with_its_reasons(stack: Stack) -> None:
    await stack.publish_leads(
        [{"organization_id": ORGANIZATION, "lead": {"first_name": "Nobody", "score": "much"}}], message_ids=["bad-1"]
    )

    async def dead() -> list[dict[str, Any]]:
        return [each for each in await stack.items("ops/dead-letters") if each.get("message_id") == "bad-1"]

    letters = await eventually(dead, timeout_seconds=20, message="no dead letter")
    assert any("lead.score" in reason["field"] for reason in letters[0]["reasons"])


async def test_steps_without_messages_take_effect_and_branches_join_again(stack: Stack) -> None:
    definition = sequence(
        "Branches",
        [
            {"step_id": "tagged", "kind": "tag", "config": {"add": ["seen"]}},
            {"step_id": "scored", "kind": "score", "config": {"add": 30}},
            {
                "step_id": "warm",
                "kind": "condition",
                "config": {"when": {"all": [{"has_tag": "seen"}, {"field": "lead.score", "op": "gte", "value": 30}]}},
                "then": [email("hot")],
                "else": [email("cold")],
            },
            {"step_id": "call", "kind": "task", "config": {"title": "Call {{ first_name }}"}},
            email("after"),
        ],
    )
    definition["trigger"]["funnels"] = ["branch-funnel"]
    definition["trigger"]["priority"] = 50
    await activate(stack, definition)
    body = lead(5)
    body["funnel_id"] = "branch-funnel"
    await stack.publish_leads([body])
    assert (await stack.sink.wait_for(1, to="lead5@example.com"))[0].subject == "hot for Ada5"

    async def open_task() -> list[dict[str, Any]]:
        enrollment = await enrollment_of(stack, "lead5@example.com")
        return [task for task in await stack.items("tasks", status="open") if task["enrollment_id"] == enrollment["id"]]

    task = (await eventually(open_task, timeout_seconds=20))[0]
    assert (await enrollment_of(stack, "lead5@example.com"))["waiting_for"]["kind"] == "task"
    await stack.api("POST", f"tasks/{task['task_id']}/complete", json={"outcome": "connected"})
    assert [mail.subject for mail in await stack.sink.wait_for(2, to="lead5@example.com")] == [
        "hot for Ada5",
        "after for Ada5",
    ]

    async def completed() -> bool:
        return bool((await enrollment_of(stack, "lead5@example.com"))["status"] == "completed")

    await eventually(completed, timeout_seconds=20)


async def test_a_write_can_be_read_at_once_with_its_position(stack: Stack) -> None:
    answer = await stack.http.post(
        f"{stack.api_url}/leads",
        json={"lead": {"email": "mine@example.com", "first_name": "Mine"}},
        headers={"Authorization": f"Bearer {stack._token}", "Idempotency-Key": "own-1"},
    )
    assert answer.status_code in (200, 201), answer.text
    lead_id, position = answer.json()["lead_id"], answer.headers["Tendril-Position"]
    assert (await stack.api("GET", f"leads/{lead_id}", params={"min_position": position}))[
        "email"
    ] == "mine@example.com"
    again = await stack.http.post(
        f"{stack.api_url}/leads",
        json={"lead": {"email": "mine@example.com", "first_name": "Mine"}},
        headers={"Authorization": f"Bearer {stack._token}", "Idempotency-Key": "own-1"},
    )
    assert again.json()["lead_id"] == lead_id


async def test_every_view_equals_a_replay(stack: Stack) -> None:
    await verify_all(stack)


async def test_the_store_holds_no_plain_address(stack: Stack) -> None:
    stored = await asyncio.to_thread(everything_stored, stack)
    assert b"lead.captured.v1" in stored
    assert b"lead1@example.com" not in stored


def everything_stored(stack: Stack) -> bytes:
    """The bytes of the event store, whichever it is."""
    if stack.event_store is None:
        return b"".join(path.read_bytes() for path in stack.home.glob("tendril.db*"))
    with psycopg.connect(stack.event_store) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        found = b""
        for (table,) in tables:
            query = SQL("COPY {} TO STDOUT (FORMAT BINARY)").format(Identifier(table))
            with connection.cursor().copy(query) as rows:
                found += b"".join(bytes(block) for block in rows)
    return found
