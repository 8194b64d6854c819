from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import InvalidMessage, UnknownTopic
from shared.events.lead import LeadCreated, LeadUpdated
from shared.messaging import frames
from tests.messaging.examples import NOW, pause, tag

ORGANIZATION = {"organization_id": "demo", "lead": {"email": "ada@example.com"}}


def test_one_envelope_travels_alone_and_several_as_a_frame() -> None:
    body, content_type = frames.encode([pause()])
    assert content_type == frames.CLOUD_EVENT
    assert frames.decode(body, content_type) == [pause()]
    body, content_type = frames.encode([pause(), tag(1)])
    assert content_type == frames.CLOUD_EVENTS_BATCH
    assert frames.decode(body, content_type) == [pause(), tag(1)]
    body, content_type = frames.encode([pause()], batch=True)
    assert content_type == frames.CLOUD_EVENTS_BATCH
    assert frames.decode(body, content_type) == [pause()]


def test_one_bad_event_does_not_take_its_frame_along() -> None:
    events = [orjson.loads(frames.encode([tag(n)])[0]) for n in range(3)]
    events[1]["type"] = "lead.unheard_of.v1"
    body, content_type = frames.encode_raw(events)
    good, bad = frames.decode_each(body, content_type)
    assert good == [tag(0), tag(2)]
    assert [member.event["id"] for member in bad] == ["t-1"]
    with pytest.raises(UnknownTopic):
        frames.decode(body, content_type)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[1]", b'"x"', b"null", b"\xff\xfe", b"[" * 5000, b"{}" * 2])
def test_what_is_no_frame_is_refused_with_a_reason(body: bytes) -> None:
    with pytest.raises(InvalidMessage) as caught:
        frames.decode(body, frames.CLOUD_EVENTS_BATCH)
    assert caught.value.reasons[0]["problem"]


def test_other_content_types_and_oversized_bodies_are_refused() -> None:
    with pytest.raises(InvalidMessage, match="content type"):
        frames.decode(b"{}", "text/plain")
    with pytest.raises(InvalidMessage, match="at most"):
        frames.decode(b" " * (frames.MAX_FRAME_BYTES + 1), None)
    with pytest.raises(InvalidMessage, match="at most"):
        frames.decode_inbound(b" " * (frames.MAX_BODY_BYTES + 1), frames.JSON, "lead.created", None, NOW)


@given(st.binary(max_size=200))
def test_no_body_crashes_the_reader(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        frames.decode_inbound(body, frames.JSON, "lead.created", "m", NOW)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_json_is_a_lead_or_an_invalid_message(value: Any) -> None:
    for key in ("lead.created", "lead.updated", "lead.converted", "meeting.booked"):
        try:
            envelope = frames.decode_inbound(orjson.dumps(value), frames.JSON, key, "m", NOW)
        except InvalidMessage as error:
            assert error.reasons  # noqa: PT017 - either outcome is right
        else:
            assert envelope.organization_id


def test_bare_data_takes_its_id_from_the_property() -> None:
    envelope = frames.decode_inbound(orjson.dumps(ORGANIZATION), frames.JSON, "lead.created", "m-1", NOW)
    assert isinstance(envelope.message, LeadCreated)
    assert (envelope.id, envelope.organization_id, envelope.time, envelope.actor) == ("m-1", "demo", NOW, "funnel")
    assert frames.decode_inbound(orjson.dumps(ORGANIZATION), None, "lead.created", None, NOW).id == ""


def test_a_cloud_event_brings_its_own_id_and_may_leave_out_its_time() -> None:
    event = {"specversion": "1.0", "id": "ce-1", "type": "lead.updated.v1", "source": "crm", "data": ORGANIZATION}
    envelope = frames.decode_inbound(orjson.dumps(event), frames.CLOUD_EVENT, "lead.updated", "ignored", NOW)
    assert isinstance(envelope.message, LeadUpdated)
    assert (envelope.id, envelope.time, envelope.message.occurred_at) == ("ce-1", NOW, None)
    happened = datetime(2026, 11, 19, 10, tzinfo=UTC)
    event["time"] = (happened + timedelta()).isoformat()
    envelope = frames.decode_inbound(orjson.dumps(event), None, "lead.updated", None, NOW)
    assert isinstance(envelope.message, LeadUpdated)
    assert (envelope.time, envelope.message.occurred_at) == (NOW, happened)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "lead.created.v1"}, "type"),
        ({"type": "lead.never.v1"}, "type"),
        ({"organizationid": "other"}, "organizationid"),
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"data": []}, "data"),
        ({"time": "yesterday"}, "time"),
    ],
)
def test_a_cloud_event_that_does_not_fit_says_where(change: dict[str, Any], field: str) -> None:
    event = {
        "specversion": "1.0",
        "id": "1",
        "type": "lead.updated.v1",
        "source": "crm",
        "data": ORGANIZATION,
        **change,
    }
    with pytest.raises(InvalidMessage) as caught:
        frames.decode_inbound(orjson.dumps(event), frames.CLOUD_EVENT, "lead.updated", None, NOW)
    assert caught.value.reasons[0]["field"] == field


def test_reasons_name_every_field() -> None:
    body = {"organization_id": "Not A Slug", "lead": {"email": 5, "score": 200}}
    with pytest.raises(InvalidMessage) as caught:
        frames.decode_inbound(orjson.dumps(body), frames.JSON, "lead.created", "m-9", NOW)
    assert {reason["field"] for reason in caught.value.reasons} >= {"organization_id", "lead.email", "lead.score"}
    assert caught.value.message_id == "m-9"


def test_an_unknown_routing_key_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="routing key"):
        frames.decode_inbound(orjson.dumps(ORGANIZATION), frames.JSON, "lead.deleted", None, NOW)
