"""A gateway without servers: its real routes on shelves of dicts, with the domain itself behind them.

What a query means to MongoDB is tested where there is one; here only the organization and the id of a document count.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any, cast

import httpx

from services.gateway.access import Principal
from services.gateway.app import create_app
from services.gateway.commands import Commands
from services.gateway.errors import NotFound, NotSignedIn
from services.gateway.imports import Imports
from services.gateway.notifications import Notifications
from services.gateway.parts import Parts
from services.gateway.tries import Tries
from shared.clock import SystemClock
from shared.events import Envelope
from shared.events.organization import Role
from shared.events.query import Answer
from shared.persistence.figures import Figures
from shared.persistence.views import VIEW_NAMES, UnknownView
from tests.gateway.conftest import ADMIN, organization_document
from tests.gateway.domain import DomainBehind

SECRET_HASH = "0" * 64


class Found:
    """What a find or an aggregation gave."""

    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self._documents = documents

    async def to_list(self, length: int | None = None) -> list[dict[str, Any]]:
        return self._documents[:length]

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        for document in self._documents:
            yield document


class Changed:
    """What a write changed: nothing."""

    modified_count = deleted_count = matched_count = 0


class Shelf:
    """A collection whose documents are found by id, within their organization."""

    def __init__(self, written: list[str] | None = None) -> None:
        self.documents: dict[Any, dict[str, Any]] = {}
        self.written: list[str] = [] if written is None else written

    async def find_one(self, wanted: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any] | None:
        asked = {name: value for each in (wanted, *wanted.get("$and", ())) for name, value in each.items()}
        document = self.documents.get(asked.get("_id", asked.get("organization_id")))
        ours = document is not None and document["organization_id"] == asked.get(
            "organization_id", document["organization_id"]
        )
        return document if ours else None

    def find(self, *_: Any, **__: Any) -> Found:
        return Found([])

    def aggregate(self, *_: Any, **__: Any) -> Found:
        return Found([])

    async def count_documents(self, *_: Any, **__: Any) -> int:
        return 0

    async def update_one(self, *_: Any, **__: Any) -> Changed:
        return self._write("update")

    async def delete_many(self, *_: Any, **__: Any) -> Changed:
        return self._write("delete")

    async def insert_one(self, *_: Any, **__: Any) -> Changed:
        return self._write("insert")

    def _write(self, how: str) -> Changed:
        self.written.append(how)
        return Changed()


class Shelves:
    """A database, and the reader of the views on it."""

    def __init__(self) -> None:
        self.shelves: dict[str, Shelf] = {}
        self.written: list[str] = []
        self.database = self

    def shelf(self, name: str) -> Shelf:
        return self.shelves.setdefault(name, Shelf(self.written))

    def put(self, view: str, document: dict[str, Any]) -> None:
        self.shelf(view).documents[document["_id"]] = {"organization_id": "demo", "partition": 3, **document}


class Database(Shelves):
    def collection(self, name: str, *, majority: bool = True) -> Shelf:  # noqa: ARG002  the real one's
        return self.shelf(name)


class Views(Shelves):
    async def collection(self, view: str) -> Shelf:
        if view not in VIEW_NAMES:
            raise UnknownView(view)
        return self.shelf(view)

    async def names_of(self, *_: Any) -> dict[str, str | None]:
        return {}

    async def status(self) -> list[dict[str, Any]]:
        return []

    async def wait_for(self, *_: Any) -> None:
        return

    async def request_job(self, _kind: str, view: str) -> str:
        await self.collection(view)
        return "job"

    async def job(self, _: str) -> None:
        return None


class Directory:
    """Keys read ``<organization>:<role>``, and have ``scopes``."""

    def __init__(self) -> None:
        self.scopes = frozenset[str]()
        self.organizations = {
            name: organization_document(name, {ADMIN: (f"ada@{name}.example", "admin")}, "x", SECRET_HASH)
            for name in ("demo", "other")
        }

    async def api_key(self, secret: str) -> Principal | None:
        organization, _, role = secret.partition(":")
        if organization not in self.organizations:
            return None
        return Principal("api_key", ADMIN, organization, cast("Role", role), secret, scopes=self.scopes)

    async def organization(self, organization_id: str) -> dict[str, Any] | None:
        return self.organizations.get(organization_id)


class SignIn:
    """Nobody signs in here."""

    async def with_password(self, *_: Any) -> None:
        raise NotSignedIn

    async def refresh(self, *_: Any) -> None:
        raise NotSignedIn

    async def hash_password(self, _: str) -> str:
        return "hash"


class DeadLetters:
    """None has died."""

    collection = Shelf()

    async def find(self, *_: Any) -> dict[str, Any]:
        raise NotFound("dead letter")

    whole = requeue = drop = find


class Queues:
    """No broker."""

    async def look(self) -> list[dict[str, Any]]:
        return []


class Requester:
    """Hands each order to the domain, and keeps it."""

    def __init__(self, domain: DomainBehind) -> None:
        self.domain = domain
        self.ordered: list[Envelope] = []

    async def request(self, _exchange: str, _key: str, envelope: Envelope, **_: Any) -> Answer:
        if not envelope.topic.startswith("query."):
            self.ordered.append(envelope)
        return self.domain.answer(envelope)


class Files:
    """Bytes by their hash, of every organization."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    async def put(self, organization_id: str, data: bytes) -> str:
        digest = sha256(data).hexdigest()
        self.kept[organization_id, digest] = data
        return digest

    async def get(self, organization_id: str, digest: str) -> bytes | None:
        return self.kept.get((organization_id, digest))


class Trials:
    """No job of anybody's."""

    async def add(self, *_: Any) -> None:
        """Keeps nothing."""

    async def get(self, *_: Any) -> None:
        """There is none."""

    async def cancel(self, *_: Any) -> bool:
        return False


class InProcess:
    """``http`` asks as whoever's key is in the headers (``asked_by``)."""

    def __init__(self) -> None:
        self.domain = DomainBehind()
        self.requester = Requester(self.domain)
        clock, views, own = SystemClock(), Views(), Database()
        self.written = own.written
        self.directory = Directory()
        for view, document in self.domain.documents():
            views.put(view, document)
        for name, document in self.directory.organizations.items():
            views.shelf("organizations").documents[name] = document
        parts = Parts(
            clock=clock,
            views=cast("Any", views),
            figures=Figures(cast("Any", views)),
            directory=cast("Any", self.directory),
            sign_in=cast("Any", SignIn()),
            idempotency=cast("Any", None),
            commands=Commands(cast("Any", self.requester), clock),
            dead_letters=cast("Any", DeadLetters()),
            notifications=Notifications(cast("Any", own), cast("Any", views), clock),
            queues=cast("Any", Queues()),
            trials=cast("Any", Trials()),
            form_tries=Tries(cast("Any", own), clock, "form_tries"),
            test_tries=Tries(cast("Any", own), clock, "test_tries"),
            imports=Imports(cast("Any", own), cast("Any", None), clock),
            webhook_secret=lambda _: "secret",
            files=cast("Any", Files()),
            database=cast("Any", own),
            ledger=cast("Any", Database()),
        )
        self.app = create_app(parts)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url="http://gateway")


def asked_by(organization: str, role: Role = "admin") -> dict[str, str]:
    """Headers of a key of this organization with this role."""
    return {"X-API-Key": f"{organization}:{role}"}
