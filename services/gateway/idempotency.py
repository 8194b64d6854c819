"""Idempotency keys: a change repeated with the same key gets the first answer and is carried out once.

Keys are scoped to (organization, principal, route). The order's message id is derived from the same words, so even when
this memory is lost the write side's inbox recognises the repeat.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from services.gateway.principals import Principal
from services.gateway.problems import Invalid, KeyInUse, KeyReused
from shared.clock import Clock
from shared.ids import derived_id, new_id
from shared.persistence.mongo import Collection, is_duplicate_key

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
#: How long an answer is remembered, machine time.
KEEP_SECONDS = 24 * 3600
#: After this a request that never ended may be tried again: longer than any request takes.
RUNNING_SECONDS = 60

Produce = Callable[[], Awaitable[Response]]


async def ensure_indexes(collection: Collection) -> None:
    await collection.create_index([("at", 1)], expireAfterSeconds=KEEP_SECONDS)


@dataclass(frozen=True, slots=True)
class Claim:
    """The name under which an answer is kept, and what the request's body was."""

    key: str
    body_hash: str


class Idempotency:
    """Answers by key, in MongoDB, shared by all gateways."""

    def __init__(self, collection: Collection, clock: Clock) -> None:
        self._collection = collection
        self._clock = clock

    async def once(self, claim: Claim, produce: Produce) -> Response:
        """The first answer to this claim. Raises KeyReused for another body, KeyInUse while the first request still
        runs.

        An answer of 5xx, and an exception, are not kept: the repeat tries again with the same message id.
        """
        kept = await self._take(claim)
        if kept is not None:
            return _replayed(kept)
        try:
            response = await produce()
        except BaseException:
            await self._collection.delete_one({"_id": claim.key, "state": "running"})
            raise
        if response.status_code >= 500:
            await self._collection.delete_one({"_id": claim.key})
            return response
        answer = {
            "state": "done",
            "status": response.status_code,
            "body": bytes(response.body),
            "media_type": response.media_type,
            "position": response.headers.get("Tendril-Position"),
        }
        await self._collection.update_one({"_id": claim.key}, {"$set": answer})
        return response

    async def _take(self, claim: Claim) -> dict[str, Any] | None:
        """None when the claim is ours to carry out, else the kept answer."""
        now: datetime = self._clock.wall()
        mine = {"_id": claim.key, "body_hash": claim.body_hash, "state": "running", "at": now}
        try:
            await self._collection.insert_one(mine)
        except Exception as error:
            if not is_duplicate_key(error):
                raise
        else:
            return None
        kept = await self._collection.find_one({"_id": claim.key})
        if kept is None:
            return await self._take(claim)
        if kept["body_hash"] != claim.body_hash:
            raise KeyReused("The key was used with another body; take a new one.")
        if kept["state"] == "done":
            return kept
        stale = {"_id": claim.key, "state": "running", "at": {"$lt": now - timedelta(seconds=RUNNING_SECONDS)}}
        taken = await self._collection.update_one(stale, {"$set": {"at": now}})
        if taken.modified_count == 1:
            return None
        raise KeyInUse("The first request with this key has not ended yet.")


def _replayed(kept: dict[str, Any]) -> Response:
    headers = {"Idempotency-Replayed": "true"}
    if kept.get("position"):
        headers["Tendril-Position"] = kept["position"]
    return Response(kept["body"], status_code=kept["status"], media_type=kept.get("media_type"), headers=headers)


class Change:
    """A request that changes something: who asks, under which message id, and how its answer is remembered."""

    def __init__(self, principal: Principal, message_id: str, claim: Claim | None, idempotency: Idempotency) -> None:
        self.principal = principal
        self.message_id = message_id
        self._claim = claim
        self._idempotency = idempotency

    async def run(self, produce: Callable[[], Awaitable[JSONResponse]]) -> Response:
        """Carries it out, once for each key."""
        if self._claim is None:
            return await produce()
        return await self._idempotency.once(self._claim, produce)


async def change_of(request: Request, principal: Principal, idempotency: Idempotency) -> Change:
    """Reads the key of a request. Raises Invalid for one that cannot be used."""
    key = request.headers.get(HEADER)
    if key is None:
        return Change(principal, new_id().hex, None, idempotency)
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isprintable():
        problem = f"must be 1 to {MAX_KEY_LENGTH} printable characters"
        raise Invalid("The idempotency key cannot be used.", errors=[{"field": HEADER, "problem": problem}])
    route = f"{request.method} {request.url.path}?{request.url.query}"
    name = derived_id("idempotency", principal.organization_id, principal.actor, route, key).hex
    body_hash = hashlib.sha256(await request.body()).hexdigest()
    return Change(principal, f"api-{name}", Claim(name, body_hash), idempotency)
