"""Test messages over real RabbitMQ, MongoDB and SMTP: they go out marked, and leave nothing behind."""

from __future__ import annotations

import email
import email.policy
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest

from services.dispatcher.attaching import Files
from services.dispatcher.proving import Prover, is_test
from shared.clock import SystemClock
from shared.events import Envelope
from shared.events.dispatch import Appointment, DressedStep, SendTest
from shared.events.query import Answer
from shared.ids import new_id
from shared.messaging import frames
from shared.messaging.delivery import Delivery
from shared.messaging.requests import Requester
from shared.messaging.topology import exchange_of, routing_key_of
from tests.dispatcher.making import Store, dressed
from tests.dispatcher.test_service import World, running, service_database, settings, world

__all__ = ["settings", "world"]


@pytest.fixture
async def requester(world: World) -> AsyncIterator[Requester]:
    made = Requester(world.settings.require_amqp_url(), name="tests", publisher=world.publisher)
    await made.start()
    yield made
    await made.close()


def order(step: DressedStep, *, old: timedelta = timedelta(0)) -> Envelope:
    message = SendTest(step=step, asked_at=SystemClock().wall() - old)
    now = SystemClock().now()
    return Envelope(id=new_id().hex, message=message, source="tests", time=now, organization_id="demo")


async def asked(requester: Requester, envelope: Envelope) -> Answer:
    return await requester.request(exchange_of(envelope), routing_key_of(envelope), envelope)


async def test_one_goes_out_marked_and_leaves_no_trace(world: World, requester: Requester) -> None:
    step = dressed(track_opens=False, address="coach@demo.example")
    real = dressed()
    async with running(world) as service:
        answer = await asked(requester, order(step))
        await world.send(real)
        await world.answer(real)
        rows = service.mongo.database(service_database(world)).collection("dispatches")
        kept = [row["_id"] for row in await rows.find({}).to_list()]
    assert answer.ok, answer.problem
    [test] = [each for each in world.sink.mails if each.to == "coach@demo.example"]
    assert test.sender == "grace@sender.example"
    mail = email.message_from_bytes(test.content, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    assert mail["Subject"] == "[Test] Hi Ada"
    assert mail["To"] == "coach@demo.example"
    assert mail["X-Tendril-Test"] == f"{step.sequence_id}/welcome"
    assert mail["Message-ID"] == answer.result["message_id"]
    assert mail["List-Unsubscribe"] is None
    assert mail["Reply-To"] == "grace@sender.example"
    html = mail.get_body(("html",))
    assert html is not None
    assert 'href="https://example.com/a"' in html.get_content()
    assert "/t/" not in html.get_content()
    assert kept == [real.dispatch_id]
    assert world.answers(step) == []


async def test_an_appointment_goes_out_with_an_invitation_that_is_marked_too(
    world: World, requester: Requester
) -> None:
    begins = datetime(2026, 12, 1, 9, tzinfo=UTC)
    content = {"subject": "Come", "text": "See you", "title": "Demo with {{ first_name }}"}
    appointment = Appointment(starts_at=begins, ends_at=begins + timedelta(minutes=30))
    step = dressed(kind="appointment", content=content, appointment=appointment, track_opens=False)
    async with running(world):
        answer = await asked(requester, order(step))
    assert answer.ok, answer.problem
    [test] = world.sink.mails
    mail = email.message_from_bytes(test.content, policy=email.policy.default)
    [calendar] = [part for part in mail.walk() if part.get_content_type() == "text/calendar"]
    assert isinstance(calendar, EmailMessage)
    said = calendar.get_content()
    assert "SUMMARY:[Test] Demo with Ada" in said
    assert "DTSTART:20261201T090000Z" in said


async def test_what_cannot_be_sent_is_answered_with_the_reason(world: World, requester: Requester) -> None:
    cases: list[tuple[Envelope, str, int, list[str]]] = [
        (order(dressed(), old=timedelta(minutes=2)), "not_sent", 503, []),
        (order(dressed(address="nobody")), "invalid", 422, ["to"]),
        (order(dressed(content={"subject": "{{ nickname }}", "html": "<p>x</p>"})), "invalid", 422, ["step_id"]),
    ]
    async with running(world):
        for envelope, code, status, fields in cases:
            answer = await asked(requester, envelope)
            assert answer.problem is not None
            assert (answer.problem.code, answer.problem.status) == (code, status)
            assert [each["field"] for each in answer.problem.errors] == fields
    assert world.sink.mails == []


async def test_a_lost_answer_is_said_and_nothing_is_sent_again(world: World, requester: Requester) -> None:
    world.sink.script.answers["dot"] = "swallow"
    async with running(world):
        answer = await asked(requester, order(dressed()))
    assert answer.problem is not None
    assert (answer.problem.code, answer.problem.status) == ("in_doubt", 503)
    assert len(world.sink.mails) == 1


async def test_a_delivery_that_comes_again_is_not_sent_again(world: World) -> None:
    async with running(world) as service:
        envelope = order(dressed())
        answers: list[Answer] = []

        class Again(Delivery):
            async def reply(self, answer: Answer) -> None:
                answers.append(answer)

        body, content_type = frames.encode([envelope])
        delivery = Again(
            envelopes=[envelope], queue="q", exchange="", routing_key="email", headers={}, message_id="m",
            reply_to="r", correlation_id=None, redelivered=True, body=body, content_type=content_type,
            publisher=world.publisher,
        )  # fmt: skip
        assert is_test(delivery)
        await Prover(service.channels, Files(Store()), "in.example", SystemClock()).handle(delivery)
    [answer] = answers
    assert answer.problem is not None
    assert answer.problem.code == "in_doubt"
    assert world.sink.mails == []
