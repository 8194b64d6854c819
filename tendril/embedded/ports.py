"""Ports of private servers: chosen once, kept in a file, so that a second start has the same addresses."""

from __future__ import annotations

import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A TCP port on loopback that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def kept_port(folder: Path, name: str, wanted: int | None = None) -> int:
    """The port called `name` of a server whose data is in `folder`: `wanted`, else the one of the last start when it is
    free, else a new one. It is written down for the next start.
    """
    path = folder / f"{name}.port"
    if wanted is None:
        try:
            last = int(path.read_text())
        except (FileNotFoundError, ValueError):
            last = 0
        wanted = last if last and is_free(last) else free_port()
    path.write_text(f"{wanted}\n")
    return wanted
