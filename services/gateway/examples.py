"""Examples of bodies for the API's description: written by hand where one says more, else made from the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
_LATER = "2030-12-03T10:00:00Z"
_SEQUENCE = {
    "name": "Webinar follow-up",
    "category": "nurture",
    "audience": "webinar visitors",
    "settings": {"stop_on": ["reply", "meeting_booked", "conversion", "unsubscribe", "bounce"], "skip_weekends": True},
    "steps": [
        {
            "step_id": "welcome",
            "kind": "email",
            "name": "Welcome",
            "config": {
                "subject": "Hi {{ first_name | default: 'there' }}",
                "html": '<p>Look at <a href="https://example.com/a">this</a>.</p>',
            },
        },
        {
            "step_id": "call",
            "kind": "call",
            "delay": {"amount": 2, "unit": "days"},
            "config": {"title": "Call {{ first_name | default: 'the lead' }}"},
        },
    ],
}
#: By the name of the body's schema.
WRITTEN: Mapping[str, Any] = {
    "Body_auth_token": {"username": "ada@example.com", "password": "correct horse"},
    "SequenceDefinition": _SEQUENCE,
    "NewLead": {
        "funnel_id": "spring-webinar",
        "lead": {"email": "ada@example.com", "first_name": "Ada", "score": 42, "consent": {"email": True}},
    },
    "LeadBody": {"phone": "+4915112345678", "timezone": "Europe/Berlin", "status": "Qualified"},
    "Tags": {"add": ["vip"], "remove": ["new"]},
    "Score": {"add": 10, "why": "met at the fair"},
    "Conversion": {"value": 1200, "currency": "EUR"},
    "Call": {"outcome": "interested", "duration_seconds": 240, "note": "Wants a quote"},
    "Meeting": {"at": _LATER, "place": "Office", "attendees": ["Ada Byron"], "duration_minutes": 30},
    "Email": {"direction": "inbound", "subject": "Re: your offer", "body": "Yes, please", "to": ["coach@example.com"]},
    "NewNote": {"text": "Likes tea", "metadata": {"crm_id": 991}},
    "Reading": {"through": "2026-11-20T09:00:00Z"},
    "NewApiKey": {"name": "crm", "role": "operator", "scopes": ["leads:read", "leads:write"]},
    "MemberChange": {"role": "coach"},
    "OrganizationChange": {"timezone": "Europe/Berlin", "postal_address": "Example Ltd, 1 Main Street, Berlin"},
    "Suppression": {"address": "@example.org", "channel": "email"},
    "NewBulk": {"kind": "pause", "targets": {"filter": {"sequence_id": _ID}}},
    "BulkEnrollment": {"sequence_id": _ID, "filter": {"tag": "vip"}},
    "CalendarChange": {"holidays": "DE"},
    "OneMessage": {"step_id": "welcome", "lead": {"email": "ada@example.com"}},
    "SendingTest": {"step_id": "welcome", "to": "ada@example.com", "lead": {"first_name": "Ada"}},
    "NewSnippet": {"name": "address", "text": "Example Ltd, 1 Main Street, Berlin"},
    "NewForm": {"origins": ["https://www.example.com"]},
    "Trial": {"lead": {"email": "ada@example.com"}, "signals": [{"signal": "opened", "step": "welcome"}]},
    "SequenceChanges": {"name": "Webinar follow-up, shorter"},
    "Definition": _SEQUENCE,
}
#: Texts by the name of their field.
_TEXTS = {
    "email": "ada@example.com",
    "address": "ada@example.com",
    "phone": "+4915112345678",
    "timezone": "Europe/Berlin",
    "locale": "de",
    "currency": "EUR",
    "title": "Call Ada",
    "name": "Example",
    "note": "Wants a quote",
    "feedback": "Shorten the second mail.",
    "url": "https://example.com",
    "subject": "Hello",
    "text": "Hello Ada",
    "html": "<p>Hello Ada</p>",
    "start": "09:00",
    "end": "17:00",
    "kind": "email",
    "step_id": "welcome",
}
_BY_FORMAT = {
    "uuid": _ID,
    "date-time": _LATER,
    "date": "2026-12-24",
    "time": "09:00:00",
    "email": "ada@example.com",
    "uri": "https://example.com",
}
_DEEPEST = 6


def add_examples(document: dict[str, Any]) -> None:
    """Gives every body of an OpenAPI document an ``example``, where it has none."""
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        for operation in path.values():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                if "example" not in media and "examples" not in media:
                    media["example"] = example_of(media["schema"], schemas)


def example_of(schema: Schema, schemas: Schema, name: str = "", depth: int = 0) -> Any:
    """A value that a schema allows: what it requires, or the first of what it knows when it requires nothing."""
    if reference := schema.get("$ref"):
        called = str(reference).rpartition("/")[2]
        if called in WRITTEN:
            return WRITTEN[called]
        return example_of(schemas[called], schemas, name, depth + 1)
    if schema.get("title") in WRITTEN and schema.get("type") == "object" and "properties" not in schema:
        return WRITTEN[schema["title"]]
    for given in ("examples", "example", "const", "enum"):
        if given in schema:
            value = schema[given]
            return value[0] if given in {"examples", "enum"} else value
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return example_of(_first_real(schema[several]), schemas, name, depth + 1)
    return _made(schema, schemas, name, depth)


def _first_real(options: list[Schema]) -> Schema:
    return next((each for each in options if each.get("type") != "null"), options[0])


def _made(schema: Schema, schemas: Schema, name: str, depth: int) -> Any:
    match schema.get("type"):
        case "object":
            return _object(schema, schemas, depth)
        case "array":
            least = int(schema.get("minItems", 0))
            wanted = least or (1 if depth < _DEEPEST else 0)
            items: Schema = schema.get("items") or {}
            return [example_of(items, schemas, name.removesuffix("s"), depth + 1) for _ in range(wanted)]
        case "integer" | "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
            return min(max(low, 1), schema.get("maximum", max(low, 1)))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _text(schema, name)


def _object(schema: Schema, schemas: Schema, depth: int) -> dict[str, Any]:
    properties: Schema = schema.get("properties") or {}
    required = list(schema.get("required") or ())
    names = required or (list(properties)[:1] if depth < _DEEPEST else [])
    return {each: example_of(properties[each], schemas, each, depth + 1) for each in names}


def _text(schema: Schema, name: str) -> str:
    text = _BY_FORMAT.get(schema.get("format", "")) or _TEXTS.get(name) or "example"
    least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", 10_000))
    return text.ljust(least, "x")[:most]
