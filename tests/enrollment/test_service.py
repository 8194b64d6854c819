"""The write side as a whole, on a real broker and a real store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from services.gateway.trial_shapes import EnrollmentThen
from shared.clock import SystemClock
from shared.events.definition import SequenceDefinition, Step, Trigger
from shared.events.dispatch import DressedStep
from shared.events.engagement import RecordSignal
from shared.events.enrollment import Enroll, PauseEnrollment, ResumeEnrollment
from shared.events.envelope import Envelope, to_cloud_event
from shared.events.lead import EraseLead, LeadBody, LeadCreated
from shared.events.organization import SetSnippet
from shared.events.query import QueryAggregateEvents, QueryEnrollmentState, QueryEventsPage
from shared.events.sequence import DeactivateSequence, DraftSequence
from shared.events.task import ApproveDraft, EditDraft, OpenTask
from shared.ids import derived_id
from shared.messaging.frames import CLOUD_EVENT
from shared.messaging.topology import bulk_key_of
from tests.enrollment.service import Bench, running_service


def mail(step_id: str, **delay: Any) -> dict[str, Any]:
    return {
        "step_id": step_id,
        "kind": "email",
        "delay": {"amount": 0, "unit": "minutes", **delay},
        "config": {"subject": f"{step_id} {{{{ first_name }}}}", "text": "Hello"},
    }


def dressed(step: Envelope) -> DressedStep:
    assert isinstance(step.message, DressedStep)
    return step.message


@pytest.fixture
async def bench(tmp_path: Path, amqp_url: str) -> AsyncIterator[Bench]:
    async with running_service(tmp_path, amqp_url) as running:
        yield running


async def test_a_lead_runs_through_a_sequence_and_each_automatic_step_costs_two_events(bench: Bench) -> None:
    await bench.sequence([mail("one"), mail("two"), mail("three")])
    await bench.lead(1)
    await bench.until(lambda: "enrollment.completed.v1" in bench.topics())
    counted = Counter(topic for topic in bench.topics() if topic.startswith("enrollment."))
    assert counted == {
        "enrollment.started.v1": 1,
        "enrollment.step_due.v1": 3,
        "enrollment.step_sent.v1": 3,
        "enrollment.completed.v1": 1,
    }
    assert [dressed(step).content["subject"] for step in bench.steps] == [
        f"{each} {{{{ first_name }}}}" for each in ("one", "two", "three")
    ]
    assert dressed(bench.steps[0]).lead["first_name"] == "L1"


async def test_the_same_message_twice_is_answered_alike_and_makes_one_lead(bench: Bench) -> None:
    await bench.sequence([mail("one")])
    await asyncio.gather(*(bench.lead(1, message_id="same") for _ in range(5)), bench.lead(1, message_id="other"))
    await bench.until(lambda: "enrollment.completed.v1" in bench.topics())
    assert Counter(bench.topics())["lead.captured.v1"] == 1
    assert len(bench.steps) == 1


async def test_what_a_person_says_of_a_lead_is_recorded_as_theirs_and_what_a_funnel_says_is_not(bench: Bench) -> None:
    body = LeadBody(email="ada@example.com", first_name="Ada")
    order = LeadCreated(organization_id="demo", funnel_id="import", lead=body)
    await bench.done(order)
    one_of_many = Envelope(
        id="import-1",
        message=order.model_copy(update={"lead": LeadBody(email="bob@example.com")}),
        source="tests",
        time=SystemClock().now(),
        organization_id="demo",
        actor="member:tests",
    )
    for _ in range(2):  # the same row again makes nothing twice
        await bench.publisher.publish("tendril.commands", bulk_key_of(one_of_many), [one_of_many])
    claimed = to_cloud_event(replace(one_of_many, id="import-2", message=named("eve@example.com")))
    await bench.publisher.publish_body(
        "tendril.leads", "lead.created", orjson.dumps(claimed), content_type=CLOUD_EVENT, message_id="import-2"
    )
    await bench.until(lambda: Counter(bench.topics())["lead.captured.v1"] == 3)
    actors = Counter(each["actor"] for each in events(bench) if each["type"] == "lead.captured.v1")
    assert actors == {"member:tests": 2, "funnel": 1}


def named(email: str) -> LeadCreated:
    return LeadCreated(organization_id="demo", lead=LeadBody(email=email))


async def test_a_publishing_is_answered_with_the_place_of_its_sequence_and_not_of_its_funnels(bench: Bench) -> None:
    steps = [Step.model_validate(mail("one"))]
    for number in range(4):  # ids, and so partitions, of all kinds
        definition = SequenceDefinition(name="Test", trigger=Trigger(funnels=[f"site-{number}"]), steps=steps)
        order = DraftSequence(sequence_id=UUID(int=900 + number), definition=definition, activate=True)
        answer = await bench.done(order)
        events = [
            each for each in bench.service.store.page_events(0, 5_000) if each["subject"] == str(order.sequence_id)
        ]
        assert answer.position == f"{events[-1]['partition']}-{events[-1]['position']}"


async def test_a_refused_order_is_answered_with_its_reason_and_again_alike(bench: Bench) -> None:
    order = PauseEnrollment(enrollment_id=UUID(int=7))
    first = await bench.order(order, message_id="refused-1")
    again = await bench.order(order, message_id="refused-1")
    assert not first.ok
    assert first.problem is not None
    assert first.problem.code == "unknown_target"
    assert again == first


async def test_a_pause_asks_for_a_stop_ahead_of_the_log_and_resuming_waits_for_its_answer(bench: Bench) -> None:
    bench.answer_steps = lambda _step: None  # the dispatcher keeps silent
    await bench.sequence([mail("one")])
    await bench.lead(1)
    step = (await bench.until(lambda: bench.steps_of("one")))[0]
    enrollment_id = dressed(step).enrollment_id
    paused = await bench.done(PauseEnrollment(enrollment_id=enrollment_id))
    order = (await bench.until(bench.stop_orders))[0]
    assert (order.scope, order.key) == ("enrollment", str(enrollment_id))
    assert order.before is not None
    assert order.before > step.position
    assert paused.position is not None
    await bench.done(ResumeEnrollment(enrollment_id=enrollment_id))
    state = (await bench.done(QueryEnrollmentState(enrollment_id=enrollment_id))).result
    assert state["waiting_for"]["kind"] == "stop_answer"
    assert len(bench.steps_of("one")) == 1


async def test_the_reader_answers_pages_an_aggregate_and_the_past(bench: Bench) -> None:
    await bench.sequence([mail("one"), mail("later", amount=2, unit="days")])
    await bench.lead(1)
    await bench.until(lambda: "enrollment.step_sent.v1" in bench.topics())
    page = (await bench.done(QueryEventsPage(after=0, limit=3))).result
    assert [event["position"] for event in page["events"]] == [1, 2, 3]
    rest = (await bench.done(QueryEventsPage(after=page["last"], limit=5_000))).result
    assert rest["last"] == rest["end"]
    enrollment_id = dressed(bench.steps[0]).enrollment_id
    events = (await bench.done(QueryAggregateEvents(aggregate_id=enrollment_id))).result["events"]
    assert [event["type"] for event in events] == [
        "enrollment.started.v1",
        "enrollment.step_due.v1",
        "enrollment.step_sent.v1",
    ]
    before = (await bench.done(QueryEnrollmentState(enrollment_id=enrollment_id, version=1))).result
    now = (await bench.done(QueryEnrollmentState(enrollment_id=enrollment_id))).result
    assert (before["counts"]["sent"], now["counts"]["sent"]) == (0, 1)
    assert now["next"]["step_id"] == "later"
    # From the start it would have sent both; from now on only the later one, at the moment it is planned for.
    [later] = now["would_do"]["steps"]
    assert [each["step_id"] for each in before["would_do"]["steps"]] == ["one", "later"]
    assert (later["step_id"], later["at"], later["outcome"]) == ("later", now["next"]["at"], "sends")
    assert (now["would_do"]["ended_by"], later["why"]["rule"]) == ("completed", "delay")
    assert (now["current_step_number"], now["next"]["step_number"], later["step_number"]) == (2, 2, 2)
    assert now["waiting_for"]["why"]["text"].startswith("It waits out its delay. Planned for ")
    assert [each["step_number"] for each in now["executions"]] == [1]
    for answer in (before, now):  # what the API says of it
        EnrollmentThen.model_validate({**answer, "lead_name": "Ada", "sequence_name": "Welcome"})


async def test_a_restart_goes_on_where_it_was_and_publishes_the_same_chain(tmp_path: Path, amqp_url: str) -> None:
    async with running_service(tmp_path, amqp_url) as first:
        await first.sequence([mail("one"), mail("later", amount=2, unit="days")])
        await first.lead(1)
        await first.until(lambda: "enrollment.step_sent.v1" in first.topics())
        count = len(first.topics())
    async with running_service(tmp_path, amqp_url) as second:
        await second.lead(2)
        await second.until(lambda: Counter(second.topics())["enrollment.step_sent.v1"] == 2)
        assert len(second.steps_of("one")) == 1
        assert len(second.topics()) > count


async def test_every_kind_of_step_that_sends_something_is_dressed(bench: Bench) -> None:
    lead = {"phone": "+4915112345678"}
    await bench.done(SetSnippet(name="bye", text="Bye, {{ first_name }}"))
    null = {"channel": "null"}
    start = {"amount": 1, "unit": "days"}
    configs: dict[str, dict[str, Any]] = {
        "webhook": {"url": "https://example.com/hook", "headers": {"X-A": "b"}, "body": '{"x": "{{ first_name }}"}'},
        "sms": {"text": "Hi {{ snippets.bye }}", **null},
        "whatsapp": {"template": {"name": "hello", "language": "de", "parameters": ["{{ first_name }}"]}, **null},
        "appointment": {"subject": "Demo", "text": "x", "title": "Demo", "start": start, **null},
        "note": {"text": "Written to {{ first_name }}"},
        "email_manual": {"subject": "Hi", "text": "Hello", **null},
    }
    steps = [{"step_id": kind, "kind": kind, "config": config} for kind, config in configs.items()]
    await bench.sequence(steps)
    await bench.lead(1, **lead)
    opened = await bench.until(lambda: [e for e in events(bench) if e["type"] == "task.opened.v1"])
    draft = UUID(opened[0]["subject"])
    assert opened[0]["data"]["title"] == "Hi"
    await bench.done(EditDraft(task_id=draft, text="Edited"))
    await bench.done(ApproveDraft(task_id=draft))
    await bench.until(lambda: "enrollment.completed.v1" in bench.topics())
    said = {step.step_id: step for step in map(dressed, bench.steps)}
    assert list(said) == ["webhook", "sms", "whatsapp", "appointment", "email_manual"]
    call = said["webhook"].webhook
    assert call is not None
    assert (call.url, call.method, call.headers) == ("https://example.com/hook", "POST", {"X-A": "b"})
    assert (said["webhook"].address, said["webhook"].address_hash) == (call.url, "")
    assert said["sms"].content == {"text": "Hi Bye, {{ first_name }}"}
    assert said["whatsapp"].template is not None
    assert said["whatsapp"].content == {"parameter_1": "{{ first_name }}"}
    appointment = said["appointment"].appointment
    assert appointment is not None
    assert appointment.ends_at - appointment.starts_at == timedelta(minutes=30)
    assert (said["email_manual"].content["subject"], said["email_manual"].content["text"]) == ("Hi", "Edited")
    [note] = [e for e in events(bench) if e["type"] == "enrollment.note_left.v1"]
    assert note["data"]["text"] == "Written to L1"


def events(bench: Bench) -> list[dict[str, Any]]:
    return bench.service.store.page_events(0, 5_000)


async def test_a_refused_enrolment_is_recorded_once_and_answered_alike(bench: Bench) -> None:
    sequence_id = await bench.sequence([mail("one")])
    await bench.done(DeactivateSequence(sequence_id=sequence_id))
    await bench.lead(1)
    await bench.until(lambda: "lead.not_matched.v1" in bench.topics())
    [captured] = [each for each in bench.service.store.page_events(0, 5_000) if each["type"] == "lead.captured.v1"]
    order = Enroll(lead_id=UUID(captured["subject"]), sequence_id=sequence_id)
    answers = [await bench.order(order, message_id="refused-2") for _ in range(2)]
    for answer in answers:
        assert answer.problem is not None
        assert answer.problem.code == "sequence_not_active"
    assert answers[0].position == answers[1].position is not None
    await bench.until(lambda: "lead.not_enrolled.v1" in bench.topics())
    await bench.lead(2)
    await bench.until(lambda: bench.topics().count("lead.captured.v1") == 2)
    assert bench.topics().count("lead.not_enrolled.v1") == 1


async def test_an_unsubscribe_outlives_the_erasure_of_its_lead(bench: Bench) -> None:
    await bench.sequence([mail("one"), mail("two", amount=1, unit="days")])
    await bench.lead(1)
    await bench.until(lambda: "enrollment.step_sent.v1" in bench.topics())
    [step] = bench.steps
    assert step.lead_id is not None
    enrollment_id, task_id = UUID(str(step.subject)), derived_id("task", "by hand")
    signal = {"enrollment_id": enrollment_id, "execution": 1, "signal": "unsubscribed", "at": step.time}
    await bench.publisher.publish(
        "tendril.commands",
        "signal.frame",
        [
            Envelope(
                id="unsubscribe-1",
                message=RecordSignal.model_validate(signal),
                source="tests",
                time=step.time,
                organization_id=step.organization_id,
                lead_id=step.lead_id,
            )
        ],
    )
    await bench.until(lambda: "lead.unsubscribed.v1" in bench.topics())
    await bench.done(OpenTask(task_id=task_id, lead_id=step.lead_id, title="Ring", due_at=step.time))
    await bench.done(EraseLead(lead_id=step.lead_id))
    assert bench.topics()[-2:] == ["task.withdrawn.v1", "lead.erased.v1"]
    await bench.lead(1, message_id="comes again")
    await bench.until(lambda: "lead.not_matched.v1" in bench.topics())
    assert bench.topics().count("enrollment.started.v1") == 1
