"""The API's description of itself, made whole: what each route answers when it refuses, an example for every body, and
the permission it asks for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI

from services.gateway.examples import add_examples
from services.gateway.problems import MEDIA_TYPE
from services.gateway.shapes import Problem

#: Status -> title, an example's code, and when it is answered.
REFUSALS: dict[int, tuple[str, str, str]] = {
    400: ("Bad request", "bad_cursor", "The request cannot be read."),
    401: ("Not signed in", "not_signed_in", "No token or key, or one that does not hold any more."),
    403: ("Not allowed", "forbidden", "Signed in, but without the permission this needs."),
    404: ("Not found", "not_found", "There is no such thing in this organization."),
    409: ("Conflict", "conflict", "The state does not allow it, or the view is behind `min_position`."),
    413: ("Content Too Large", "too_large", "The body is longer than 1 MiB, a file longer than may be."),
    422: ("Invalid", "invalid", "A field does not hold; `errors` names each."),
    429: ("Too many requests", "too_many", "Too many tries; `Retry-After` says when to come again."),
    503: (
        "Temporarily unavailable",
        "broker_away",
        "The broker or a database is away; see `Retry-After`.",
    ),
}
_LATER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}

Asked = dict[tuple[str, str], str | None]


def describe(app: FastAPI, permissions: Iterable[tuple[str, str, str | None]]) -> None:
    """Makes ``app.openapi`` answer the whole description. ``permissions``: method, path, permission of each route."""
    make = app.openapi
    asked: Asked = {(method, path): permission for method, path, permission in permissions}

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            _add_problem(document)
            _add_refusals(document, asked)
            add_examples(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to change the document


def _add_problem(document: dict[str, Any]) -> None:
    """Every refusal is such a document, validation errors too."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas["Problem"] = schema
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["components"]["responses"] = {
        f"Refusal{status}": _refusal(status, *said) for status, said in REFUSALS.items()
    }


def _refusal(status: int, title: str, code: str, when: str) -> dict[str, Any]:
    example = {
        "type": f"urn:tendril:problem:{code}",
        "title": title,
        "status": status,
        "detail": when,
        "code": code,
        "errors": [{"field": "email", "problem": "must be an e-mail address"}] if status == 422 else [],
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}
    return {"description": when, "content": content, **({"headers": _LATER} if status in {429, 503} else {})}


def _add_refusals(document: dict[str, Any], asked: Asked) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            permission = asked.get((method.upper(), path))
            operation["summary"] = _first_sentence(operation.get("description") or operation["summary"])
            if permission is not None:
                operation["x-permission"] = permission
            responses = operation["responses"]
            responses.pop("422", None)
            for status in refusals_of(method.upper(), path, operation, permission):
                responses.setdefault(str(status), {"$ref": f"#/components/responses/Refusal{status}"})


def refusals_of(method: str, path: str, operation: dict[str, Any], permission: str | None) -> set[int]:
    """The statuses with which a route may refuse."""
    found = {503}
    if operation.get("security"):
        found |= {401}
    if permission is not None:
        found |= {400, 403, 404, 409, 422}
    if operation.get("requestBody") or operation.get("parameters"):
        found |= {400, 422}
    if operation.get("requestBody"):
        found |= {413}
    if "/auth/" in path and method == "POST":
        found |= {401, 429}
    if "/forms/" in path:
        found |= {403, 404, 429}
    return found


def _first_sentence(text: str) -> str:
    """Of a docstring: up to its first full stop or colon, on one line."""
    line = " ".join(text.split())
    ends = [end for mark in (". ", "; ", ": ") if (end := line.find(mark)) > 0 and "(" not in line[:end]]
    return (line[: min(ends)] if ends else line.rstrip(".")).replace("``", "`")
