"""Refusals that become problem documents.

GatewayError               code, title, status; ``detail`` says what was wrong, ``errors`` field by field
├── NotSignedIn            401
├── Forbidden              403
├── NotFound               404
├── Conflict               409
│   └── LeadsInside
├── BadRequest             400
├── Invalid                422
├── TooMany                429, with Retry-After
├── Away                   503, with Retry-After: the broker or a database is not there
└── Refused                what the domain answered: its own code and status
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.events.query import Problem


class GatewayError(Exception):
    """A request is refused."""

    status = 400
    title = "Bad request"

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        errors: Sequence[dict[str, str]] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        self.detail = detail
        self.code = code
        self.errors = list(errors)
        self.retry_after_seconds = retry_after_seconds
        super().__init__(detail)


class NotSignedIn(GatewayError):
    """No token, or one that does not hold (any more)."""

    status = 401
    title = "Not signed in"

    def __init__(self, detail: str = "sign in, or send an API key", *, code: str = "not_signed_in") -> None:
        super().__init__(detail, code=code)


class Forbidden(GatewayError):
    """Signed in, but not allowed."""

    status = 403
    title = "Not allowed"

    def __init__(self, permission: str) -> None:
        self.permission = permission
        super().__init__(f"this needs the permission {permission}", code="forbidden")


class NotFound(GatewayError):
    """There is no such thing in this organization."""

    status = 404
    title = "Not found"

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no such {what}", code="not_found")


class Conflict(GatewayError):
    """It does not fit the state of things."""

    status = 409
    title = "Conflict"


class LeadsInside(Conflict):
    """Leads are inside a sequence that is to be deleted: what becomes of them must be said."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} leads are inside: say enrollments=finish or enrollments=exit",
            code="leads_inside",
            errors=[{"field": "enrollments", "problem": "must be finish or exit"}],
        )


class BadRequest(GatewayError):
    """The request itself cannot be read."""


class BadMark(BadRequest):
    """A list cannot go on from the cursor given."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the cursor {problem}", code="bad_cursor", errors=[{"field": "cursor", "problem": problem}])


class Invalid(GatewayError):
    """The request can be read but does not hold."""

    status = 422
    title = "Invalid"


class TooMany(GatewayError):
    """Too many tries."""

    status = 429
    title = "Too many requests"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("too many tries; wait a while", code="too_many", retry_after_seconds=retry_after_seconds)


class Away(GatewayError):
    """The broker or a database is not there."""

    status = 503
    title = "Temporarily unavailable"

    def __init__(self, detail: str, *, code: str, retry_after_seconds: int = 2) -> None:
        super().__init__(detail, code=code, retry_after_seconds=retry_after_seconds)


class Refused(GatewayError):
    """The domain refused a command."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail, code=problem.code, errors=problem.errors)
        self.status = problem.status
        self.title = problem.title
        if problem.status == 503:
            self.retry_after_seconds = 2
