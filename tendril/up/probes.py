"""Whether a process serves."""

from __future__ import annotations

import asyncio

from tendril.embedded.ports import LOOPBACK

PROBE_SECONDS = 2.0


async def always() -> bool:
    """Of a process that nobody waits for."""
    return True


async def listens(port: int) -> bool:
    """Whether something takes connections there."""
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True


async def is_ready(port: int) -> bool:
    """Whether the service says 200 at ``/readyz``."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in status
