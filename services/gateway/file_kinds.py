"""What kind of file something is, by its bytes. Only kinds that mail programs show and that nothing runs are known; the
name must say the same.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import cast

from shared.events.attachment import MediaType

_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN = "application/vnd.oasis.opendocument."
#: By the end of the file's name.
KINDS: Mapping[str, str] = {
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "docx": f"{_OFFICE}wordprocessingml.document",
    "xlsx": f"{_OFFICE}spreadsheetml.sheet",
    "pptx": f"{_OFFICE}presentationml.presentation",
    "odt": f"{_OPEN}text",
    "ods": f"{_OPEN}spreadsheet",
    "odp": f"{_OPEN}presentation",
    "txt": "text/plain",
    "csv": "text/csv",
    "ics": "text/calendar",
    "vcf": "text/vcard",
}
_MAIN_PART = {"word/document.xml": "docx", "xl/workbook.xml": "xlsx", "ppt/presentation.xml": "pptx"}
_BEGINNINGS = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF87a", "gif"), (b"GIF89a", "gif"))
_TEXTS = {"txt": b"", "csv": b"", "ics": b"BEGIN:VCALENDAR", "vcf": b"BEGIN:VCARD"}
_UNPRINTABLE = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")


class BadFile(Exception):
    """The file may not be attached; the text says why, as of a field."""


def kind_of(name: str, data: bytes) -> MediaType:
    """The media type. Raises BadFile."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    wanted = KINDS.get(ending)
    if wanted is None:
        raise BadFile(f"has a name that does not end in one of {', '.join(KINDS)}")
    if not data:
        raise BadFile("is empty")
    if not _is_text(ending, data) and _binary(data) != wanted:
        raise BadFile(f"is not what its name says: .{ending}")
    return cast("MediaType", wanted)


def _is_text(ending: str, data: bytes) -> bool:
    beginning = _TEXTS.get(ending)
    if beginning is None:
        return False
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeDecodeError:
            return False
    data = data.removeprefix(b"\xef\xbb\xbf")
    return data.startswith(beginning) and not data.startswith((b"#!", b"%PDF-")) and not _UNPRINTABLE.search(data)


def _binary(data: bytes) -> str | None:
    for beginning, ending in _BEGINNINGS:
        if data.startswith(beginning):
            return KINDS[ending]
    if data.startswith(b"%PDF-"):
        return KINDS["pdf"]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return KINDS["webp"]
    return _of_archive(data) if data.startswith(b"PK\x03\x04") else None


def _of_archive(data: bytes) -> str | None:
    """The kind of an office document; None for other archives, and for one that holds macros."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            parts = set(archive.namelist())
            if any(part.lower().endswith("vbaproject.bin") or part.startswith("Basic/") for part in parts):
                return None
            if "[Content_Types].xml" in parts:
                return next((KINDS[ending] for part, ending in _MAIN_PART.items() if part in parts), None)
            if "mimetype" not in parts or archive.getinfo("mimetype").file_size > 100:
                return None
            return archive.read("mimetype").decode("ascii", "replace").strip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, KeyError):
        return None
