"""The spool: in order, nothing lost, whatever was cut off in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.tracker.errors import SpoolBroken, SpoolFull
from services.tracker.spool import Record, Spool, read_segment


def record(number: int) -> Record:
    return Record("tendril.commands", "signal.opened", {"id": str(number), "data": "ü" * 20})


def drained(spool: Spool) -> list[str]:
    """Ids of everything, taken out."""
    ids: list[str] = []
    while (segment := spool.drainable()) is not None:
        records = list(read_segment(segment))
        ids += [found.event["id"] for found in records if found is not None]
        spool.remove(segment, damaged=None in records)
    return ids


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", segment_bytes=300)
    yield spool
    spool.close()


def test_what_goes_in_comes_out_in_order_over_many_segments(spool: Spool) -> None:
    for number in range(40):
        spool.append([record(number)])
    assert spool.bytes_waiting > 0
    assert len(list(spool.folder.glob("*.spool"))) > 5
    assert drained(spool) == [str(number) for number in range(40)]
    assert spool.is_empty


def test_appends_go_on_while_the_oldest_is_read(spool: Spool) -> None:
    spool.append([record(1)])
    segment = spool.drainable()
    assert segment is not None
    spool.append([record(2)])
    assert [found.event["id"] for found in read_segment(segment) if found] == ["1"]
    spool.remove(segment, damaged=False)
    assert drained(spool) == ["2"]


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(0, 400), extra=st.binary(max_size=30))
def test_a_partial_last_line_is_nothing_and_takes_nothing_along(
    tmp_path_factory: pytest.TempPathFactory, cut: int, extra: bytes
) -> None:
    root = tmp_path_factory.mktemp("spool")
    first = Spool(root)
    first.append([record(1), record(2), record(3)])
    first.close()
    (path,) = first.folder.glob("*.spool")
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(whole[: min(cut, len(whole))] + extra.replace(b"\n", b""))
    left = min(cut, len(whole))
    complete = [number for number in (1, 2, 3) if left >= sum(map(len, lines[:number]))]
    second = Spool(root)
    second.append([record(4)])
    found = drained(second)
    second.close()
    assert [name for name in found if name != "4"] == [str(number) for number in complete][: len(found) - 1]
    assert set(map(str, complete[: -1 if extra else None])) <= set(found)
    assert found[-1] == "4"


def test_a_damaged_line_is_kept_aside_and_the_others_go_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([record(1), record(2), record(3)])
    (path,) = spool.folder.glob("*.spool")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"00000000" + lines[1][8:] + lines[2])
    assert drained(spool) == ["1", "3"]
    assert len(list(spool.folder.glob("*.damaged"))) == 1
    spool.close()


def test_each_process_has_its_own_and_an_abandoned_one_is_adopted(tmp_path: Path) -> None:
    first, second = Spool(tmp_path), Spool(tmp_path)
    assert first.folder != second.folder
    first.append([record(1)])
    second.append([record(2)])
    assert first.adopt() == 0  # the other lives
    second.close()
    assert first.adopt() == 1
    assert drained(first) == ["1", "2"]
    first.close()
    third = Spool(tmp_path)
    assert third.folder == first.folder
    third.close()


def test_a_full_disk_keeps_nothing_of_the_batch_and_all_from_before(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.append([record(1)])

    class Full:
        def __init__(self, file: object) -> None:
            self.file = file
            self.written = 0

        def write(self, data: memoryview) -> int:
            if self.written:
                raise OSError(28, "No space left on device")
            self.written = self.file.write(data[:10])  # type: ignore[attr-defined]  # a stand-in for the real file
            return self.written

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    monkeypatch.setattr(spool, "_active", Full(spool._active))
    with pytest.raises(SpoolFull, match="No space"):
        spool.append([record(2)])
    spool.append([record(3)])
    assert drained(spool) == ["1", "3"]


def test_a_failed_sync_is_not_guessed_about(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    spool.append([record(1)])
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(SpoolBroken):
            spool.append([record(2)])


def test_a_place_where_nothing_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolFull):
        Spool(tmp_path / "file" / "spool")


_WRITER = """
import sys
from pathlib import Path
from tests.tracker.test_spool import record
from services.tracker.spool import Spool
spool = Spool(Path(sys.argv[1]), segment_bytes=300)
for number in range(20):
    spool.append([record(number)])
    print(number, flush=True)
"""


@pytest.mark.faults
@pytest.mark.parametrize("point", ["tracker.spool_written:7", "tracker.spool_synced:7"])
def test_what_was_promised_before_a_kill_is_there(tmp_path: Path, point: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _WRITER, str(tmp_path)],
        env={**os.environ, "TENDRIL_CRASH_AT": point},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == -9, run.stderr
    promised = run.stdout.split()
    assert len(promised) == 6
    spool = Spool(tmp_path)
    assert drained(spool)[:6] == promised
    spool.close()
