from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import Envelope, InvalidMessage, from_cloud_event, to_cloud_event
from shared.events.lead import TagLead

TEXT = st.text(min_size=1, max_size=40)
ENVELOPES = st.builds(
    Envelope,
    id=TEXT,
    message=st.builds(TagLead, lead_id=st.uuids(), add=st.lists(st.text(min_size=1, max_size=8), max_size=3)),
    source=TEXT,
    time=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    organization_id=st.none() | TEXT,
    subject=st.none() | st.uuids(),
    lead_id=st.none() | st.uuids(),
    partition=st.none() | st.integers(0, 15),
    position=st.none() | st.integers(1, 2**53),
    aggregate_version=st.none() | st.integers(1, 2**31),
    traceparent=st.none() | TEXT,
    causation_id=st.none() | TEXT,
    actor=st.none() | TEXT,
)


@given(ENVELOPES)
def test_an_envelope_survives_the_wire(envelope: Envelope) -> None:
    assert from_cloud_event(orjson.loads(orjson.dumps(to_cloud_event(envelope)))) == envelope


@pytest.mark.parametrize("value", [None, [], "x", 5, {}, {"id": "1"}])
def test_what_is_no_cloud_event_is_refused(value: object) -> None:
    with pytest.raises(InvalidMessage):
        from_cloud_event(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "x" * 513),
        ("id", 5),
        ("specversion", "2.0"),
        ("time", "2026-11-20T09:00:00"),
        ("time", 1),
        ("subject", "x"),
        ("leadid", 7),
        ("position", "many"),
        ("data", "text"),
        ("type", ["list"]),
    ],
)
def test_a_wrong_attribute_is_named(field: str, value: object) -> None:
    envelope = Envelope(
        id="1",
        message=TagLead(lead_id=UUID(int=1)),
        source="s",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        organization_id="o",
    )
    with pytest.raises(InvalidMessage) as caught:
        from_cloud_event({**to_cloud_event(envelope), field: value})
    assert caught.value.reasons[0]["field"] == field
