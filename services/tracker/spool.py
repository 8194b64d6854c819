"""The disk spool: what waits for the broker, in order, safe against a kill at any instruction.

A folder ``tracker-<n>`` belongs to one process at a time (a lock on a file in it). It holds numbered segments; a line
is the CRC of a record and the record as JSON. A line counts once it is whole and its CRC is right; a partial last line
was never promised to anyone. A segment is removed once all of it has been handed over, so a kill in between hands the
same ids over again. A fresh start never appends to an old segment, so a partial line is always the last of its file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson
import structlog

from services.tracker import telemetry
from services.tracker.errors import SpoolBroken, SpoolFull
from shared.faults import crash_point

#: A kill while a segment drains repeats at most this much.
SEGMENT_BYTES = 4 << 20
SUFFIX = ".spool"
LOCK = "lock"
MAX_FOLDERS = 1_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """One message on disk: where it goes, and the CloudEvent as an object."""

    exchange: str
    routing_key: str
    event: dict[str, Any]

    @property
    def line(self) -> bytes:
        body = orjson.dumps({"x": self.exchange, "k": self.routing_key, "e": self.event})
        return b"%08x %s\n" % (zlib.crc32(body), body)


class Spool:
    """One process's folder. All methods block; ``append`` may run in one thread while another drains."""

    def __init__(self, root: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Takes the first folder under ``root`` that no living process holds. Raises SpoolFull when there is none to
        be made."""
        self._root = root
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._active: IO[bytes] | None = None
        self._size = 0
        try:
            self.folder, self._held = _claim(root)
        except OSError as error:
            raise SpoolFull(f"no spool can be made in {root}: {error}") from error
        self._last = max((_number(path) for path in self._segments()), default=0)
        self.adopt()

    def close(self) -> None:
        """Lets go of the folder; the next process may take it."""
        with self._lock:
            self._seal()
            os.close(self._held)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._segments()

    @property
    def bytes_waiting(self) -> int:
        """Size of all segments."""
        total = 0
        for path in self._segments():
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def append(self, records: Sequence[Record]) -> None:
        """On disk, synced, when this returns. Raises SpoolFull (nothing was kept) or SpoolBroken (unknown)."""
        data = b"".join(record.line for record in records)
        with self._lock:
            try:
                file = self._active or self._open()
                _write_all(file, data)
            except OSError as error:
                self._undo()
                raise SpoolFull(str(error)) from error
            crash_point("tracker.spool_written")
            try:
                os.fsync(file.fileno())
            except OSError as error:
                raise SpoolBroken(str(error)) from error
            self._size += len(data)
            if self._size >= self._segment_bytes:
                self._seal()
        crash_point("tracker.spool_synced")

    def drainable(self) -> Path | None:
        """The oldest segment, closed to further appends; None when nothing waits."""
        with self._lock:
            segments = self._segments()
            if not segments:
                return None
            if self._active is not None and Path(self._active.name) == segments[0]:
                self._seal()
            return segments[0]

    def remove(self, segment: Path, *, damaged: bool) -> None:
        """All of a segment was handed over. One with unreadable lines is kept aside under another name."""
        crash_point("tracker.spool_before_remove")
        if damaged:
            segment.rename(segment.with_suffix(".damaged"))
        else:
            segment.unlink()
        _sync_folder(self.folder)

    def adopt(self) -> int:
        """Takes over the segments of processes that ended and left some; how many."""
        adopted = 0
        for folder in sorted(self._root.glob("tracker-*")):
            if folder == self.folder or not any(folder.glob("*" + SUFFIX)):
                continue
            held = _try_lock(folder)
            if held is None:
                continue
            try:
                with self._lock:
                    self._seal()
                    for path in sorted(folder.glob("*" + SUFFIX)):
                        path.rename(self._next())
                        adopted += 1
                _sync_folder(self.folder)
                _sync_folder(folder)
            finally:
                os.close(held)
        return adopted

    def _segments(self) -> list[Path]:
        return sorted(self.folder.glob("*" + SUFFIX))

    def _next(self) -> Path:
        self._last += 1
        return self.folder / f"{self._last:012d}{SUFFIX}"

    def _open(self) -> IO[bytes]:
        file = self._next().open("xb", buffering=0)
        self._active, self._size = file, 0
        _sync_folder(self.folder)
        return file

    def _seal(self) -> None:
        if self._active is not None:
            self._active.close()
            self._active = None

    def _undo(self) -> None:
        """After a failed write: cut the partial line off, and begin another file next time."""
        if self._active is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._active.fileno(), self._size)
            self._seal()


def read_segment(segment: Path) -> Iterator[Record | None]:
    """The records of a segment in order; None for a line in the middle that cannot be read."""
    with segment.open("rb") as file:
        for line in file:
            record = _parse(line)
            if record is None and not line.endswith(b"\n"):
                return  # partial last line: never promised
            if record is None:
                telemetry.DAMAGED.inc()
                _log.error("spool_line_damaged", segment=segment.name)
            yield record


def _parse(line: bytes) -> Record | None:
    try:
        checksum, body = line[:8], line[9:-1]
        if not line.endswith(b"\n") or int(checksum, 16) != zlib.crc32(body):
            return None
        fields = orjson.loads(body)
        return Record(fields["x"], fields["k"], fields["e"])
    except (ValueError, KeyError, TypeError):
        return None


def _write_all(file: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _claim(root: Path) -> tuple[Path, int]:
    for number in range(1, MAX_FOLDERS):
        folder = root / f"tracker-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        held = _try_lock(folder)
        if held is not None:
            return folder, held
    raise OSError(f"all of {MAX_FOLDERS} folders are taken")


def _try_lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock until it is closed (or the process ends); None when another has it."""
    held = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held


def _number(segment: Path) -> int:
    return int(segment.stem) if segment.stem.isdigit() else 0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
