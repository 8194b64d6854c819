"""Personal fields: ciphertext on disk, clear to the reader, gone with the key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from shared.events import Envelope, to_cloud_event
from shared.events.lead import LeadCaptured
from shared.events.task import TaskOpened
from shared.ids import new_id
from shared.persistence.eventstore import Effects, EventStore, KeyRow, StaleVersion, WrongMasterKey, open_url
from shared.persistence.eventstore import keys as keys_module
from tests.eventstore.builders import MASTER_KEY, NOW, captured, placed
from tests.eventstore.conftest import Opener


def lead_of(store: EventStore, position: int) -> LeadCaptured:
    [envelope] = store.page(position - 1, 1)
    assert isinstance(envelope, Envelope)
    assert isinstance(envelope.message, LeadCaptured)
    return envelope.message


def test_nothing_personal_lies_on_disk(tmp_path: Path) -> None:
    with closing(open_url(f"sqlite:///{tmp_path}/events.db", master_key=MASTER_KEY)) as store:
        store.append([captured(new_id(), "grace.hopper@example.com")])
        on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert lead_of(store, 1).email == "grace.hopper@example.com"
    assert b"lead.captured.v1" in on_disk
    for personal in (b"grace.hopper", b"Ada", b"budget", "höflich".encode()):
        assert personal not in on_disk


def test_nothing_personal_lies_in_a_row(store: EventStore) -> None:
    store.append([captured(new_id(), "grace.hopper@example.com")])
    with store._recorder.reading() as session:
        [(state,)] = session.rows("SELECT state FROM stored_events")
    assert b"grace.hopper" not in bytes(state)


def test_each_ciphertext_belongs_to_its_place(store: EventStore) -> None:
    lead_id = new_id()
    store.append([captured(lead_id), captured(lead_id, version=2)])
    with store._recorder.reading() as session:
        states = [bytes(state) for (state,) in session.rows("SELECT state FROM stored_events")]
    assert states[0] != states[1]
    assert [lead_of(store, position).custom_fields for position in (1, 2)] == [
        {"budget": 5000, "notes": ["höflich"]}
    ] * 2


def test_erasing_makes_personal_fields_null_everywhere(store: EventStore) -> None:
    lead_id, other = new_id(), new_id()
    store.append([captured(lead_id), captured(other, "other@example.com")])
    assert lead_of(store, 1).email == "ada@example.com"
    store.append([], Effects(keys_gone=[lead_id]))
    assert store.keys.key_of(lead_id) is None
    message = lead_of(store, 1)
    assert (message.email, message.first_name, message.custom_fields) == (None, None, None)
    assert message.occurred_at == NOW
    assert [to_cloud_event(e) for e in store.page(0, 9) if isinstance(e, Envelope)] == store.page_events(0, 9)
    assert store.page_events(0, 1)[0]["data"]["email"] is None
    assert lead_of(store, 2).email == "other@example.com"
    assert store.load(lead_id)[0].message == message


def test_a_late_event_of_an_erased_lead_stores_nothing_personal(store: EventStore) -> None:
    lead_id = new_id()
    store.append([captured(lead_id)], Effects())
    store.append([], Effects(keys_gone=[lead_id]))
    store.append([captured(lead_id, version=2)])
    assert lead_of(store, 2).email is None
    assert store.keys.key_of(lead_id) is None


def test_a_new_key_does_not_bring_the_old_values_back(store: EventStore) -> None:
    lead_id = new_id()
    store.append([captured(lead_id)])
    store.append([], Effects(keys_gone=[lead_id]))
    _, row = store.keys.new_key(lead_id)
    store.append([captured(lead_id, "new@example.com", version=2)], Effects(keys=[row]))
    assert (lead_of(store, 1).email, lead_of(store, 2).email) == (None, "new@example.com")


def test_a_living_key_is_never_replaced(store: EventStore) -> None:
    lead_id = new_id()
    store.append([captured(lead_id)])
    _, row = store.keys.new_key(lead_id)
    with pytest.raises(StaleVersion):
        store.append([], Effects(keys=[row]))
    assert lead_of(store, 1).email == "ada@example.com"


def test_a_key_is_bound_to_its_lead(store: EventStore) -> None:
    key, row = store.keys.new_key(new_id())
    assert len(key) == 32
    with pytest.raises(WrongMasterKey):
        store.append([], Effects(keys=[KeyRow(new_id(), row.wrapped)]))


def test_without_a_lead_nothing_is_personal(store: EventStore) -> None:
    task_id = new_id()
    store.append([placed(TaskOpened(title="Call the bank", due_at=NOW), task_id)])
    [loaded] = store.load(task_id)
    assert loaded.message == TaskOpened(title="Call the bank", due_at=NOW)


def test_the_cache_of_keys_is_bounded(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "MAX_CACHED_KEYS", 3)
    leads = [new_id() for _ in range(5)]
    store.append([captured(lead_id) for lead_id in leads])
    assert len(store.keys._leads) == 3
    assert all(isinstance(e, Envelope) and e.message == captured(e.originator_id).message for e in store.page(0, 9))


@pytest.mark.postgres
def test_an_erasure_is_honoured_by_other_processes(open_shared: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = open_shared(), open_shared()
    lead_id = new_id()
    one.append([captured(lead_id)])
    assert lead_of(other, 1).email == "ada@example.com"
    one.append([], Effects(keys_gone=[lead_id]))
    monkeypatch.setattr(keys_module, "RECHECK_SECONDS", 0.0)
    assert lead_of(other, 1).email is None


@pytest.mark.postgres
def test_organizations_have_one_key_whoever_makes_it(open_shared: Opener) -> None:
    stores = [open_shared() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        hashes = list(pool.map(lambda store: store.hash_identity("new", "email", "x"), stores))
    assert len(set(hashes)) == 1
