"""The log as it is read: envelopes, CloudEvents, and what cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Thread
from time import monotonic
from uuid import uuid4

import orjson
import pytest

from shared.events import Envelope, to_cloud_event
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import EnrollmentActivated, EnrollmentCompleted
from shared.events.sequence import SequenceDrafted
from shared.ids import new_id, partition_of
from shared.persistence.eventstore import (
    Effects,
    EventStore,
    FigureRow,
    InboxRow,
    QuotaTake,
    RelayState,
    UnreadableEvent,
    UnreadableLog,
)
from shared.persistence.eventstore.tables.session import Session
from tests.eventstore.builders import NOW, activated, captured, completed, placed


def test_what_is_loaded_is_what_was_appended(store: EventStore) -> None:
    aggregate_id, lead_id = new_id(), new_id()
    given = [activated(aggregate_id), captured(lead_id), replace(completed(aggregate_id, 2), id="given-id", actor=None)]
    positions = store.append(given)
    loaded = store.load(aggregate_id)
    assert [envelope.message for envelope in loaded] == [given[0].message, given[2].message]
    assert loaded[0].id == f"{aggregate_id.hex}-1"
    assert loaded[1] == replace(given[2], position=positions[2], partition=partition_of(aggregate_id))
    assert store.load_many([lead_id, aggregate_id]) == {lead_id: store.load(lead_id), aggregate_id: loaded}
    assert store.load(aggregate_id, after_version=1) == loaded[1:]
    assert store.load(aggregate_id, up_to_version=1) == loaded[:1]
    assert store.load(aggregate_id, limit=1) == loaded[:1]
    some = store.load_many([lead_id, aggregate_id], topics={EnrollmentCompleted.TOPIC})
    assert some == {lead_id: [], aggregate_id: loaded[1:]}
    nobody = uuid4()
    assert store.load(nobody) == []
    assert store.load_many([nobody]) == {nobody: []}
    assert store.versions_of([aggregate_id, nobody]) == {aggregate_id: 2, nobody: 0}


def test_a_page_of_cloud_events_equals_the_page_of_envelopes(store: EventStore) -> None:
    aggregate_id, lead_id = new_id(), new_id()
    store.append([activated(aggregate_id), captured(lead_id), completed(aggregate_id, 2)])
    page = store.page(0, 10)
    assert [to_cloud_event(e) for e in page if isinstance(e, Envelope)] == store.page_events(0, 10)
    assert [event["position"] for event in store.page_events(1, 1)] == [2]
    assert [event["position"] for event in store.page_events(0, 10, 2)] == [1, 2]
    assert store.page_events(3, 10) == []
    assert store.page_events(0, 10, up_to=0) == []
    topics = (EnrollmentCompleted.TOPIC, EnrollmentActivated.TOPIC)
    assert [event["position"] for event in store.page_events(0, 10, topics=topics)] == [1, 3]
    assert [event["position"] for event in store.page_events(0, 10, 2, topics=topics[1:])] == [1]


def test_a_definition_with_its_aliases_comes_back(store: EventStore) -> None:
    definition = SequenceDefinition.model_validate(
        {
            "name": "Aliases",
            "steps": [
                {
                    "kind": "condition",
                    "step_id": "if",
                    "delay": {"amount": 1, "unit": "days", "from": "enrollment"},
                    "config": {"when": {"not": {"has_tag": "x"}}},
                    "else": [{"kind": "exit", "step_id": "out"}],
                }
            ],
        }
    )
    sequence_id = new_id()
    event = SequenceDrafted(definition=definition)
    store.append([placed(event, sequence_id)])
    [loaded] = store.load(sequence_id)
    assert loaded.message == event
    assert store.page_events(0, 1) == [to_cloud_event(loaded)]


def spoil(store: EventStore, change: Callable[[Session], object]) -> None:
    """Changes the log behind the store's back."""
    with store._recorder.writing() as session:
        change(session)


