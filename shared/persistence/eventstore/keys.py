"""Keys: one for each lead, wrapped by the master key; one for each organization, to hash identities with.

A lead's key encrypts that lead's personal fields in the log. Erasing the lead empties the key's row, and nothing can
read them again. The row stays, empty, so that a late event of the lead stores its personal fields as null and not under
a new key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Collection, Mapping
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.persistence.eventstore.effects import KeyRow
from shared.persistence.eventstore.errors import WrongMasterKey
from shared.persistence.eventstore.tables import statements as write

if TYPE_CHECKING:
    from shared.persistence.eventstore.recorder import Recorder
    from shared.persistence.eventstore.tables.session import Session

KEY_BYTES = 32
_NONCE_BYTES = 12
_MARK_BYTES = 4
#: For how long an erasure made by another process may go unnoticed.
RECHECK_SECONDS = 1.0
MAX_CACHED_KEYS = 20_000

_GENERATION = "SELECT number FROM meta WHERE key = 'erasures'"
_KEYS = "SELECT k.a, t.wrapped, t.lead_id FROM {keys} LEFT JOIN keys AS t ON t.lead_id = k.a"
_ORGANIZATION_KEY = "SELECT wrapped FROM organization_keys WHERE organization_id = ?"


class LeadCipher:
    """Encrypts and decrypts one lead's personal fields. A ciphertext begins with a mark of its key, so that one made
    with a key since
    deleted reads as null, while a damaged one is an error."""

    __slots__ = ("_aead", "_mark", "key")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._aead = AESGCM(key)
        self._mark = hashlib.sha256(b"mark" + key).digest()[:_MARK_BYTES]

    def seal(self, value: Any, about: bytes) -> str:
        """``value`` (JSON) as base64 text. ``about`` says which field of which event it is, and must be given again to
        open it.
        """
        nonce = os.urandom(_NONCE_BYTES)
        return b64encode(self._mark + nonce + self._aead.encrypt(nonce, orjson.dumps(value), about)).decode()

    def open(self, sealed: str, about: bytes) -> Any:
        """The value; None when it was sealed with a key since deleted. Raises ValueError for a damaged text."""
        try:
            raw = b64decode(sealed, validate=True)
            if raw[:_MARK_BYTES] != self._mark:
                return None
            start = _MARK_BYTES + _NONCE_BYTES
            return orjson.loads(self._aead.decrypt(raw[_MARK_BYTES:start], raw[start:], about))
        except (InvalidTag, Base64Error) as error:
            raise ValueError("a personal field is damaged") from error


Ciphers = Mapping[UUID, LeadCipher | None]


class MasterKey:
    """Wraps and opens other keys. ``owner`` binds a wrapped key to whose it is."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the master key must have {KEY_BYTES} bytes, got {len(key)}")
        self._aead = AESGCM(key)

    def wrap(self, key: bytes, owner: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, key, owner)

    def unwrap(self, wrapped: bytes, owner: bytes) -> bytes:
        """Raises WrongMasterKey."""
        try:
            return self._aead.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], owner)
        except (InvalidTag, ValueError) as error:
            raise WrongMasterKey from error


#: Keyed hashes remembered, about 300 bytes each: those of the leads on the move.
REMEMBERED_HASHES = 20_000


