"""Where the browser tests look: a running gateway that serves the built web app."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from pymongo import AsyncMongoClient

from shared.tokens import Tokens
from tendril.mailbox import COLLECTION, database_of, document_of
from tests.system.sequences import mail_then_later
from tests.system.signals import reply
from tests.system.sink import Mail
from tests.system.stack import ADMIN, ORGANIZATION, Stack, lead

FIRST_NAMES = ("Ada", "Grace", "Katherine", "Radia", "Barbara", "Hedy", "Annie", "Frances")


@dataclass(frozen=True)
class Person:
    """A lead as the pages name it."""

    first_name: str
    last_name: str
    email: str

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
        last_name = f"Tester{number}"
        person = Person(FIRST_NAMES[number % len(FIRST_NAMES)], last_name, f"{last_name.lower()}@example.com")
        fields = {"email": person.email, "first_name": person.first_name, "last_name": person.last_name}
        if self._stack is not None:
            await self._stack.publish_leads([lead(number, **fields)])
        else:
            await self._post_lead(fields)
        return person

    async def mail_to(self, person: Person) -> Mail:
        """The first mail somebody got."""
        return (await self.stack.sink.wait_for(1, to=person.email))[0]

    async def open(self, mail: Mail) -> None:
        """Fetches the pixel, as a mail program that shows pictures does."""
        assert (await self.stack.http.get(mail.link("/t/o/"))).status_code == 200

    async def click(self, mail: Mail) -> None:
        """Follows the link as far as the tracker's redirect."""
        assert (await self.stack.http.get(mail.link("/t/c/"), follow_redirects=False)).status_code == 302

    async def reply(self, mail: Mail) -> None:
        """Answers by SMTP."""
        await reply(self.stack, mail)

    @contextlib.asynccontextmanager
    async def in_mailbox(self, mail: Mail) -> AsyncIterator[None]:
        """The mail lies in the demo mailbox, which the stack's own sink is not."""
        document = document_of(mail.raw, mail.sender, [mail.to], Tokens([self.stack.env["TENDRIL_SECRET_KEYS"]]))
        document["at"] = datetime.now(UTC)
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(self.stack.mongo.url)
        async with client:
            mails = client[database_of("tendril")][COLLECTION]
            await mails.insert_one(document)
            yield
            await mails.delete_one({"_id": document["_id"]})

    @property
    def stack(self) -> Stack:
        """The processes behind it, when this run started them."""
        assert self._stack is not None, "needs a stack of its own: leave TENDRIL_TEST_GATEWAY unset"
        return self._stack

    async def _post_lead(self, fields: dict[str, Any]) -> None:
        async with httpx.AsyncClient(base_url=f"{self.url}/api/v1", timeout=60) as http:
            answer = await http.post("/auth/token", data={"username": self.email, "password": self.password})
            answer.raise_for_status()
            headers = {"Authorization": f"Bearer {answer.json()['access_token']}", "Idempotency-Key": fields["email"]}
            body = {"organization_id": ORGANIZATION, "funnel_id": "test-funnel", "lead": fields}
            (await http.post("/leads", json=body, headers=headers)).raise_for_status()
