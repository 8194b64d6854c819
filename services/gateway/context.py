"""What a route gets: who asks (with the permission it needs), the views within their organization, and changes with
idempotency keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Depends, Header, Query, Request, Response
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer

from services.gateway.access import Principal, Scope
from services.gateway.errors import GatewayError, NotFound, NotSignedIn
from services.gateway.idempotency import Stored, Ticket
from services.gateway.parts import Parts
from shared.events import Message
from shared.events.organization import Deed, RecordDeed
from shared.events.query import Answer
from shared.faults import crash_point
from shared.ids import new_id

_bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/token", auto_error=False)
_api_key = APIKeyHeader(name="X-API-Key", auto_error=False)

WAIT_SECONDS = 5.0


def parts_of(request: Request) -> Parts:
    """The application's parts."""
    parts: Parts = request.app.state.parts
    return parts


async def signed_in(
    request: Request,
    token: Annotated[str | None, Depends(_bearer)],
    api_key: Annotated[str | None, Depends(_api_key)],
) -> Principal:
    """Who asks. Raises NotSignedIn."""
    parts = parts_of(request)
    if api_key is not None:
        principal = await parts.directory.api_key(api_key)
    elif token is not None:
        access = parts.sign_in.read(token)
        principal = await parts.directory.member(access.organization_id, access.member_id, access.epoch)
    else:
        raise NotSignedIn
    if principal is None:
        raise NotSignedIn("this member or key may not sign in", code="not_allowed_in")
    return principal


@dataclass(frozen=True, slots=True)
class Context:
    """A request of somebody who has the permission its route needs."""

    request: Request
    principal: Principal
    parts: Parts
    min_position: str | None
    idempotency_key: str | None

    @property
    def scope(self) -> Scope:
        """The only way to a query."""
        return Scope(self.principal.organization_id)

    async def reach(self, *views: str) -> None:
        """Waits for ``min_position`` when the caller gave one. Raises ViewBehind, BadCursor."""
        if self.min_position is not None:
            await self.parts.views.wait_for(self.min_position, views, WAIT_SECONDS)

    async def document(self, view: str, document_id: UUID | str, what: str) -> dict[str, Any]:
        """A view's document. Raises NotFound when the organization has none with this id."""
        await self.reach(view)
        collection = await self.parts.views.collection(view)
        found = await collection.find_one(self.scope.filter({"_id": str(document_id)}))
        if found is None:
            raise NotFound(what)
        return found

    async def change(
        self,
        make: Callable[[str], Message | Awaitable[Message]],
        *,
        status: int = 200,
        show: Callable[[Answer], dict[str, Any]] | None = None,
        keep: bool = True,
    ) -> Response:
        """Sends one order and answers with its result and position. ``make`` gets the command's id."""

        async def work(command_id: str) -> Done:
            made = make(command_id)
            message = made if isinstance(made, Message) else await made
            answer = await self.parts.commands.send(self.principal, message, command_id)
            return Done(show(answer) if show else answer.result, answer.position, status)

        return await self.once(work, keep=keep)

    async def once(self, work: Callable[[str], Awaitable[Done]], *, keep: bool = True) -> Response:
        """Runs ``work`` under the caller's Idempotency-Key, if there is one. ``keep`` False: the answer holds a
        secret and is not stored."""
        if self.idempotency_key is None:
            return response_of(await work(new_id().hex))
        url = self.request.url
        route = f"{self.request.method} {url.path}?{url.query}"
        begun = await self.parts.idempotency.begin(
            self.principal, route, self.idempotency_key, await self.request.body()
        )
        if isinstance(begun, Stored):
            return repeated(begun)
        return await self._run(begun, work, keep)

    async def record(self, deed: Deed, command_id: str | None = None, **told: Any) -> None:
        """Has the audit keep what leaves no other trace, before it is done. Raises what ``change`` raises."""
        order = RecordDeed(deed=deed, **told)
        await self.parts.commands.send(self.principal, order, command_id or new_id().hex)

    async def _run(self, ticket: Ticket, work: Callable[[str], Awaitable[Done]], keep: bool) -> Response:
        crash_point("gateway.idempotency_begun")
        try:
            done = await work(ticket.command_id)
        except BaseException:
            # Nothing to repeat. What was sent carries the same id the next time, and the inbox answers it as before.
            await self.parts.idempotency.forget(ticket)
            raise
        crash_point("gateway.command_answered")
        body = orjson.dumps(done.body)
        await self.parts.idempotency.finish(ticket, Stored(done.status, body if keep else None, done.position))
        return response_of(done)


@dataclass(frozen=True, slots=True)
class Done:
    """A change that was carried out."""

    body: dict[str, Any]
    position: str | None = None
    status: int = 200


def response_of(done: Done) -> Response:
    """JSON with ``Tendril-Position``."""
    headers = {"Tendril-Position": done.position} if done.position else {}
    return Response(orjson.dumps(done.body), done.status, headers, "application/json")


def repeated(stored: Stored) -> Response:
    """The answer given before. Raises GatewayError when it held a secret that is not kept."""
    if stored.body is None:
        error = GatewayError("this was done before; its answer held a secret and is not kept", code="already_done")
        error.status, error.title = 409, "Already done"
        raise error
    headers = {"Idempotency-Replayed": "true"}
    if stored.position:
        headers["Tendril-Position"] = stored.position
    return Response(stored.body, stored.status, headers, "application/json")


#: Permissions by dependency, so that a test can list every route with what it needs.
PERMISSION_OF: dict[Callable[..., Any], str] = {}


def may(permission: str, *, or_with: str | None = None) -> Any:
    """A route's dependency: the Context of somebody with this permission, or with ``or_with`` (which only scopes of a
    key hold alone). Raises NotSignedIn, Forbidden."""

    async def context(
        request: Request,
        principal: Annotated[Principal, Depends(signed_in)],
        min_position: Annotated[
            str | None, Query(description="Wait (at most 5 s) until the view has reached this position.")
        ] = None,
        idempotency_key: Annotated[str | None, Header(description="Same key, same answer; for 24 hours.")] = None,
    ) -> Context:
        if or_with not in principal.permissions:
            principal.require(permission)
        return Context(request, principal, parts_of(request), min_position, idempotency_key)

    PERMISSION_OF[context] = permission
    return Depends(context)


def pick(document: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """These fields, None where missing."""
    return {name: document.get(name) for name in names}
