"""Sign-in: members by password and bearer token, machines by API key. Rights are read at every request."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pwdlib import PasswordHash

from services.gateway.access_tokens import REFRESH_SECONDS, AccessTokens, secret_hash
from services.gateway.principals import Principal
from services.gateway.problems import NotSignedIn, TooMany
from shared.clock import Clock
from shared.persistence.mongo import Collection, Database
from shared.persistence.views import ViewReader

#: Failed sign-ins per address and window before it must wait.
MAX_FAILURES = 10
FAILURE_WINDOW_SECONDS = 300
KEY_PREFIX = "tdl_"

_hasher = PasswordHash.recommended()
#: Verified for unknown members too, so that an answer takes as long as for a known one.
_NOBODY = _hasher.hash(secrets.token_hex(16))


def _verified(password: str, member: dict[str, Any]) -> bool:
    stored = member.get("password_hash")
    return _hasher.verify(password, stored or _NOBODY) and bool(stored) and bool(member["active"])


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a sign-in hands out. ``expires_in`` counts seconds."""

    access_token: str
    refresh_token: str
    expires_in: int


def hash_password(password: str) -> str:
    """Argon2id."""
    return _hasher.hash(password)


class Authentication:
    """Who a request speaks for."""

    def __init__(self, database: Database, views: ViewReader, tokens: AccessTokens, clock: Clock) -> None:
        self._refresh: Collection = database.collection("refresh_tokens")
        self._failures: Collection = database.collection("sign_in_failures")
        self._views = views
        self._tokens = tokens
        self._clock = clock

    async def ensure_indexes(self) -> None:
        await self._refresh.create_index([("expires_at", 1)], expireAfterSeconds=0)
        await self._failures.create_index([("at", 1)], expireAfterSeconds=FAILURE_WINDOW_SECONDS)

    # --- signing in -------------------------------------------------------------------------------------------------

    async def sign_in(self, email: str, password: str, organization_id: str | None = None) -> SignedIn:
        """Raises NotSignedIn (the same for a wrong address and a wrong password), TooMany after repeated failures."""
        address = email.strip().casefold()
        await self._check_failures(address)
        found = await self._members(address, organization_id)
        good = next((each for each in found if _verified(password, each[2])), None)
        if not found:
            _hasher.verify(password, _NOBODY)
        if good is None:
            await self._failures.insert_one(
                {"_id": secrets.token_hex(12), "address": address, "at": self._clock.wall()}
            )
            raise NotSignedIn("The address or the password is wrong.")
        await self._failures.delete_many({"address": address})
        return await self._hand_out(good[0], good[1])

    async def refresh(self, token: str) -> SignedIn:
        """A refresh token is good once; its successor comes with the answer. Raises NotSignedIn."""
        kept = await self._refresh.find_one({"_id": secret_hash(token)})
        if kept is None or kept["expires_at"] <= self._clock.wall():
            raise NotSignedIn("The refresh token is over. Sign in again.")
        if kept["used"]:
            # Used twice: somebody else may have it. The whole line of it ends.
            await self._refresh.delete_many({"line": kept["line"]})
            raise NotSignedIn("The refresh token was used before. Sign in again.")
        taken = await self._refresh.update_one({"_id": kept["_id"], "used": False}, {"$set": {"used": True}})
        if taken.modified_count != 1:
            raise NotSignedIn("The refresh token was used before. Sign in again.")
        if await self._member(kept["organization_id"], kept["member_id"]) is None:
            raise NotSignedIn("The member is no longer active.")
        return await self._hand_out(kept["organization_id"], kept["member_id"], line=kept["line"])

    async def _hand_out(self, organization_id: str, member_id: str, *, line: str | None = None) -> SignedIn:
        refresh = secrets.token_urlsafe(32)
        document = {
            "_id": secret_hash(refresh),
            "organization_id": organization_id,
            "member_id": member_id,
            "line": line or secrets.token_hex(12),
            "used": False,
            "expires_at": self._clock.wall() + timedelta(seconds=REFRESH_SECONDS),
        }
        await self._refresh.insert_one(document)
        access, expires_in = self._tokens.issue(organization_id, member_id)
        return SignedIn(access, refresh, expires_in)

    async def _check_failures(self, address: str) -> None:
        since = self._clock.wall() - timedelta(seconds=FAILURE_WINDOW_SECONDS)
        failures = await self._failures.count_documents({"address": address, "at": {"$gt": since}})
        if failures >= MAX_FAILURES:
            raise TooMany("Too many failed sign-ins for this address.", FAILURE_WINDOW_SECONDS)

    # --- who is asking ----------------------------------------------------------------------------------------------

    async def by_bearer(self, token: str) -> Principal:
        """Raises NotSignedIn."""
        claims = self._tokens.read(token)
        if claims is None:
            raise NotSignedIn("The token is not valid or over.")
        principal = await self._member(claims.organization_id, claims.member_id)
        if principal is None:
            raise NotSignedIn("The member is no longer active.")
        return principal

    async def by_api_key(self, key: str) -> Principal:
        """Raises NotSignedIn."""
        hashed = secret_hash(key)
        organizations = await self._views.collection("organizations")
        document = await organizations.find_one({"key_hashes": hashed})
        for key_id, kept in (document or {}).get("api_keys", {}).items():
            if hmac.compare_digest(kept["secret_hash"], hashed) and not kept["revoked"] and document is not None:
                return Principal(
                    document["organization_id"],
                    "api_key",
                    key_id,
                    kept["role"],
                    name=kept["name"],
                    scopes=frozenset(kept["scopes"]),
                )
        raise NotSignedIn("The API key is not valid.")

    async def _member(self, organization_id: str, member_id: str) -> Principal | None:
        organizations = await self._views.collection("organizations")
        document = await organizations.find_one({"_id": organization_id}, {f"members.{member_id}": 1})
        member: dict[str, Any] | None = ((document or {}).get("members") or {}).get(member_id)
        if member is None or not member["active"]:
            return None
        return Principal(
            organization_id, "member", member_id, member["role"], name=member.get("name") or "", email=member["email"]
        )

    async def _members(self, address: str, organization_id: str | None) -> list[tuple[str, str, dict[str, Any]]]:
        organizations = await self._views.collection("organizations")
        filter_: dict[str, Any] = {"member_emails": address}
        if organization_id is not None:
            filter_["_id"] = organization_id
        return [
            (document["organization_id"], member_id, member)
            for document in await organizations.find(filter_, limit=20).to_list()
            for member_id, member in document["members"].items()
            if member["email"].strip().casefold() == address
        ]
