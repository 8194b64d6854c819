"""The HTTP door: pixel, click, unsubscribe, and the signs of life.

Pixel and click are most of the traffic, so they are answered before Starlette's router is asked; everything else goes
through it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.tracker import telemetry
from services.tracker.cap import Cap
from services.tracker.errors import NotDurable
from services.tracker.machine import JUDGED_HEADERS, judge
from services.tracker.outbox import Outbox
from services.tracker.pages import PAGE_HEADERS, asking_page, done_page, gone_page, language_of, late_page
from services.tracker.signals import Hit, hit_record, unsubscribe
from shared.ending import ended
from shared.telemetry import telemetry_page
from shared.tokens import LinkClaims, LinkKind, Tokens

OPEN_PREFIX = "/t/o/"
CLICK_PREFIX = "/t/c/"
GIF_SUFFIX = ".gif"
#: One transparent point; 43 bytes.
GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
#: A one-click body has 26 bytes; a form of ours not much more.
MAX_FORM_BYTES = 16_384
SWEEP_SECONDS = 1.0
LATE_RETRY_SECONDS = b"60"

_GIF_HEADERS = [
    (b"content-type", b"image/gif"),
    (b"content-length", b"%d" % len(GIF)),
    (b"cache-control", b"no-store, no-cache, must-revalidate, private"),
    (b"x-content-type-options", b"nosniff"),
]
_REDIRECT_HEADERS = [
    (b"content-length", b"0"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
]
#: What a location never holds: control characters, spaces, and the backslash that browsers take for a slash.
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_TARGET_CHARACTERS = ":/%#?=@[]!$&'()*+,;~"
_TO_QUOTE = re.compile(rf"[^A-Za-z0-9_.\-{re.escape(_TARGET_CHARACTERS)}]")
_JUDGED_HEADERS = frozenset(name.encode() for name in JUDGED_HEADERS)
_OPENED = telemetry.SIGNALS.labels("opened", "pixel")
_CLICKED = telemetry.SIGNALS.labels("clicked", "link")


class Door:
    """The ASGI application. ``now`` is business time, ``monotonic`` machine time."""

    def __init__(
        self,
        tokens: Tokens,
        outbox: Outbox,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        readiness: Callable[[], dict[str, bool]],
    ) -> None:
        self._tokens = tokens
        self._outbox = outbox
        self._now = now
        self._readiness = readiness
        self._cap: Cap[Hit] = Cap(monotonic)
        self._sweeper: asyncio.Task[None] | None = None
        self._app: ASGIApp = Starlette(
            routes=[
                Route("/t/u/{token}", self._unsubscribe, methods=["GET", "HEAD", "POST"]),
                *(Route(path, self._signs_of_life) for path in ("/healthz", "/readyz", "/metrics")),
            ],
            exception_handlers={HTTPException: _plain, ClientDisconnect: _plain},
        )

    async def start(self) -> None:
        """Begins to send the counts of what was capped."""
        self._sweeper = asyncio.create_task(self._sweep(), name="tracker cap")

    async def close(self) -> None:
        """Sends what was capped so far."""
        await ended(self._sweeper)
        await self._send_counts(everything=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.startswith(OPEN_PREFIX):
                return await self._open(path, scope, send)
            if path.startswith(CLICK_PREFIX):
                return await self._click(path, scope, send)
        return await self._app(scope, receive, send)

    # --- hot routes ------------------------------------------------------------------------------------------------

    async def _open(self, path: str, scope: Scope, send: Send) -> None:
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            return await _answer(send, 405, [(b"allow", b"GET, HEAD"), (b"content-length", b"0")])
        token = path[len(OPEN_PREFIX) :]
        if not token.endswith(GIF_SUFFIX):
            return await _answer(send, 404, [(b"content-length", b"0")])
        if method == "GET":
            claims = self._claims(token.removesuffix(GIF_SUFFIX), "open")
            if claims is not None:
                await self._record(claims, scope, token)
        return await _answer(send, 200, _GIF_HEADERS, GIF if method == "GET" else b"")

    async def _click(self, path: str, scope: Scope, send: Send) -> None:
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            return await _answer(send, 405, [(b"allow", b"GET, HEAD"), (b"content-length", b"0")])
        token = path[len(CLICK_PREFIX) :]
        claims = self._claims(token, "click")
        location = None if claims is None else safe_target(claims.target)
        if claims is None or location is None:
            page = gone_page(language_of(_header(scope, b"accept-language")))
            return await _answer(
                send, 404, [*PAGE_HEADERS, (b"content-length", b"%d" % len(page))], page if method == "GET" else b""
            )
        if method == "GET":
            await self._record(claims, scope, token)
        return await _answer(send, 302, [(b"location", location), *_REDIRECT_HEADERS])

    async def _record(self, claims: LinkClaims, scope: Scope, token: str) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _JUDGED_HEADERS
        }
        click = claims.kind == "click"
        hit = Hit(claims, self._now(), judge(headers, click=click), headers.get("user-agent"))
        source = "link" if click else "pixel"
        (_CLICKED if click else _OPENED).inc()
        if hit.verdict.reason is not None:
            telemetry.MACHINE_SIGNALS.labels(hit.verdict.reason).inc()
        if self._cap.admits((token, hit.verdict), hit):
            await self._outbox.put(hit_record(hit, source=source))

    def _claims(self, token: str, kind: LinkKind) -> LinkClaims | None:
        claims = self._tokens.read_link(token)
        if claims is None or claims.kind != kind:
            telemetry.REFUSED.labels(kind, "token").inc()
            return None
        return claims

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self._send_counts()

    async def _send_counts(self, *, everything: bool = False) -> None:
        rest = self._cap.collect(everything=everything)
        if not rest:
            return
        signals = []
        for hit, count in rest:
            telemetry.CAPPED.inc(count)
            signals.append(hit_record(hit, source="link" if hit.claims.kind == "click" else "pixel", count=count))
        await asyncio.gather(*(self._outbox.put(signal) for signal in signals))

    # --- the others ------------------------------------------------------------------------------------------------

    async def _unsubscribe(self, request: Request) -> Response:
        language = language_of(request.headers.get("accept-language", ""))
        claims = self._claims(request.path_params["token"], "unsubscribe")
        if claims is None:
            return _page(404, gone_page(language))
        if request.method != "POST":
            return _page(200, asking_page(language, one_sequence=claims.sequence_id is not None))
        fields = await _form(request)
        one_click = fields.get("List-Unsubscribe") == "One-Click"
        whole = one_click or claims.sequence_id is None or fields.get("choice") != "sequence"
        source = "one_click" if one_click else "link_page"
        wish = unsubscribe(claims, self._now(), source=source, whole=whole, client=request.headers.get("user-agent"))
        try:
            await self._outbox.hand_over(wish)
        except NotDurable:
            answer = _page(503, late_page(language))
            answer.headers["retry-after"] = LATE_RETRY_SECONDS.decode()
            return answer
        telemetry.SIGNALS.labels("unsubscribed", source).inc()
        return _page(200, done_page(language, whole=whole))

    async def _signs_of_life(self, request: Request) -> Response:
        status, content_type, body = telemetry_page(request.url.path, self._readiness)
        return Response(
            body, int(status.partition(" ")[0]), {"content-type": content_type, "cache-control": "no-store"}
        )


def safe_target(target: str | None) -> bytes | None:
    """A Location for an http or https address; None for anything a browser must not be sent to."""
    if not target or _UNSAFE.search(target):
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    return (
        quote(target, safe=_TARGET_CHARACTERS).encode("ascii") if _TO_QUOTE.search(target) else target.encode("ascii")
    )


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form, however encoded; none of an oversized or unreadable one (its token alone says
    enough).
    """
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_FORM_BYTES:
        raise HTTPException(413)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise HTTPException(413)
    whole = Request(request.scope, _replay(body))
    try:
        async with whole.form(max_files=0, max_fields=20) as form:
            return {name: value for name, value in form.items() if isinstance(value, str)}
    except (HTTPException, ValueError):
        return {}


def _replay(body: bytes) -> Receive:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _page(status: int, body: bytes) -> Response:
    response = Response(body, status)
    response.raw_headers = [*PAGE_HEADERS, (b"content-length", b"%d" % len(body))]
    return response


async def _plain(_request: Request, error: Exception) -> Response:
    return Response(b"", error.status_code if isinstance(error, HTTPException) else 400)


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""