class KeyRing:
    """The keys in use, from a bounded cache or the store. Safe for any thread."""

    def __init__(self, master: MasterKey, recorder: Recorder) -> None:
        self._master = master
        self._recorder = recorder
        self._lock = Lock()
        self._leads: OrderedDict[UUID, LeadCipher] = OrderedDict()
        self._organizations: dict[str, bytes] = {}
        self._hash = lru_cache(maxsize=REMEMBERED_HASHES)(self._hash_now)
        self._generation = -1
        self._checked_at = -RECHECK_SECONDS

    def key_of(self, lead_id: UUID) -> bytes | None:
        """The lead's key; None when it was deleted or never made."""
        cipher = self.ciphers([lead_id]).get(lead_id)
        return None if cipher is None else cipher.key

    def new_key(self, lead_id: UUID) -> tuple[bytes, KeyRow]:
        """A fresh key and the row that keeps it. It counts once an append has written the row."""
        key = os.urandom(KEY_BYTES)
        return key, KeyRow(lead_id, self._master.wrap(key, lead_id.bytes))

    def ciphers(self, lead_ids: Collection[UUID]) -> dict[UUID, LeadCipher | None]:
        """A cipher for each lead that has a key row; None where the key was deleted, absent where none was made."""
        self._notice_erasures()
        found: dict[UUID, LeadCipher | None] = {}
        missing: list[UUID] = []
        with self._lock:
            for lead_id in lead_ids:
                cipher = self._leads.get(lead_id)
                if cipher is None:
                    missing.append(lead_id)
                else:
                    self._leads.move_to_end(lead_id)
                    found[lead_id] = cipher
        if missing:
            with self._recorder.reading() as session:
                uid = session.uid
                rows = session.keyed(_KEYS, ("uuid",), [(uid(lead_id),) for lead_id in missing])
                wrapped = {session.uuid(row[0]): row[1] for row in rows if row[2] is not None}
            loaded = {
                lead_id: None if row is None else self.opened(lead_id, bytes(row)) for lead_id, row in wrapped.items()
            }
            self.remember(loaded)
            found.update(loaded)
        return found

    def opened(self, lead_id: UUID, wrapped: bytes) -> LeadCipher:
        """A cipher from a key's row. Raises WrongMasterKey."""
        return LeadCipher(self._master.unwrap(wrapped, lead_id.bytes))

    def remember(self, ciphers: Ciphers) -> None:
        """Keeps ciphers whose keys are committed."""
        with self._lock:
            self._leads.update({lead_id: cipher for lead_id, cipher in ciphers.items() if cipher is not None})
            while len(self._leads) > MAX_CACHED_KEYS:
                self._leads.popitem(last=False)

    def forget(self, lead_ids: Collection[UUID]) -> None:
        """Drops ciphers from the cache, at once in this process."""
        with self._lock:
            for lead_id in lead_ids:
                self._leads.pop(lead_id, None)
        if lead_ids:
            self._hash.cache_clear()  # it remembers addresses in clear

    def organization_key(self, organization_id: str) -> bytes:
        """The organization's hashing key, made at the first call of any process and never changed."""
        key = self._organizations.get(organization_id)
        if key is None:
            owner = b"organization:" + organization_id.encode()
            with self._recorder.reading() as session:
                rows = session.rows(_ORGANIZATION_KEY, (organization_id,))
            if not rows:
                fresh = self._master.wrap(os.urandom(KEY_BYTES), owner)
                with self._recorder.writing() as session:
                    session.write(write.ORGANIZATION_KEYS, [(organization_id, fresh)])
                    rows = session.rows(_ORGANIZATION_KEY, (organization_id,))
            key = self._organizations[organization_id] = self._master.unwrap(bytes(rows[0][0]), owner)
        return key

    def keyed_hash(self, organization_id: str, *parts: str) -> str:
        """Hex HMAC-SHA256 of the parts under the organization's key. The key never changes, so answers are
        remembered."""
        return self._hash(organization_id, parts)

    def _hash_now(self, organization_id: str, parts: tuple[str, ...]) -> str:
        return hmac.digest(self.organization_key(organization_id), "\0".join(parts).encode(), "sha256").hex()

    def _notice_erasures(self) -> None:
        """Empties the cache when a lead was erased by any process. A key read before an erasure and kept after it goes
        with the next look.
        """
        now = monotonic()
        if now - self._checked_at < RECHECK_SECONDS:
            return
        with self._recorder.reading() as session:
            generation = generation_of(session)
        with self._lock:
            self._checked_at = now
            if generation != self._generation:
                self._generation = generation
                self._leads.clear()
                self._hash.cache_clear()


def generation_of(session: Session) -> int:
    """How many appends have erased leads; 0 for a new store."""
    rows = session.rows(_GENERATION)
    return rows[0][0] if rows else 0
