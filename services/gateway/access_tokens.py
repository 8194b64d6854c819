"""Access tokens: short-lived JWTs (RFC 7519, HS256), signed with keys derived from ``TENDRIL_SECRET_KEYS``, newest
first.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from shared.clock import Clock

ACCESS_SECONDS = 15 * 60
REFRESH_SECONDS = 30 * 24 * 3600
ISSUER = "tendril"


@dataclass(frozen=True, slots=True)
class Claims:
    """``expires_at`` is in seconds since the epoch, machine time."""

    organization_id: str
    member_id: str
    expires_at: int


class AccessTokens:
    """Issues and reads access tokens. A token signed with an older key stays good until it ends."""

    def __init__(self, secret_keys: Sequence[str], clock: Clock) -> None:
        if not secret_keys:
            raise ValueError("at least one secret key is needed")
        self._keys = [
            OctKey.import_key(hmac.digest(key.encode(), b"tendril access token", "sha256")) for key in secret_keys
        ]
        self._clock = clock

    def issue(self, organization_id: str, member_id: str) -> tuple[str, int]:
        """A token and the seconds it lives."""
        now = int(self._clock.wall().timestamp())
        claims = {
            "iss": ISSUER,
            "sub": member_id,
            "org": organization_id,
            "iat": now,
            "exp": now + ACCESS_SECONDS,
            "jti": secrets.token_hex(8),
        }
        return jwt.encode({"alg": "HS256"}, claims, self._keys[0]), ACCESS_SECONDS

    def read(self, token: str) -> Claims | None:
        """What a token says; None when it is not ours, broken or over."""
        for key in self._keys:
            try:
                claims = jwt.decode(token, key, algorithms=["HS256"]).claims
            except (JoseError, ValueError):
                continue
            expires_at, member, organization = claims.get("exp"), claims.get("sub"), claims.get("org")
            if claims.get("iss") != ISSUER or not isinstance(member, str) or not isinstance(organization, str):
                return None
            if not isinstance(expires_at, int) or expires_at <= self._clock.wall().timestamp():
                return None
            return Claims(organization, member, expires_at)
        return None


def secret_hash(secret: str) -> str:
    """SHA-256, hex: how API keys and refresh tokens are kept. They are long and random, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()
