"""Every event version ever stored stays readable.

``samples/<topic>.json`` is the payload of an event as stored; ``samples/hashes.json`` pins each file. A sample is
never changed or
removed: an event that changes shape gets the next version, an upcaster, and a sample of its own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared.events import Event, parse_payload, registered
from shared.events.message import upcast_payload

SAMPLES = Path(__file__).parent / "samples"
HASHES: dict[str, str] = orjson.loads((SAMPLES / "hashes.json").read_bytes())


def holds(kept: Any, stored: Any) -> bool:
    """Is everything that was stored still there? Fields added since, with their defaults, may stand beside it."""
    if isinstance(stored, dict):
        return isinstance(kept, dict) and all(key in kept and holds(kept[key], each) for key, each in stored.items())
    if isinstance(stored, list):
        return isinstance(kept, list) and len(kept) == len(stored) and all(map(holds, kept, stored))
    return bool(kept == stored)


@pytest.mark.parametrize("topic", sorted(HASHES))
def test_a_stored_event_can_be_read(topic: str) -> None:
    stored = (SAMPLES / f"{topic}.json").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == HASHES[topic], "a sample is never changed: make a new version"
    payload = orjson.loads(stored)
    event = parse_payload(topic, payload)
    assert isinstance(event, Event)
    newest, newest_payload = upcast_payload(topic, payload)
    assert newest == event.TOPIC
    read_again = parse_payload(newest, orjson.loads(orjson.dumps(event.model_dump(mode="json"))))
    assert read_again == event
    if newest == topic:
        kept = event.model_dump(mode="json")
        assert holds(kept, newest_payload), "a field was lost in reading"


def test_every_event_has_a_sample_and_every_file_is_pinned() -> None:
    events = {topic for topic, cls in registered().items() if issubclass(cls, Event)}
    assert events - HASHES.keys() == set(), "add samples/<topic>.json and its hash"
    assert {path.stem for path in SAMPLES.glob("*.v*.json")} == HASHES.keys()


def test_a_newer_writers_fields_do_not_stop_an_older_reader() -> None:
    payload = orjson.loads((SAMPLES / "enrollment.completed.v1.json").read_bytes())
    assert parse_payload("enrollment.completed.v1", {**payload, "added_later": 1}).TOPIC == "enrollment.completed.v1"
