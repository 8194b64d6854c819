"""The API as it describes itself: whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.gateway.app import create_app, permissions
from services.gateway.description import REFUSALS
from tests.gateway.test_access import FOR_ALL, OPEN


class Api:
    """The description."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = create_app(None).openapi()

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, operations in self.document["paths"].items():
            for method, operation in operations.items():
                yield method.upper(), path, operation


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
