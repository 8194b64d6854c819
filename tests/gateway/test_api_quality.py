"""The API as it describes itself: whole, true, and safe against what its own description lets one make."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from services.gateway.app import create_app, permissions
from services.gateway.description import REFUSALS
from services.gateway.examples import example_of
from services.gateway.filters import EnrollmentFilter, LeadFilter
from services.gateway.routes.bulks import PERMISSION_OF_KIND
from shared.events.bulk import BULK_KINDS
from tests.gateway.in_process import InProcess, asked_by
from tests.gateway.test_access import FOR_ALL, OPEN
from tests.gateway.wrong_bodies import WrongBodies


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
#: Its fields are a funnel's own, and its answers made for browsers: see ``test_forms``.
A_FORM = "/api/v1/forms/{form_key}"
BULKS = "/api/v1/bulks"


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


async def test_every_field_of_every_body_sent_wrong_is_named_and_changes_nothing(gateway: InProcess) -> None:
    """At every level, in lists, maps and each form of what has several: of wrong type, out of bounds, unknown."""
    tried = 0
    wrong_bodies = WrongBodies(API.schemas)
    for method, path, media in API.bodies():
        if path == A_FORM:
            continue
        for body, places in wrong_bodies.of(media["schema"]):
            tried += await refused(gateway, method, path, body, {place.removeprefix(".") or "body" for place in places})
    assert tried > 10_000
    assert gateway.requester.ordered == []
    assert gateway.written == []


@pytest.mark.parametrize("kind", PERMISSION_OF_KIND)
async def test_every_field_of_a_bulks_order_and_filter_sent_wrong_is_named(gateway: InProcess, kind: str) -> None:
    """They are judged by the bulk's kind, which the description does not know."""
    known = BULK_KINDS[kind]
    command = known.command.model_json_schema()
    asked = {name: of for name, of in command["properties"].items() if name != known.target}
    required = [name for name in command.get("required", ()) if name != known.target]
    order_schema = {**command, "properties": asked, "required": required}
    tried = 0
    for order, places in WrongBodies(command.get("$defs", {})).of(order_schema):
        if isinstance(order, dict):
            body = {"kind": kind, "order": order, "targets": {"ids": []}}
            tried += await refused(gateway, "POST", BULKS, body, {f"order{place}" for place in places})
    filter_schema = (LeadFilter if known.target == "lead_id" else EnrollmentFilter).model_json_schema()
    good = example_of(order_schema, command.get("$defs", {})) if required else {}
    for chosen, places in WrongBodies(filter_schema.get("$defs", {})).of(filter_schema):
        body = {"kind": kind, "order": good, "targets": {"filter": chosen}}
        tried += await refused(gateway, "POST", BULKS, body, {f"targets.filter{place}" for place in places})
    assert tried > 5
    assert gateway.requester.ordered == []


async def refused(gateway: InProcess, method: str, path: str, body: Any, wanted: set[str]) -> int:
    """The answer is a problem document that names each of these places, in words of our own; how many they were."""
    url = path.format_map(gateway.domain.ids)
    answer = await gateway.http.request(method, url, json=body, headers=asked_by("demo"))
    API.check(method, path, answer)
    where = f"{method} {path} {answer.status_code} {answer.text[:300]}"
    assert answer.status_code == 422, where
    assert sorted(wanted - {error["field"] for error in answer.json()["errors"]}) == [], where
    assert "Value error" not in answer.text, where
    return len(wanted)
