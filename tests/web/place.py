"""Where the browser tests look: a running gateway that serves the built web app."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import httpx

from tests.system.sequences import mail_then_later
from tests.system.stack import ADMIN, ORGANIZATION, Stack, lead

FIRST_NAMES = ("Ada", "Grace", "Katherine", "Radia", "Barbara", "Hedy", "Annie", "Frances")


@dataclass(frozen=True)
class Person:
    """A lead as the pages name it."""

    first_name: str
    last_name: str

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"


class Place:
    """A gateway to test against. ``stack`` is None for one that was already running."""

    def __init__(self, url: str, *, email: str, password: str, stack: Stack | None = None) -> None:
        self.url = url.rstrip("/")
        self.email = email
        self.password = password
        self._stack = stack
        self._numbers = itertools.count(1)

    @classmethod
    async def of_stack(cls, stack: Stack) -> Place:
        """A stack with one active sequence, whose first mail goes out at once."""
        await stack.api("POST", "sequences?activate=true", json=mail_then_later())
        return cls(f"http://127.0.0.1:{stack.gateway_port}", email=ADMIN[0], password=ADMIN[1], stack=stack)

    async def lead_comes_in(self) -> Person:
        """A funnel's message over AMQP, or an API request to a gateway that was already running."""
        number = next(self._numbers)
        person = Person(FIRST_NAMES[number % len(FIRST_NAMES)], f"Tester{number}")
        names = {"first_name": person.first_name, "last_name": person.last_name}
        if self._stack is not None:
            await self._stack.publish_leads([lead(number, **names)])
        else:
            await self._post_lead({"email": f"{person.last_name.lower()}@example.com", **names})
        return person

    async def _post_lead(self, fields: dict[str, Any]) -> None:
        async with httpx.AsyncClient(base_url=f"{self.url}/api/v1") as http:
            answer = await http.post("/auth/token", data={"username": self.email, "password": self.password})
            answer.raise_for_status()
            headers = {"Authorization": f"Bearer {answer.json()['access_token']}", "Idempotency-Key": fields["email"]}
            body = {"organization_id": ORGANIZATION, "funnel_id": "test-funnel", "lead": fields}
            (await http.post("/leads", json=body, headers=headers)).raise_for_status()
