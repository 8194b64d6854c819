"""The demo as a user of the HTTP API: makes its organization, sender and sequence, and asks how many are inside."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import structlog

from tendril.demo.sequence import ORGANIZATION, SENDER, SEQUENCE_NAME, definition

log = structlog.get_logger(__name__)

SIGN_IN_SECONDS = 60.0
POLL_SECONDS = 0.5
UNAUTHORIZED = 401


class ApiRefused(Exception):
    """The API said no. One line."""


class Api:
    """Signed in as the admin."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self._http = httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=20.0)
        self._login = {"username": email, "password": password}
        self._token = ""

    async def close(self) -> None:
        """Ends the connections."""
        await self._http.aclose()

    async def sign_in(self) -> None:
        """Tried again while the gateway is away, at most a minute. Raises ApiRefused."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SIGN_IN_SECONDS
        while True:
            try:
                answer = await self._http.post("auth/token", data=self._login)
            except httpx.TransportError as error:
                if loop.time() > deadline:
                    raise ApiRefused(f"the gateway does not answer: {error}") from error
                await asyncio.sleep(POLL_SECONDS)
                continue
            if not answer.is_success:
                raise ApiRefused(f"the demo cannot sign in as {self._login['username']}: {_problem(answer)}")
            self._token = answer.json()["access_token"]
            return

    async def prepare(self) -> None:
        """Organization, sender and sequence; what is there already stays."""
        await self._call("PATCH", "organization", json=ORGANIZATION, key="demo-organization")
        await self._call("POST", "senders", json=SENDER, key="demo-sender")
        known = await self._call("GET", "sequences")
        if not any(item["name"] == SEQUENCE_NAME for item in known["items"]):
            made = await self._call(
                "POST", "sequences", params={"activate": "true"}, json=definition(), key="demo-sequence"
            )
            log.info("demo_sequence_ready", sequence_id=made.get("sequence_id"))

    async def active_enrollments(self) -> int:
        """Of the whole organization."""
        overview = await self._call("GET", "metrics/overview")
        return int(overview["totals"]["enrollments_active"])

    async def _call(self, method: str, path: str, *, key: str | None = None, **arguments: Any) -> Any:
        """The JSON of the answer; signs in again once. Raises ApiRefused, httpx.TransportError."""
        for last in (False, True):
            headers = {"Authorization": f"Bearer {self._token}"}
            if key is not None:
                headers["Idempotency-Key"] = key
            answer = await self._http.request(method, path, headers=headers, **arguments)
            if answer.status_code != UNAUTHORIZED or last:
                break
            await self.sign_in()
        if not answer.is_success:
            raise ApiRefused(f"{method} {path}: {_problem(answer)}")
        return answer.json() if answer.content else None


def _problem(answer: httpx.Response) -> str:
    return f"{answer.status_code} {' '.join(answer.text.split())[:300]}"
