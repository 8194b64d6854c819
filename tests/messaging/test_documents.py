from __future__ import annotations

from pathlib import Path

import jsonschema
import orjson

from shared.events import Event, registered
from shared.messaging.asyncapi import SCHEMAS, documents, schema_of

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests/events/samples"


def test_the_generated_documents_are_up_to_date() -> None:
    content = dict(documents())
    stale = [str(path) for path, body in content.items() if (ROOT / path).read_bytes() != body]
    left_over = [path.name for path in (ROOT / SCHEMAS).glob("*.json") if path.relative_to(ROOT) not in content]
    assert (stale, left_over) == ([], []), "run `make docs`"


def test_they_are_the_same_at_every_run() -> None:
    assert dict(documents()) == dict(documents())


def test_every_schema_takes_the_stored_sample_of_its_event() -> None:
    for topic, cls in registered().items():
        schema = schema_of(cls)
        jsonschema.Draft202012Validator.check_schema(schema)
        if issubclass(cls, Event):
            jsonschema.validate(orjson.loads((SAMPLES / f"{topic}.json").read_bytes()), schema)
