"""Problem documents (RFC 9457) for everything that goes wrong, and the limit of bodies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.errors import Away, GatewayError, Invalid
from shared.events import InvalidMessage
from shared.events.attachment import LARGEST_ATTACHMENT
from shared.events.places import reasons, reasons_of
from shared.messaging.errors import BrokerAway, MessagingError, PublishUnknown, RequestTimeout
from shared.persistence.mongo import is_unavailable
from shared.persistence.views import BadCursor, UnknownView, ViewBehind

MEDIA_TYPE = "application/problem+json"
MAX_BODY_BYTES = 1 << 20
#: Files may be larger: one of leads is read as a stream; one to attach is held, with what a form puts around it.
FILE_BYTES = {"/api/v1/leads/import": 64 << 20, "/api/v1/attachments": LARGEST_ATTACHMENT + (64 << 10)}

_log = structlog.get_logger(__name__)


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem document as a response."""
    content = {
        "type": f"urn:tendril:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": errors or [],
    }
    return Response(orjson.dumps(content), status, headers, MEDIA_TYPE)


def problem_of(error: GatewayError) -> Response:
    """The document of a refusal."""
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return problem(error.status, error.code, error.title, error.detail, errors=error.errors, headers=headers)


def translated(error: Exception) -> GatewayError | None:  # noqa: PLR0911
    """What an error from below means to a caller; None for a fault of our own."""
    match error:
        case GatewayError():
            return error
        case BrokerAway():
            return Away("the message broker is not there; nothing was sent", code="broker_away")
        case RequestTimeout() | PublishUnknown():
            return Away(
                "no answer in time; it may have been carried out: ask again with the same Idempotency-Key",
                code="no_answer",
            )
        case MessagingError():
            return Away(str(error), code="broker_away")
        case ViewBehind():
            behind = GatewayError(str(error), code="view_behind", retry_after_seconds=1)
            behind.status, behind.title = 409, "View behind"
            return behind
        case BadCursor():
            problem = {"field": "min_position", "problem": "must read <partition>-<position>"}
            return GatewayError(str(error), code="bad_cursor", errors=[problem])
        case ValidationError():  # an order made from the request does not hold
            found = InvalidMessage(reasons_of(error))
            return Invalid(str(found), code="invalid", errors=[_named(each) for each in found.reasons])
        case UnknownView():
            missing = GatewayError(str(error), code="not_found")
            missing.status, missing.title = 404, "Not found"
            return missing
    if is_unavailable(error):
        return Away("the database is not there", code="database_away")
    return None


def install(app: FastAPI) -> None:
    """Every error that leaves a route becomes a problem document."""

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        details = error.errors()
        if any(detail["type"] == "json_invalid" for detail in details):
            return problem(400, "malformed_json", "Malformed JSON", "the body is not JSON")
        errors = _at_the_door(details, error.body)
        return problem(
            422, "invalid", "Invalid", "; ".join(f"{e['field']}: {e['problem']}" for e in errors), errors=errors
        )

    async def plain(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        title = HTTPStatus(error.status_code).phrase
        code = {400: "malformed_body", 404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        return problem(error.status_code, code, title, str(error.detail), headers=dict(error.headers or {}))

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)
    app.middleware("http")(_last_line)


async def _last_line(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    try:
        return await call_next(request)
    except Exception as error:  # noqa: BLE001
        known = translated(error)
        if known is not None:
            return problem_of(known)
        _log.error("request failed", path=request.url.path, method=request.method, exc_info=error)
        return problem(500, "internal", "Internal error", "something went wrong here; it has been logged")


def _named(reason: dict[str, str]) -> dict[str, str]:
    return {**reason, "field": reason["field"] or "body"}


def _at_the_door(details: Sequence[Mapping[str, Any]], body: Any) -> list[dict[str, str]]:
    """Fields without the part of the request they are in; that part where it is wrong as a whole."""
    found = reasons([{**detail, "loc": detail["loc"][1:]} for detail in details], body)
    return [
        {**reason, "field": reason["field"] or str(detail["loc"][0])}
        for detail, reason in zip(details, found, strict=True)
    ]


class BodyLimit:
    """Refuses bodies beyond the limit with 413, whether or not their length is announced."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES, files: Mapping[str, int] = FILE_BYTES) -> None:
        self._app = app
        self._limit = limit
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"")
        limit = self._files.get(scope["path"], self._limit) if announced else self._limit
        if announced:
            too_long = not announced.isdigit() or int(announced) > limit
            gathered: Message | None = None
        elif b"transfer-encoding" in headers:
            gathered = await self._gather(receive)
            too_long = gathered is None
        else:
            too_long, gathered = False, None
        if too_long:
            answer = problem(413, "too_large", "Content Too Large", f"a body may have {limit} bytes")
            await answer(scope, receive, send)
            return
        await self._app(scope, receive if gathered is None else _replay(gathered, receive), send)

    async def _gather(self, receive: Receive) -> Message | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            if len(body) > self._limit:
                return None
            if not message.get("more_body"):
                return {"type": "http.request", "body": bytes(body), "more_body": False}


def _replay(first: Message, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return first

    return again
