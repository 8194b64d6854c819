"""Idempotency keys: the same key of the same caller on the same route gets the same answer, on any gateway.

Scoped to (organization, principal, method and path). The command's own id is made from the same parts, so that a
gateway that dies in between
leaves nothing undone and nothing done twice: who asks again sends the same command, and the write side's inbox answers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from services.gateway.access import Principal
from services.gateway.errors import Conflict, Invalid
from shared.clock import Clock
from shared.ids import derived_id
from shared.persistence.mongo import Database, is_duplicate_key

KEPT_HOURS = 24
#: A request that has run this long belongs to a gateway that died: whoever asks again takes it over.
ABANDONED_SECONDS = 60
MAX_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer given before. ``body`` is JSON; None when it was not kept (it held a secret)."""

    status: int
    body: bytes | None
    position: str | None


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request under way. ``command_id`` is the id of the command it sends."""

    id: str
    command_id: str


class Idempotency:
    """Collection ``idempotency`` of the gateway's database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._documents = database.collection("idempotency")
        self._clock = clock

    async def prepare(self) -> None:
        """Makes the index."""
        await self._documents.create_index([("expires_at", 1)], expireAfterSeconds=0)

    async def begin(self, principal: Principal, route: str, key: str, body: bytes) -> Ticket | Stored:
        """A ticket for a new request, or the answer given before.

        Raises Invalid for a key that is too long or was used with another body, Conflict while the first request runs.
        """
        if len(key) > MAX_KEY_LENGTH:
            raise Invalid(f"an Idempotency-Key has at most {MAX_KEY_LENGTH} characters", code="bad_idempotency_key")
        parts = (principal.organization_id, principal.actor, route, key)
        ticket = Ticket(derived_id("idempotency", *parts).hex, derived_id("command", *parts).hex)
        body_hash = hashlib.sha256(body).hexdigest()
        now = self._clock.wall()
        document = {
            "_id": ticket.id,
            "organization_id": principal.organization_id,
            "body_hash": body_hash,
            "state": "running",
            "started_at": now,
            "expires_at": now + timedelta(hours=KEPT_HOURS),
        }
        try:
            await self._documents.insert_one(document)
        except Exception as error:
            if not is_duplicate_key(error):
                raise
        else:
            return ticket
        return await self._repeated(ticket, body_hash)

    async def _repeated(self, ticket: Ticket, body_hash: str) -> Ticket | Stored:
        known = await self._documents.find_one({"_id": ticket.id})
        if known is None:
            raise Conflict("the first request with this key has just failed; ask again", code="request_running")
        if known["body_hash"] != body_hash:
            raise Invalid(
                "this Idempotency-Key was used with another body",
                code="idempotency_key_reused",
                errors=[{"field": "Idempotency-Key", "problem": "was used with another body"}],
            )
        if known["state"] == "done":
            return Stored(known["status"], known["body"], known["position"])
        now = self._clock.wall()
        abandoned = now - timedelta(seconds=ABANDONED_SECONDS)
        taken = await self._documents.update_one(
            {"_id": ticket.id, "state": "running", "started_at": {"$lte": abandoned}}, {"$set": {"started_at": now}}
        )
        if taken.modified_count:
            return ticket
        raise Conflict(
            "a request with this Idempotency-Key is still running", code="request_running", retry_after_seconds=1
        )

    async def finish(self, ticket: Ticket, stored: Stored) -> None:
        """Keeps the answer."""
        done: dict[str, Any] = {
            "state": "done",
            "status": stored.status,
            "body": stored.body,
            "position": stored.position,
        }
        await self._documents.update_one({"_id": ticket.id}, {"$set": done})

    async def forget(self, ticket: Ticket) -> None:
        """The request came to nothing that should be repeated: the next one runs again."""
        await self._documents.delete_one({"_id": ticket.id})
