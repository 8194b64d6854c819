"""The HTTP application: routes, problem documents, limits, headers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from services.gateway import problems, webapp
from services.gateway.context import PERMISSION_OF
from services.gateway.description import describe
from services.gateway.parameters import refuse_unknown
from services.gateway.parts import Parts
from services.gateway.routes import (
    activities,
    attachments,
    audit,
    auth,
    bulks,
    calendars,
    drafts,
    enrollments,
    executions,
    forms,
    funnels,
    imports,
    jobs,
    lead_data,
    leads,
    messages,
    metrics,
    notifications,
    operations,
    organization,
    performance,
    pipeline,
    sequences,
    snippets,
    tasks,
    templates,
    trials,
    versions,
    why,
)
from shared.telemetry import histogram, telemetry_page

API = "/api/v1"
DIST = Path(__file__).resolve().parents[2] / "web" / "dist"
MODULES = (
    auth,
    organization,
    calendars,
    performance,
    versions,
    templates,
    sequences,
    jobs,
    snippets,
    attachments,
    trials,
    executions,
    enrollments,
    bulks,
    funnels,
    forms,
    imports,
    pipeline,
    lead_data,
    leads,
    activities,
    tasks,
    drafts,
    messages,
    metrics,
    notifications,
    audit,
    operations,
    why,
)
_PROBLEM = {
    "description": "A problem document (RFC 9457).",
    "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}

_seconds = histogram("http_seconds", "Answering a request", ["method", "route", "status"])


def create_app(parts: Parts | None, readiness: Callable[[], dict[str, bool]] = dict, dist: Path = DIST) -> FastAPI:
    """The application. Without ``parts`` it only describes itself."""
    app = FastAPI(
        title="Tendril",
        version="1",
        description="Lead-nurture sequences: what is happening, and orders to change it.",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        routes=list(_api()),
    )
    app.state.parts = parts
    app.include_router(_signs_of_life(readiness))
    app.include_router(webapp.router_for(dist))
    problems.install(app)
    app.middleware("http")(_measured)
    app.add_middleware(problems.BodyLimit)
    describe(app, permissions(app))
    return app


@cache
def _api() -> tuple[BaseRoute, ...]:
    """The routes under the API, which take from each request whose they are: to make them takes longer than all else
    at a start.
    """
    api = APIRouter(generate_unique_id_function=_operation_id)
    for module in MODULES:
        api.include_router(
            module.router, prefix=API, responses={"default": _PROBLEM}, dependencies=[Depends(refuse_unknown)]
        )
    return tuple(api.routes)


def permissions(app: FastAPI) -> list[tuple[str, str, str | None]]:
    """Method, path and permission of everything under the API, in order of path; None where none is asked for."""
    found: list[tuple[str, str, str | None]] = []
    for each in iter_route_contexts(app.routes):
        route, path = each.original_route, each.path or ""
        if isinstance(route, APIRoute) and path.startswith(API):
            called = (dependency.call for dependency in route.dependant.dependencies)
            needs = next((PERMISSION_OF[call] for call in called if call in PERMISSION_OF), None)
            found += [(method, path, needs) for method in sorted(route.methods or ())]
    return sorted(found, key=lambda each: (each[1], each[0]))


def _operation_id(route: APIRoute) -> str:
    """A name that stays: the area's module and the function."""
    return f"{route.endpoint.__module__.rpartition('.')[2]}_{route.name}"


def _signs_of_life(readiness: Callable[[], dict[str, bool]]) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    async def page(request: Request) -> Response:
        line, content_type, body = telemetry_page(request.url.path, readiness)
        return Response(body, int(line.partition(" ")[0]), media_type=content_type)

    for path in ("/healthz", "/readyz", "/metrics"):
        router.add_api_route(path, page)
    return router


async def _measured(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    began = time.perf_counter()
    response = await call_next(request)
    route = request.scope.get("route")
    path = getattr(route, "path", "none")
    _seconds.labels(request.method, path, str(response.status_code)).observe(time.perf_counter() - began)
    webapp.secure(request.url.path, response)
    return response
