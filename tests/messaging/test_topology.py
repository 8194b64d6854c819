from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import aio_pika
import pytest

from shared.events import Envelope, registered
from shared.events.dispatch import ForgetLead, SettleDispatch, StopOrder
from shared.events.engagement import RecordSignal
from shared.events.enrollment import RecordSent, StepDue
from shared.events.lead import LeadBody, LeadCreated
from shared.events.query import QueryTimers
from shared.messaging import topology
from shared.messaging.errors import TopologyMismatch
from tests.messaging.examples import pause

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


async def test_every_service_may_declare_everything_at_the_same_time(amqp_url: str) -> None:
    async def service() -> None:
        connection = await aio_pika.connect(amqp_url)
        async with connection:
            channel = await connection.channel()
            await topology.declare(channel)
            await topology.declare(channel)

    await asyncio.gather(*(service() for _ in range(4)))
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        for spec in topology.queues():
            await channel.declare_queue(spec.name, passive=True)


async def test_a_queue_with_other_arguments_is_named(amqp_url: str) -> None:
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue("enrollment.bulk", durable=True)
        with pytest.raises(TopologyMismatch, match=r"enrollment\.bulk"):
            await topology.declare(channel)


def test_partition_queues_have_no_delivery_limit_on_any_broker() -> None:
    partition = next(spec for spec in topology.queues() if spec.name == "projector.07")
    assert "x-delivery-limit" not in partition.arguments((3, 10, 8))
    assert "x-delivery-limit" not in partition.arguments((3, 13))
    assert partition.arguments((4, 0))["x-delivery-limit"] == -1
    assert partition.arguments((4, 3, 1))["x-dead-letter-exchange"] == "tendril.dead"


def test_other_queues_give_up_late_and_never_lose_a_dead_letter() -> None:
    for version in ((3, 10, 8), (4, 1)):
        for spec in topology.queues(("sms",)):
            arguments = spec.arguments(version)
            assert arguments["x-queue-type"] == "quorum"
            if spec.name == topology.QUEUE_DEAD:
                assert "x-dead-letter-exchange" not in arguments
                continue
            assert arguments["x-dead-letter-routing-key"] == spec.name
            assert arguments["x-dead-letter-strategy"] == "at-least-once"
            assert arguments["x-overflow"] == "reject-publish"
            if spec.limited:
                assert arguments["x-delivery-limit"] == 50
    assert "dispatcher.sms" in [spec.name for spec in topology.queues(("sms",))]


def test_routing_keys_follow_class_and_topic() -> None:
    sent = RecordSent(enrollment_id=uuid4(), execution=1, attempt=1, dispatch_id=uuid4(), sent_at=NOW)
    cases = [
        (pause().message, "tendril.commands", "command.enrollment.pause"),
        (sent, "tendril.commands", "outcome.record_sent"),
        (
            RecordSignal(enrollment_id=uuid4(), execution=1, signal="clicked", at=NOW),
            "tendril.commands",
            "signal.clicked",
        ),
        (StopOrder(scope="lead", key="k", reason="r", at=NOW), "tendril.stops", "stop.lead"),
        (SettleDispatch(dispatch_id=uuid4(), outcome="sent", by="x"), "tendril.stops", "settle.dispatch"),
        (ForgetLead(lead_id=uuid4()), "tendril.stops", "forget.lead"),
        (
            StepDue(
                sequence_id=uuid4(),
                version=1,
                execution=1,
                attempt=1,
                step_id="a",
                channel="email",
                dispatch_id=uuid4(),
                due_at=NOW,
                valid_until=NOW,
            ),
            "tendril.events",
            "enrollment.step_due.email",
        ),
    ]
    for message, exchange, key in cases:
        envelope = Envelope(id="i", message=message, source="s", time=NOW, organization_id="o")
        assert topology.exchange_of(envelope) == exchange
        assert topology.routing_key_of(envelope) == key


def test_what_a_person_says_of_a_lead_is_an_order_and_what_a_funnel_says_is_none() -> None:
    created = LeadCreated(organization_id="o", lead=LeadBody(email="a@b.example"))
    for actor, place in (
        (None, ("tendril.leads", "lead.created")),
        ("funnel", ("tendril.leads", "lead.created")),
        ("member:1", ("tendril.commands", "command.lead.created")),
        ("api_key:1", ("tendril.commands", "command.lead.created")),
    ):
        envelope = Envelope(id="i", message=created, source="s", time=NOW, organization_id="o", actor=actor)
        assert (topology.exchange_of(envelope), topology.routing_key_of(envelope)) == place


def test_every_query_goes_to_the_queue_of_queries() -> None:
    envelope = Envelope(id="i", message=QueryTimers(), source="s", time=NOW, organization_id=None)
    assert topology.routing_key_of(envelope) == "query.timers"
    assert all(topic.startswith("query.") for topic in registered() if topic.startswith("query"))
