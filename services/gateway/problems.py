"""Problem documents (RFC 9457): the one form of every error the API answers.

ApiProblem
├── NotSignedIn        401
├── Forbidden          403
├── NotFound           404
├── Refused            whatever the domain said
├── ViewBehind         409  the view has not reached the position asked for
├── KeyInUse           409  the same idempotency key is being worked on
├── KeyReused          422  the idempotency key came with another body
├── Invalid            422
├── TooLarge           413
├── TooMany            429  with Retry-After
└── Away               503  a part behind the API is away; with Retry-After
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from shared.events.query import Problem
from shared.messaging.errors import MessagingError, RequestTimeout
from shared.persistence.mongo import is_unavailable
from shared.telemetry import counter

log = structlog.get_logger()

CONTENT_TYPE = "application/problem+json"
TYPE_BASE = "https://tendril.dev/problems/"
#: What a caller is told to wait when a broker or database is away.
RETRY_AFTER_SECONDS = 2

PROBLEMS = counter("api_problems_total", "Requests answered with a problem document", ["code"])


class FieldProblem(BaseModel):
    """One wrong field: its path with dots, and what is wrong with it."""

    field: str
    problem: str


class ProblemDocument(BaseModel):
    """An error as RFC 9457 has it; ``code`` is stable and meant for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldProblem] = []


class ApiProblem(Exception):
    """An error that is answered as a problem document."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong"

    def __init__(
        self, detail: str, *, errors: Sequence[dict[str, str]] = (), headers: dict[str, str] | None = None
    ) -> None:
        self.detail = detail
        self.errors = list(errors)
        self.headers = headers or {}
        super().__init__(detail)

    def document(self) -> dict[str, Any]:
        return document(self.status, self.code, self.title, self.detail, self.errors)


class NotSignedIn(ApiProblem):
    status, code, title = 401, "not_signed_in", "Sign in first"

    def __init__(self, detail: str = "A bearer token or an API key is needed.") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ApiProblem):
    status, code, title = 403, "forbidden", "Not allowed"


class NotFound(ApiProblem):
    status, code, title = 404, "not_found", "Not found"


class ViewBehind(ApiProblem):
    status, code, title = 409, "view_behind", "The view is behind"


class KeyInUse(ApiProblem):
    status, code, title = 409, "idempotency_key_in_use", "This request is being worked on"


class KeyReused(ApiProblem):
    status, code, title = 422, "idempotency_key_reused", "The idempotency key belongs to another request"


class Invalid(ApiProblem):
    status, code, title = 422, "invalid", "The request has errors"


class TooLarge(ApiProblem):
    status, code, title = 413, "too_large", "The body is too large"


class TooMany(ApiProblem):
    status, code, title = 429, "too_many_requests", "Too many requests"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(max(1, retry_after_seconds))})


class Away(ApiProblem):
    status, code, title = 503, "unavailable", "A part of Tendril is away"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


class Refused(ApiProblem):
    """The domain refused the order; status, code and title are its own."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail, errors=problem.errors)

    def document(self) -> dict[str, Any]:
        return document(self.problem.status, self.problem.code, self.problem.title, self.detail, self.errors)


def document(status: int, code: str, title: str, detail: str, errors: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    """The JSON of a problem."""
    return {
        "type": f"{TYPE_BASE}{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": list(errors),
    }


def answer(body: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    """A problem document as a response."""
    PROBLEMS.labels(body["code"]).inc()
    return JSONResponse(body, status_code=body["status"], media_type=CONTENT_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Every error of the application is answered as a problem document."""

    @app.exception_handler(ApiProblem)
    async def _problem(_: Request, error: ApiProblem) -> JSONResponse:
        return answer(error.document(), error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {
                "field": ".".join(str(part) for part in detail["loc"][1:]) or str(detail["loc"][0]),
                "problem": detail["msg"],
            }
            for detail in error.errors()
        ]
        broken_json = any(detail["type"] == "json_invalid" for detail in error.errors())
        if broken_json:
            return answer(document(400, "malformed_json", "The body is not JSON", errors[0]["problem"], errors))
        return answer(document(422, "invalid", "The request has errors", f"{len(errors)} field(s) are wrong.", errors))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        code = phrase.lower().replace(" ", "_").replace("-", "_")
        return answer(document(error.status_code, code, phrase, str(error.detail)), dict(error.headers or {}))

    @app.exception_handler(MessagingError)
    async def _broker(_: Request, error: MessagingError) -> JSONResponse:
        late = isinstance(error, RequestTimeout)
        problem = Away(
            "No answer in time; the order may have been carried out. Repeat it with the same Idempotency-Key."
            if late
            else "The message broker is away."
        )
        return answer(problem.document(), problem.headers)

    @app.exception_handler(Exception)
    async def _other(request: Request, error: Exception) -> JSONResponse:
        if is_unavailable(error):
            problem = Away("The database is away.")
            return answer(problem.document(), problem.headers)
        log.error("request_failed", path=request.url.path, exc_info=error)
        return answer(document(500, "internal", "Something went wrong", "The error was logged."))
