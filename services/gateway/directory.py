"""Members and API keys as the organizations view has them: who a credential belongs to, at this moment."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any
from uuid import UUID

from services.gateway.access import Principal
from shared.persistence.views import ViewReader

#: How long an organization's members and keys are trusted without looking again.
FRESH_SECONDS = 1.0
#: Organizations remembered.
REMEMBERED = 1_000


class Directory:
    """Looks people and keys up; remembers an organization for a second."""

    def __init__(self, views: ViewReader) -> None:
        self._views = views
        self._known: dict[str, tuple[float, dict[str, Any] | None]] = {}

    async def organization(self, organization_id: str) -> dict[str, Any] | None:
        """The organization's document; None when there is none."""
        now = time.monotonic()
        known = self._known.get(organization_id)
        if known is not None and now - known[0] < FRESH_SECONDS:
            return known[1]
        collection = await self._views.collection("organizations")
        document = await collection.find_one({"_id": organization_id})
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[organization_id] = (now, document)
        return document

    async def owner(self, named: str | None) -> str | None:
        """Whose a message is that names this organization. One that names none, or none that exists, belongs to the
        only
        organization where there is just one; else to nobody, and only the machine's operator sees it."""
        if named and await self.organization(named) is not None:
            return named
        collection = await self._views.collection("organizations")
        some = await collection.find({}, {"_id": 1}, limit=2).to_list()
        return str(some[0]["_id"]) if len(some) == 1 else None

    async def member(self, organization_id: str, member_id: UUID, epoch: int) -> Principal | None:
        """An active member who signed in at ``epoch``; None also when they were changed since."""
        organization = await self.organization(organization_id)
        member = ((organization or {}).get("members") or {}).get(str(member_id))
        if not member or not member.get("active"):
            return None
        principal = _member(organization_id, str(member_id), member)
        return principal if principal.epoch <= epoch else None

    async def candidates(self, email: str, organization_id: str | None) -> list[tuple[Principal, str]]:
        """Active members with this address and their password hashes, one per organization at most."""
        wanted = email.strip().casefold()
        collection = await self._views.collection("organizations")
        only = {"_id": organization_id} if organization_id else {}
        documents = await collection.find({"member_emails": wanted, **only}, sort=[("_id", 1)], limit=20).to_list()
        found = []
        for document in documents:
            for member_id, member in document.get("members", {}).items():
                usable = member.get("active") and member.get("password_hash")
                if usable and member["email"].strip().casefold() == wanted:
                    found.append((_member(document["_id"], member_id, member), str(member["password_hash"])))
        return found

    async def api_key(self, secret: str) -> Principal | None:
        """Who an API key stands for; None when it is unknown or revoked."""
        secret_hash = hash_secret(secret)
        collection = await self._views.collection("organizations")
        document = await collection.find_one({"key_hashes": secret_hash})
        for key_id, key in ((document or {}).get("api_keys") or {}).items():
            if hmac.compare_digest(key["secret_hash"], secret_hash) and not key.get("revoked"):
                assert document is not None
                return Principal(
                    kind="api_key",
                    id=UUID(key_id),
                    organization_id=document["_id"],
                    role=key["role"],
                    name=key["name"],
                    scopes=frozenset(key.get("scopes") or ()),
                )
        return None

    async def still(self, principal: Principal) -> Principal | None:
        """The same principal with today's rights; None when it may not sign in any more, or must sign in again."""
        if principal.kind == "member":
            return await self.member(principal.organization_id, principal.id, principal.epoch)
        organization = await self.organization(principal.organization_id)
        key = ((organization or {}).get("api_keys") or {}).get(str(principal.id))
        return principal if key and not key.get("revoked") else None


def hash_secret(secret: str) -> str:
    """SHA-256, hex: API keys and refresh tokens are long and random, so a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _member(organization_id: str, member_id: str, member: dict[str, Any]) -> Principal:
    return Principal(
        kind="member",
        id=UUID(member_id),
        organization_id=organization_id,
        role=member["role"],
        name=member.get("name") or "",
        email=member["email"],
        epoch=int(member.get("epoch") or 0),
    )
