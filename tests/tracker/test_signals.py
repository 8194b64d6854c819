"""A hit is made without models for speed: what it becomes on the wire must be what the models say."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.tracker.machine import PERSON, Verdict
from services.tracker.signals import MAX_CLIENT, Hit, hit_record
from shared.events import from_cloud_event
from shared.events.engagement import RecordSignal
from shared.messaging.topology import exchange_of, routing_key_of
from shared.tokens import LinkClaims

NOW = datetime(2026, 3, 2, 9, 30, 15, 250, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_CLIENT + 10)


@given(
    kind=st.sampled_from(["open", "click"]),
    execution=st.integers(1, 70_000),
    lead_id=st.uuids(),
    enrollment_id=st.uuids(),
    target=TEXT,
    client=st.none() | TEXT,
    verdict=st.sampled_from([PERSON, Verdict(0.95, "crawler"), Verdict(0.3, "no_accept_language")]),
    count=st.integers(1, 1_000),
)
def test_a_hit_on_the_wire_reads_as_the_signal_it_means(
    kind: str,
    execution: int,
    lead_id: UUID,
    enrollment_id: UUID,
    target: str,
    client: str | None,
    verdict: Verdict,
    count: int,
) -> None:
    click = kind == "click"
    claims = LinkClaims(
        organization_id="demo",
        lead_id=lead_id,
        enrollment_id=enrollment_id,
        execution=execution,
        channel="email",
        kind="click" if click else "open",
        target=target if click else None,
    )
    record = hit_record(Hit(claims, NOW, verdict, client), source="link" if click else "pixel", count=count)
    envelope = from_cloud_event(record.event)
    assert envelope.message == RecordSignal(
        enrollment_id=enrollment_id,
        execution=execution,
        channel="email",
        signal="clicked" if click else "opened",
        at=NOW,
        link=target if click else None,
        machine=verdict.confidence,
        machine_reason=verdict.reason,
        client=client[:MAX_CLIENT] if client else None,
        source="link" if click else "pixel",
        count=count,
    )
    assert (envelope.organization_id, envelope.lead_id, envelope.time) == ("demo", lead_id, NOW)
    assert (record.exchange, record.routing_key) == (exchange_of(envelope), routing_key_of(envelope))