@pytest.mark.parametrize("damage", ["not json", "unknown topic", "invalid", "ciphertext"])
def test_an_unreadable_event_does_not_stop_a_page(store: EventStore, damage: str) -> None:
    first, broken, last = new_id(), new_id(), new_id()
    store.append([activated(first), captured(broken), activated(last)])

    def change(session: Session) -> None:
        stored = orjson.loads(session.rows("SELECT state FROM stored_events WHERE notification_id = 2")[0][0])
        match damage:
            case "unknown topic":
                session.run("UPDATE stored_events SET topic = 'lead.gone_wild.v9' WHERE notification_id = 2")
                return
            case "not json":
                state = b"\xff{"
            case "invalid":
                stored["d"]["occurred_at"] = "never"
                state = orjson.dumps(stored)
            case _:
                stored["d"]["email"] = stored["d"]["first_name"]
                state = orjson.dumps(stored)
        session.run("UPDATE stored_events SET state = ? WHERE notification_id = 2", (state,))

    spoil(store, change)
    found = store.page(0, 10)
    assert [type(event) for event in found] == [Envelope, UnreadableEvent, Envelope]
    raw = store.page_events(0, 10)
    assert [event["position"] for event in raw] == [1, 2, 3]
    assert raw[1]["subject"] == str(broken)
    assert ("unreadable" in raw[1]) == (damage != "invalid")
    assert damage == "invalid" or "Ada" not in orjson.dumps(raw[1]).decode()
    with pytest.raises(UnreadableLog):
        store.load(broken)


def test_waiting_ends_with_an_append(store: EventStore) -> None:
    assert not store.wait_for_events(0, 0.01)
    told: list[bool] = []
    waiting = Thread(target=lambda: told.append(store.wait_for_events(0, 20)))
    waiting.start()
    store.append([activated(new_id())])
    waiting.join(30)
    assert told == [True]
    assert store.wait_for_events(0, 0)


def test_waiting_ends_when_the_store_is_closed(store: EventStore) -> None:
    began = monotonic()
    waiting = Thread(target=lambda: store.wait_for_events(0, 60))
    waiting.start()
    store.close()
    waiting.join(30)
    assert not waiting.is_alive()
    assert monotonic() - began < 30


def test_the_relay_never_goes_back(store: EventStore) -> None:
    assert store.relay_position() == RelayState(0, {})
    assert store.save_relay(RelayState(5, {0: 5, 15: 4}))
    assert not store.save_relay(RelayState(4, {0: 4}))
    assert store.relay_position() == RelayState(5, {0: 5, 15: 4})


def test_old_inbox_rows_and_quota_slots_go(store: EventStore) -> None:
    store.append(
        [activated(new_id())], Effects(inbox=[InboxRow("demo", "x", "old", b"{}"), InboxRow("demo", "x", "new", b"{}")])
    )
    slots = [
        ("o", f"{unit}:2026-11-{day}{tail}") for unit, tail in (("day", ""), ("minute", "T10:00")) for day in (17, 19)
    ]
    store.append([], Effects(quotas=[QuotaTake("demo", scope, slot, 9) for scope, slot in slots]))
    spoil(store, lambda session: session.run("UPDATE inbox SET at = 0 WHERE message_id = 'old'"))
    assert store.prune(inbox_days=1) == 3
    assert [key.message_id for key in store.inbox([("demo", "x", "old"), ("demo", "x", "new")])] == ["new"]
    assert {slot: used for (_, slot), used in store.quota_used("demo", slots).items() if used} == {
        "day:2026-11-19": 1,
        "minute:2026-11-19T10:00": 1,
    }


def test_what_brakes_have_counted_goes_when_none_looks_back_on_it(store: EventStore) -> None:
    store.append([activated(new_id())])
    hour = int(NOW.timestamp()) // 3_600
    rows = [("brake:sequence:1:0", hour - 201), ("brake:sequence:1:0", hour - 167), ("other", hour - 201)]
    store.append([], Effects(figures=[FigureRow("demo", kind, f"{at}:sent", 1) for kind, at in rows]))
    assert store.prune() == 1
    assert store.figures("demo", "brake:sequence:1:0") == {f"{hour - 167}:sent": 1}
    assert store.figures("demo", "other") == {f"{hour - 201}:sent": 1}


def test_hashes_differ_by_organization_kind_and_value(store: EventStore) -> None:
    hashes = {store.hash_identity(o, kind, value) for o in "ab" for kind in ("email", "phone") for value in ("x", "y")}
    hashes |= {store.hash_address("a", channel, "x") for channel in ("email", "sms")}
    assert len(hashes) == 10
    assert store.hash_identity("a", "email", "x") == store.hash_identity("a", "email", "x")
    assert store.organizations() == []
