"""Tokens: what an outbound message carries, so that every signal can be attributed without a database.

*Link tokens* stand in pixel, click and unsubscribe addresses. They are encrypted (AES-SIV, RFC 5297), so a recipient
can neither read nor change what they hold. The same claims give the same token, so a message rendered twice reads the
same.

*Address tokens* stand in mail addresses and Message-IDs. They are 47 characters of lower-case base32, because a local
part has room for 64 and may change case on its way. They are not secret, only signed: key id (1 byte), enrollment (16),
execution (2) and a MAC (10).

Keys are derived by HKDF from ``SECRET_KEYS``, newest first. New tokens use the first; older ones are still read with
the others, because an unsubscribe link never expires. So a key is only ever put in front of the list, never taken out.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LinkKind = Literal["open", "click", "unsubscribe"]

ADDRESS_TOKEN_LENGTH = 47
#: Two bytes of an address token.
MAX_EXECUTION = 0xFFFF
#: Addresses longer than this are refused by too many mail programs and proxies to be worth a token.
MAX_TARGET_BYTES = 4_096
#: More than any token made here needs; longer input is refused before it is decoded.
MAX_LINK_TOKEN_LENGTH = 8_192

_KINDS: tuple[LinkKind, ...] = ("open", "click", "unsubscribe")
_HAS_TARGET = 0x04
_TARGET_COMPRESSED = 0x08
_HAS_SEQUENCE = 0x10
_LAYOUT = 0x20  # the first layout of claims; another one takes another bit
_FIXED_BYTES = 1 + 16 + 16  # flags, lead, enrollment
_MAC_BYTES = 10
_ADDRESS_BYTES = 1 + 16 + 2 + _MAC_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkClaims:
    """What a link token holds.

    ``execution`` counts from 1. ``target`` is the address a click leads to, None for the other kinds. ``sequence_id``
    lets the unsubscribe page offer "this sequence only"; None hides that choice.
    """

    organization_id: str
    lead_id: UUID
    enrollment_id: UUID
    execution: int
    channel: str
    kind: LinkKind
    target: str | None = None
    sequence_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class _Key:
    id: int
    link: AESSIV
    address: bytes


class Tokens:
    """Makes and reads tokens. ``secret_keys`` are the settings' texts, newest first; raises ValueError when there is
    none or one is empty.
    """

    def __init__(self, secret_keys: Sequence[str]) -> None:
        if not secret_keys or not all(secret_keys):
            raise ValueError("secret_keys must be at least one text, none of them empty")
        self._keys = [_derive(secret) for secret in secret_keys]
        self._by_id: dict[int, list[_Key]] = {}
        for key in self._keys:  # two of many keys may share an id: both are tried
            self._by_id.setdefault(key.id, []).append(key)

    def link_token(self, claims: LinkClaims) -> str:
        """The claims as an encrypted token, URL-safe, without padding. Raises ValueError for claims that no token can
        hold.
        """
        key = self._keys[0]
        prefix = bytes((key.id,))
        return _base64(prefix + key.link.encrypt(_pack(claims), [prefix]))

    def read_link(self, token: str) -> LinkClaims | None:
        """The claims of a token, or None for anything that is not exactly a token made with one of the keys."""
        raw = _unbase64(token)
        if raw is None or len(raw) < 1 + 16:
            return None
        for key in self._by_id.get(raw[0], ()):
            try:
                return _unpack(key.link.decrypt(raw[1:], [raw[:1]]))
            except (InvalidTag, ValueError):
                continue
        return None

    def address_token(self, enrollment_id: UUID, execution: int) -> str:
        """47 lower-case characters for a local part. Raises ValueError unless ``execution`` is 1 to 65,535."""
        if not 1 <= execution <= MAX_EXECUTION:
            raise ValueError(f"execution must be 1 to {MAX_EXECUTION}, got {execution}")
        key = self._keys[0]
        body = bytes((key.id,)) + enrollment_id.bytes + execution.to_bytes(2, "big")
        return _base32(body + _mac(key, body))

    def read_address(self, token: str) -> tuple[UUID, int] | None:
        """Enrollment and execution of an address token in any case of letters, or None for anything else."""
        raw = _unbase32(token)
        if raw is None:
            return None
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        for key in self._by_id.get(raw[0], ()):
            if hmac.compare_digest(mac, _mac(key, body)):
                execution = int.from_bytes(body[17:19], "big")
                return (UUID(bytes=body[1:17]), execution) if execution else None
        return None


def _derive(secret: str) -> _Key:
    def part(purpose: bytes, length: int) -> bytes:
        return HKDF(algorithm=SHA256(), length=length, salt=b"tendril.tokens", info=purpose).derive(secret.encode())

    return _Key(id=part(b"id", 1)[0], link=AESSIV(part(b"link", 64)), address=part(b"address", 32))


def _mac(key: _Key, body: bytes) -> bytes:
    return hmac.digest(key.address, body, "sha256")[:_MAC_BYTES]


# --- claims as bytes ------------------------------------------------------------------------------------------------


def _pack(claims: LinkClaims) -> bytes:
    if claims.execution < 1:
        raise ValueError(f"execution must be 1 or more, got {claims.execution}")
    flags = _LAYOUT | _KINDS.index(claims.kind)
    parts = [claims.lead_id.bytes, claims.enrollment_id.bytes]
    if claims.sequence_id is not None:
        flags |= _HAS_SEQUENCE
        parts.append(claims.sequence_id.bytes)
    parts += [_varint(claims.execution), _text(claims.organization_id), _text(claims.channel)]
    if claims.target is not None:
        flags |= _HAS_TARGET
        target = claims.target.encode()
        if len(target) > MAX_TARGET_BYTES:
            raise ValueError(f"target must be at most {MAX_TARGET_BYTES} bytes, got {len(target)}")
        squeezed = _deflate(target)
        if len(squeezed) < len(target):
            flags |= _TARGET_COMPRESSED
            target = squeezed
        parts.append(target)  # last, so it needs no length
    return bytes((flags,)) + b"".join(parts)


def _unpack(raw: bytes) -> LinkClaims:
    """Raises ValueError for bytes of another layout (they are authentic, but a newer program wrote them)."""
    if len(raw) < _FIXED_BYTES:
        raise ValueError("claims end too soon")
    flags = raw[0]
    kind = flags & 0x03
    if flags & ~0x3F or not flags & _LAYOUT or kind >= len(_KINDS):
        raise ValueError("unknown layout of claims")
    lead_id, enrollment_id = UUID(bytes=raw[1:17]), UUID(bytes=raw[17:33])
    at = _FIXED_BYTES
    sequence_id = None
    if flags & _HAS_SEQUENCE:
        sequence_id = UUID(bytes=raw[at : at + 16])
        at += 16
    execution, at = _read_varint(raw, at)
    organization_id, at = _read_text(raw, at)
    channel, at = _read_text(raw, at)
    target = None
    if flags & _HAS_TARGET:
        target = (_inflate(raw[at:]) if flags & _TARGET_COMPRESSED else raw[at:]).decode()
    return LinkClaims(
        organization_id=organization_id,
        lead_id=lead_id,
        enrollment_id=enrollment_id,
        execution=execution,
        channel=channel,
        kind=_KINDS[kind],
        target=target,
        sequence_id=sequence_id,
    )


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw):
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("claims end too soon")


def _read_text(raw: bytes, at: int) -> tuple[str, int]:
    length, at = _read_varint(raw, at)
    if at + length > len(raw):
        raise ValueError("claims end too soon")
    return raw[at : at + length].decode(), at + length


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(value: str) -> bytes:
    raw = value.encode()
    return _varint(len(raw)) + raw


def _deflate(raw: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)  # bare: the token is authenticated already
    return compressor.compress(raw) + compressor.flush()


def _inflate(raw: bytes) -> bytes:
    decompressor = zlib.decompressobj(-15)
    try:
        return decompressor.decompress(raw, MAX_TARGET_BYTES)
    except zlib.error as error:
        raise ValueError("target does not decompress") from error


# --- alphabets ------------------------------------------------------------------------------------------------------


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unbase64(token: str) -> bytes | None:
    if not 0 < len(token) <= MAX_LINK_TOKEN_LENGTH or not token.isascii():
        return None
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return None
    return raw if _base64(raw) == token else None  # spare bits and foreign characters: one token has one spelling


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).rstrip(b"=").decode().lower()


def _unbase32(token: str) -> bytes | None:
    if len(token) != ADDRESS_TOKEN_LENGTH or not token.isascii():
        return None
    try:
        raw = base64.b32decode(token + "=", casefold=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == _ADDRESS_BYTES and _base32(raw) == token.lower() else None
