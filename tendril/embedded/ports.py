"""Ports of private servers: chosen once, kept in a file, so that a second start has the same addresses."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

LOOPBACK = "127.0.0.1"
PORTS_FROM = 10_000
PORTS_TO = 32_768  #: exclusive; where the system does not say which ports it gives to outgoing connections
FEWEST = 1_000  #: with fewer than these below the system's own, any port is chosen
OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A TCP port on loopback that nothing listens on at this moment, for a server that is about to start.

    It lies below those the system gives to outgoing connections, one of which could otherwise take it before the
    server does, or while the server is started again. Whoever asks gets the next one behind the last that was given
    to any process of this user, so two that ask at the same time do not get the same. Raises OSError when none is free.
    """
    ports = _offered()
    path = Path(tempfile.gettempdir()) / f"tendril-ports-{os.getuid()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+", encoding="ascii", errors="replace") as last:
        fcntl.flock(last, fcntl.LOCK_EX)  # until it is closed
        try:
            given = ports.index(int(last.read()))
        except ValueError:
            given = random.randrange(len(ports))  # noqa: S311 - any will do
        for step in range(1, len(ports) + 1):
            port = ports[(given + step) % len(ports)]
            if is_free(port):
                last.seek(0)
                last.truncate()
                last.write(f"{port}\n")
                return port
    raise OSError(f"no port of {LOOPBACK} from {ports.start} to {ports.stop - 1} is free")


def _offered() -> range:
    below = PORTS_TO
    with contextlib.suppress(OSError, ValueError, IndexError):
        below = int(OUTGOING.read_text().split()[0])
    return range(PORTS_FROM, below) if below >= PORTS_FROM + FEWEST else range(PORTS_FROM, 65_536)


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
