"""The HTTP application: routes, problem documents, limits."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway import problems
from services.gateway.parts import Parts
from services.gateway.problems import ProblemDocument, TooLarge
from services.gateway.routes import auth, enrollments, leads, metrics, sequences, tasks

API = "/api/v1"
MAX_BODY_BYTES = 1 << 20

_CODES = (400, 401, 403, 404, 409, 413, 422, 429, 503)


class BodyLimit:
    """Refuses a request body over ``MAX_BODY_BYTES``, whether or not its length was announced."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > MAX_BODY_BYTES:
            await _refuse(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MAX_BODY_BYTES:
                raise TooLarge(f"A body may have {MAX_BODY_BYTES} bytes.")
            return message

        await self._app(scope, counted, send)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    problem = TooLarge(f"A body may have {MAX_BODY_BYTES} bytes.")
    await problems.answer(problem.document(), problem.headers)(scope, receive, send)


def build_app(parts: Parts | None, *routers: APIRouter) -> FastAPI:
    """The application with the routes of this module and ``routers``. Without ``parts`` it only describes itself
    (OpenAPI).
    """
    app = FastAPI(
        title="Tendril",
        version="1",
        summary="Event-sourced lead nurturing",
        description="Lists take `limit`, `cursor`, `sort` and filters. Changes take `Idempotency-Key` and answer with "
        "`Tendril-Position`; a query given that as `min_position` waits until the view has the change.",
        responses={code: {"model": ProblemDocument, "content": {problems.CONTENT_TYPE: {}}} for code in _CODES},
    )
    app.state.parts = parts
    problems.install(app)
    app.add_middleware(BodyLimit)
    api = APIRouter(prefix=API)
    for router in (
        auth.router,
        sequences.router,
        enrollments.router,
        leads.router,
        tasks.router,
        metrics.router,
        *routers,
    ):
        api.include_router(router)
    app.include_router(api)
    return app
