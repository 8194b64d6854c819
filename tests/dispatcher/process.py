"""A dispatcher as a process of its own, with short leases; settings from the environment; it says ``ready``."""

from __future__ import annotations

import asyncio
import signal
import sys

from services.dispatcher.wiring import build
from shared.clock import load_clock
from shared.settings import load_settings

LEASE_SECONDS = 3.0


async def main() -> None:
    """Serves until SIGTERM."""
    settings = load_settings()
    service = await build(settings, load_clock(settings.home), lease_seconds=LEASE_SECONDS, renew_seconds=1.0)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await service.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stop.wait()
    await service.close()


if __name__ == "__main__":
    asyncio.run(main())
