"""Ports for servers that are about to start."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tendril.embedded import ports
from tendril.embedded.ports import free_port, is_free

ASKED = 200
ASK = f"from tendril.embedded.ports import free_port; print(*(free_port() for _ in range({ASKED})))"


@pytest.fixture
def last_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a place where nobody asked yet."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / f"tendril-ports-{os.getuid()}"


async def test_processes_that_ask_at_the_same_time_get_different_ports() -> None:
    async def ask() -> list[int]:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", ASK, stdout=subprocess.PIPE)
        said, _ = await child.communicate()
        return [int(port) for port in said.split()]

    given = [port for some in await asyncio.gather(ask(), ask(), ask()) for port in some]
    assert len(given) == len(set(given)) == 3 * ASKED


def test_no_outgoing_connection_can_take_a_port_before_its_server() -> None:
    if not ports.OUTGOING.exists():
        pytest.skip("the system does not say which ports it gives to outgoing connections")
    first, last = (int(word) for word in ports.OUTGOING.read_text().split())
    assert not any(first <= free_port() <= last for _ in range(20))


def test_a_port_somebody_listens_on_is_passed_over(last_given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "OUTGOING", last_given / "none")
    monkeypatch.setattr(ports, "PORTS_TO", 65_536)  # the system gives the listener one that nobody else is given
    with socket.create_server((ports.LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        last_given.write_text(f"{port - 1}\n")
        assert not is_free(port)
        assert free_port() != port
    last_given.write_text(f"{port - 1}\n")
    assert is_free(free_port())


@pytest.mark.parametrize("odd", ["", "80\n", "many\n", "\u0661\n"])
def test_a_file_that_says_no_port_is_written_anew(last_given: Path, odd: str) -> None:
    last_given.write_text(odd, encoding="utf-8")
    port = free_port()
    assert last_given.read_text() == f"{port}\n"
    assert free_port() != port


def test_with_no_room_below_the_outgoing_ones_any_port_will_do(
    last_given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = tmp_path / "range"
    everything.write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "OUTGOING", everything)
    assert is_free(free_port())
    assert last_given.exists()


def test_none_free_is_said(last_given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _: False)
    with pytest.raises(OSError, match="is free"):
        free_port()
    assert last_given.read_text() == ""
