"""Files that go with a mail: read once, kept by hash, and written as parts of a multipart/mixed message.

Parts are made from name, type and bytes alone, so that a later attempt writes the same bytes again; the ledger keeps
only what comes before them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from email.message import MIMEPart
from email.policy import SMTP
from typing import Any, Protocol
from uuid import UUID

from shared.events.dispatch import Attached

#: Bytes of files that a dispatcher keeps in memory.
KEPT_BYTES = 64 << 20


class MissingFile(Exception):
    """The bytes of an attachment are gone: the message can never be sent as it is meant."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"the attachment {name} is missing in the store")


class FileStore(Protocol):
    """Where bytes come from, by organization and SHA-256."""

    async def get(self, organization_id: str, digest: str) -> bytes | None: ...


class Files:
    """Reads files, and keeps those used last. What a hash names never changes."""

    def __init__(self, store: FileStore, most_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self._most = most_bytes
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._size = 0

    async def of(self, organization_id: str, attached: Iterable[Attached]) -> dict[str, bytes]:
        """Bytes by hash. Raises MissingFile, and what the store raises when it is away."""
        found: dict[str, bytes] = {}
        for file in attached:
            key = (organization_id, file.sha256)
            data = self._kept.get(key)
            if data is None:
                data = await self._store.get(organization_id, file.sha256)
                if data is None:
                    raise MissingFile(file.name)
                self._keep(key, data)
            else:
                self._kept.move_to_end(key)
            found[file.sha256] = data
        return found

    def _keep(self, key: tuple[str, str], data: bytes) -> None:
        self._size += len(data) - len(self._kept.pop(key, b""))
        self._kept[key] = data
        while self._size > self._most:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest)


def boundary_of(dispatch_id: UUID) -> str:
    """What separates the parts of a message: the same for every attempt, and not to be guessed by who writes it."""
    return f"=_{dispatch_id.hex}_files"


def written(attached: Sequence[Attached], files: Mapping[str, bytes], boundary: str) -> bytes:
    """The parts and the end of the message, CRLF line ends."""
    parts = b"".join(
        b"--%s\r\n%s\r\n" % (boundary.encode(), _part(file, files[file.sha256]).rstrip(b"\r\n")) for file in attached
    )
    return parts + b"--%s--\r\n" % boundary.encode()


def _part(file: Attached, data: bytes) -> bytes:
    maintype, _, subtype = file.content_type.partition("/")
    part = MIMEPart(policy=SMTP)
    part.set_content(data, maintype, subtype, disposition="attachment", filename=file.name, cte="base64")
    return part.as_bytes()


def to_documents(attached: Sequence[Attached]) -> list[dict[str, Any]]:
    """As they are kept in the ledger's row."""
    return [file.model_dump() for file in attached]


def from_documents(documents: Iterable[Mapping[str, Any]]) -> tuple[Attached, ...]:
    """The other way round."""
    return tuple(Attached.model_validate(document) for document in documents)
