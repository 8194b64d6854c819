"""What the routes work with, built once for an application and found by dependency."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from services.gateway.authentication import Authentication
from services.gateway.commands import Commands
from services.gateway.idempotency import Change, Idempotency, change_of
from services.gateway.lists import DEFAULT_LIMIT, MAX_LIMIT
from services.gateway.principals import Permission, Principal
from services.gateway.problems import Forbidden, NotSignedIn
from services.gateway.reading import Views
from shared.clock import Clock
from shared.persistence.figures import Figures
from shared.persistence.mongo import MongoClient
from shared.persistence.views import ViewReader
from shared.settings import Settings


@dataclass(frozen=True)
class Parts:
    """The gateway's parts."""

    settings: Settings
    clock: Clock
    mongo: MongoClient
    reader: ViewReader
    views: Views
    figures: Figures
    commands: Commands
    authentication: Authentication
    idempotency: Idempotency


def parts_of(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(parts_of)]

_bearer = HTTPBearer(auto_error=False, description="From POST /api/v1/auth/token")
_api_key = APIKeyHeader(name="X-API-Key", auto_error=False)


async def principal_of(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    api_key: Annotated[str | None, Security(_api_key)],
) -> Principal:
    """Who is asking. Raises NotSignedIn."""
    authentication = parts_of(request).authentication
    if bearer is not None:
        return await authentication.by_bearer(bearer.credentials)
    if api_key is not None:
        return await authentication.by_api_key(api_key)
    raise NotSignedIn


def allowed(permission: Permission) -> Callable[[Principal], Awaitable[Principal]]:
    """A dependency: the principal, when it has the permission. Raises Forbidden."""

    async def check(principal: Annotated[Principal, Depends(principal_of)]) -> Principal:
        if not principal.may(permission):
            raise Forbidden(f"This needs the permission {permission.value}.")
        return principal

    check.permission = permission  # type: ignore[attr-defined]  # read by the test that lists every route's permission
    return check


def changing(permission: Permission) -> Callable[[Request, Principal], Awaitable[Change]]:
    """A dependency: a change by a principal that may make it, with its idempotency key."""

    check = allowed(permission)

    async def prepare(request: Request, principal: Principal = Depends(check)) -> Change:
        return await change_of(request, principal, parts_of(request).idempotency)

    return prepare


Reader = Annotated[Principal, Depends(allowed(Permission.READ))]
MinPosition = Annotated[
    str | None, Query(description="Wait until the view has this write: <partition>-<position> from Tendril-Position")
]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(max_length=2_000, description="`next_cursor` of the page before")]
SortBy = Annotated[str | None, Query(max_length=64, description="A field; with - in front for descending")]
PAGE = DEFAULT_LIMIT
