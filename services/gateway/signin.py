"""Signing in: passwords, access tokens, refresh tokens, and a limit on tries that all gateways share."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pwdlib import PasswordHash
from pwdlib.exceptions import PwdlibError

from services.gateway.access import Principal
from services.gateway.directory import Directory, hash_secret
from services.gateway.errors import NotSignedIn
from services.gateway.tries import Tries
from shared.clock import Clock
from shared.persistence.mongo import Database

ACCESS_SECONDS = 15 * 60
REFRESH_DAYS = 30
#: A used refresh token is taken once more within this time: the answer that carried its successor may have been lost.
REUSE_SECONDS = 10
#: Tries per window, for an address and for a caller.
TRIES_PER_ADDRESS = 10
TRIES_PER_CALLER = 100
WINDOW_SECONDS = 15 * 60

ISSUER = "tendril"
_PURPOSE = b"tendril gateway access tokens v1"


@dataclass(frozen=True, slots=True)
class TokenPair:
    """``expires_in`` counts seconds from now and is of the access token."""

    access_token: str
    refresh_token: str
    expires_in: int = ACCESS_SECONDS


@dataclass(frozen=True, slots=True)
class Access:
    """What an access token says. ``expires_at`` is machine time; ``epoch`` the member's at sign-in."""

    organization_id: str
    member_id: UUID
    expires_at: datetime
    epoch: int = 0


@cache
def _nobodys_password() -> str:
    """Verified in place of a missing member's, so that a stranger takes as long to refuse as a wrong password."""
    return PasswordHash.recommended().hash(secrets.token_urlsafe(16))


class SignIn:
    """Collections ``refresh_tokens`` and ``sign_in_tries`` of the gateway's database."""

    def __init__(self, database: Database, directory: Directory, clock: Clock, secret_keys: list[str]) -> None:
        if not secret_keys:
            raise ValueError("at least one secret key is needed")
        self._refresh = database.collection("refresh_tokens")
        self._tries = Tries(database, clock, "sign_in_tries")
        self._directory = directory
        self._clock = clock
        self._keys = dict(map(_signing_key, secret_keys))
        self._newest = next(iter(self._keys))
        self._passwords = PasswordHash.recommended()
        self._nobody = _nobodys_password()

    async def prepare(self) -> None:
        """Makes the indexes."""
        await self._refresh.create_index([("expires_at", 1)], expireAfterSeconds=0)
        await self._refresh.create_index([("family", 1)])
        await self._tries.prepare()

    async def hash_password(self, password: str) -> str:
        """argon2id; takes a while, in a thread."""
        return await asyncio.to_thread(self._passwords.hash, password)

    async def with_password(self, email: str, password: str, organization_id: str | None, caller: str) -> TokenPair:
        """Raises NotSignedIn, TooMany."""
        address_key = f"address:{hash_secret(email.strip().casefold())}"
        await self._tries.count(address_key, TRIES_PER_ADDRESS, WINDOW_SECONDS)
        await self._tries.count(f"caller:{caller}", TRIES_PER_CALLER, WINDOW_SECONDS)
        candidates = await self._directory.candidates(email, organization_id)
        for principal, password_hash in candidates:
            if await self._matches(password, password_hash):
                await self._tries.forget(address_key)
                return await self._issue(principal, family=secrets.token_hex(16))
        if not candidates:
            await self._matches(password, self._nobody)
        raise NotSignedIn("wrong e-mail or password", code="wrong_credentials")

    async def refresh(self, refresh_token: str) -> TokenPair:
        """The next pair; the token is used up. Raises NotSignedIn, also when the member was changed since the sign-in
        (password, role, active); a token used twice ends its whole family."""
        now = self._clock.wall()
        token_id = hash_secret(refresh_token)
        document = await self._refresh.find_one_and_update(
            {"_id": token_id, "expires_at": {"$gt": now}, "used_at": None},
            {"$set": {"used_at": now}},
            return_after=False,
        )
        if document is None:
            document = await self._refresh.find_one({"_id": token_id, "expires_at": {"$gt": now}})
            if document is None:
                raise NotSignedIn("the sign-in has ended", code="session_ended")
            if now - document["used_at"] > timedelta(seconds=REUSE_SECONDS):
                await self._refresh.delete_many({"family": document["family"]})
                raise NotSignedIn("the sign-in has ended", code="session_ended")
        epoch = int(document.get("epoch") or 0)
        principal = await self._directory.member(document["organization_id"], UUID(document["member_id"]), epoch)
        if principal is None:
            raise NotSignedIn("the sign-in has ended", code="session_ended")
        return await self._issue(replace(principal, epoch=epoch), family=document["family"])

    async def again(self, principal: Principal, epoch: int) -> TokenPair:
        """A new pair for a member whose own change, at position ``epoch``, ended the sign-in they made it with."""
        return await self._issue(replace(principal, epoch=epoch), family=secrets.token_hex(16))

    def read(self, access_token: str) -> Access:
        """What a token says. Raises NotSignedIn when it is no token of ours or has ended."""
        try:
            token = jwt.decode(access_token, self._key_for, algorithms=["HS256"])
            claims: dict[str, Any] = token.claims
            access = Access(
                str(claims["org"]),
                UUID(claims["sub"]),
                datetime.fromtimestamp(claims["exp"], self._clock.wall().tzinfo),
                int(claims.get("epoch") or 0),
            )
        except (JoseError, KeyError, TypeError, ValueError, OverflowError):
            raise NotSignedIn("the token is not one of ours", code="bad_token") from None
        if claims.get("iss") != ISSUER or access.expires_at <= self._clock.wall():
            raise NotSignedIn("the token has ended", code="token_ended")
        return access

    def _key_for(self, given: Any) -> OctKey:
        key = self._keys.get(str(given.headers().get("kid")))
        if key is None:
            raise ValueError("signed by nobody we know")
        return key

    async def _issue(self, principal: Principal, *, family: str) -> TokenPair:
        now = self._clock.wall()
        refresh_token = secrets.token_urlsafe(32)
        await self._refresh.insert_one(
            {
                "_id": hash_secret(refresh_token),
                "family": family,
                "organization_id": principal.organization_id,
                "member_id": str(principal.id),
                "epoch": principal.epoch,
                "issued_at": now,
                "expires_at": now + timedelta(days=REFRESH_DAYS),
                "used_at": None,
            }
        )
        claims = {
            "iss": ISSUER,
            "sub": str(principal.id),
            "org": principal.organization_id,
            "epoch": principal.epoch,
            "iat": int(now.timestamp()),
            "exp": int(now.timestamp()) + ACCESS_SECONDS,
            "jti": secrets.token_hex(8),
        }
        header = {"alg": "HS256", "kid": self._newest}
        return TokenPair(jwt.encode(header, claims, self._keys[self._newest]), refresh_token)

    async def _matches(self, password: str, password_hash: str) -> bool:
        try:
            return await asyncio.to_thread(self._passwords.verify, password, password_hash)
        except PwdlibError:
            return False


def _signing_key(secret: str) -> tuple[str, OctKey]:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret.encode())
    return hashlib.sha256(derived).hexdigest()[:12], OctKey.import_key(derived)
