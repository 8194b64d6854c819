"""The web app's files and the page of the API's documentation: hashed assets are kept for ever by browsers, the pages
themselves are asked for each time."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from services.gateway.problems import problem

#: Nothing is loaded from elsewhere; styles are set by scripts of the component kit.
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' ws: wss:; frame-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
#: Paths that are never the app's.
_OTHERS = ("api/", "openapi.json", "socket.io", "healthz", "readyz", "metrics")


def router_for(dist: Path) -> APIRouter:
    """Serves ``dist``; any other path is a page of the app."""
    router = APIRouter(include_in_schema=False)
    root = dist.resolve()

    @router.get("/{path:path}")
    async def app(path: str, request: Request) -> Response:
        if path.startswith(_OTHERS):
            return problem(404, "not_found", "Not Found", f"there is nothing at {request.url.path}")
        wanted = (root / path).resolve()
        if path and wanted.is_relative_to(root) and wanted.is_file():
            kept = FOR_EVER if path.startswith("assets/") and "-" in wanted.stem else ASK_AGAIN
            media_type = mimetypes.guess_type(wanted.name)[0] or "application/octet-stream"
            return FileResponse(wanted, media_type=media_type, headers={"Cache-Control": kept})
        page = root / "docs/index.html" if path.strip("/") == "docs" else root / "index.html"
        if "." in path.rpartition("/")[2] or not page.is_file():
            return problem(404, "not_found", "Not Found", f"there is nothing at {request.url.path}")
        return FileResponse(page, media_type="text/html", headers={"Cache-Control": ASK_AGAIN})

    return router


def secure(path: str, response: Response) -> None:
    """Adds the headers that keep browsers from doing more than they should."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", POLICY)
    if path.startswith("/api/"):
        response.headers.setdefault("Cache-Control", "no-store")
