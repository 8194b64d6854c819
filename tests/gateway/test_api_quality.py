"""The API as it describes itself: whole, true, and safe against what its own description lets one make."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from services.gateway.app import create_app, permissions
from services.gateway.description import REFUSALS
from tests.gateway.in_process import InProcess, asked_by
from tests.gateway.test_access import FOR_ALL, OPEN


class Api:
    """The description, and requests that must be as described."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = create_app(None).openapi()
        self.schemas: dict[str, Any] = self.document["components"]["schemas"]

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, operations in self.document["paths"].items():
            for method, operation in operations.items():
                yield method.upper(), path, operation

    def bodies(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Method, path and media of every JSON body."""
        for method, path, operation in self.operations():
            media = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if media is not None:
                yield method, path, media

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Without references, and of several forms the first that is not null."""
        while "$ref" in schema or "anyOf" in schema:
            if "$ref" in schema:
                schema = self.schemas[schema["$ref"].rpartition("/")[2]]
            else:
                schema = next(each for each in schema["anyOf"] if each.get("type") != "null")
        return schema

    def check(self, method: str, path: str, answer: httpx.Response) -> None:
        """The status is one that the route names, and every refusal a problem document."""
        said = self.document["paths"][path][method.lower()]["responses"]
        where = f"{method} {path} {answer.status_code} {answer.text[:300]}"
        assert str(answer.status_code) in said, f"not described: {where}"
        assert answer.status_code < 500, where
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", where
            problem = answer.json()
            assert problem["status"] == answer.status_code
            assert problem["type"] == f"urn:tendril:problem:{problem['code']}"
            if problem["code"] == "invalid":
                assert problem["errors"], where
                assert all(each["field"] and each["problem"] for each in problem["errors"]), where


API = Api()


def test_every_operation_says_what_it_does_and_how_it_refuses() -> None:
    names = Counter(operation["operationId"] for _, _, operation in API.operations())
    assert [name for name, times in names.items() if times > 1] == []
    asked = {(method, path): permission for method, path, permission in permissions(create_app(None))}
    for method, path, operation in API.operations():
        where = f"{method} {path}"
        assert operation.get("description"), where
        assert 3 <= len(operation["summary"]) <= 120, where
        assert operation.get("tags"), where
        if path not in OPEN | FOR_ALL:
            assert operation["x-permission"] == asked[method, path]
            assert {"400", "401", "403", "404", "409", "422", "503"} <= operation["responses"].keys(), where
        for status, response in operation["responses"].items():
            if status.isdecimal() and int(status) >= 400:
                assert response == {"$ref": f"#/components/responses/Refusal{status}"}, where
    assert {f"Refusal{status}" for status in REFUSALS} == API.document["components"]["responses"].keys()


def test_every_body_has_an_example() -> None:
    for method, path, operation in API.operations():
        for media in operation.get("requestBody", {}).get("content", {}).values():
            assert media.get("example"), f"{method} {path}: write one in services/gateway/examples.py"


@pytest.fixture
async def gateway() -> AsyncIterator[InProcess]:
    made = InProcess()
    yield made
    await made.http.aclose()


async def test_every_example_is_taken(gateway: InProcess) -> None:
    """By the gateway, and by the domain as far as what it names exists."""
    refused = []
    for method, path, media in API.bodies():
        url = path.format_map(gateway.domain.ids)
        answer = await gateway.http.request(method, url, json=media["example"], headers=asked_by("demo"))
        API.check(method, path, answer)
        at_the_door = answer.status_code in {400, 401, 403} or (
            answer.status_code == 422 and answer.json()["code"] == "invalid"
        )
        if path not in OPEN and at_the_door:
            refused.append(f"{method} {path}: {answer.text}")
    assert refused == []


async def test_orders_of_another_organization_find_nothing_and_change_nothing(gateway: InProcess) -> None:
    """Every order, with what is ours in its path and a good body."""
    before = len(gateway.domain.world.log)
    theirs = asked_by("other")
    tried, reached = 0, []
    for method, path, operation in API.operations():
        if method == "GET" or path in OPEN:
            continue
        media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        answer = await gateway.http.request(
            method, path.format_map(gateway.domain.ids), json=media.get("example"), headers=theirs
        )
        API.check(method, path, answer)
        for word in ("lead_id", "sequence_id", "enrollment_id", "task_id", "draft_id", "message_id"):
            if f"{{{word}}}" in path:
                tried += 1
                if answer.status_code != 404:
                    reached.append(f"{method} {path} {answer.status_code} {answer.text}")
    assert reached == []
    assert tried > 30
    assert [change.event for change in gateway.domain.world.log[before:] if change.organization_id == "demo"] == []


async def test_a_wrong_field_of_any_body_is_named_and_nothing_is_ordered(gateway: InProcess) -> None:
    """Also those within: of wrong type, out of bounds, too long, and unknown."""
    tried, passed = 0, []
    for method, path, media in API.bodies():
        url = path.format_map(gateway.domain.ids)
        for field, body in wrong_bodies(media["schema"], media["example"]):
            answer = await gateway.http.request(method, url, json=body, headers=asked_by("demo"))
            where = f"{method} {path} {field} {str(body)[:120]} {answer.status_code} {answer.text[:300]}"
            API.check(method, path, answer)
            named = [_plain(error["field"]) for error in answer.json().get("errors", ())]
            about = [_plain(field), _plain(field.rpartition(".")[0])]
            if answer.status_code != 422 or not any(each.startswith(about[0]) or each == about[1] for each in named):
                passed.append(where)
            tried += 1
    assert passed == []
    assert tried > 300
    assert [each.topic for each in gateway.requester.ordered] == []


def _plain(field: str) -> str:
    """A field's path without what tells the forms of a union apart, and without a step's id for its place."""
    return ".".join(part for part in field.split(".") if part.isdecimal() or part.islower())


def wrong_bodies(schema: dict[str, Any], example: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """A field's path, and the example with that field wrong."""
    schema = API.resolved(schema)
    if schema.get("type") != "object" or not isinstance(example, dict):
        return
    for name, of in schema.get("properties", {}).items():
        path, inner = f"{where}{name}", API.resolved(of)
        several = len([each for each in of.get("anyOf", ()) if each.get("type") != "null"]) > 1
        for wrong in () if several else wrong_values(inner):
            yield path, {**example, name: wrong}
        for field, body in wrong_bodies(inner, example.get(name), f"{path}."):
            yield field, {**example, name: body}
    if schema.get("additionalProperties") is False:
        yield f"{where}no_such_field", {**example, "no_such_field": 1}


def wrong_values(schema: dict[str, Any]) -> Iterator[Any]:
    """What a schema does not allow, as far as its own words say."""
    match schema.get("type"):
        case "string":
            yield {"a": 1}
            if "maxLength" in schema:
                yield "x" * (schema["maxLength"] + 1)
            if schema.get("minLength"):
                yield ""
            if "enum" in schema or schema.get("format") in {"uuid", "date-time", "email"} or "pattern" in schema:
                yield "§ none of these"
            if schema.get("format") == "date-time":
                yield "2026-01-01T00:00:00"
        case "integer" | "number":
            yield "many"
            yield from (schema[bound] + by for bound, by in (("minimum", -1), ("maximum", 1)) if bound in schema)
        case "boolean":
            yield "perhaps"
        case "array":
            yield {"a": 1}
            if "maxItems" in schema and schema["maxItems"] <= 1_000:
                yield [None] * (schema["maxItems"] + 1)
        case "object":
            yield [1]
