"""Signatures of outgoing calls, after Standard Webhooks: a receiver can tell that a call is ours and not a replay.

Each organization has a secret of its own, derived from every key of ``SECRET_KEYS``. A call carries a signature by
each, newest first, so that a receiver goes on verifying while keys change.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"


def secret_of(key: str, organization_id: str) -> str:
    """The organization's secret under one key, as receivers know it: ``whsec_`` and base64."""
    made = hmac.new(key.encode(), b"tendril.webhook\x00" + organization_id.encode(), hashlib.sha256).digest()
    return PREFIX + base64.b64encode(made).decode()


def signature(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``: one ``v1,…`` for each secret. ``timestamp`` counts seconds since 1970."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{_mac(secret, signed)}" for secret in secrets)


def _mac(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
