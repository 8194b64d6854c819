"""A projector as a process of its own, with short leases and a reader of HOME/log.json, for tests that kill it:
``python program.py AMQP_URL MONGO_URL HOME``.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import orjson

from services.projector.wiring import build
from shared.clock import SystemClock
from shared.settings import load_settings
from tests.projector.log import Log, LogPages


async def main(amqp_url: str, mongo_url: str, home: str) -> None:
    """Runs until it is killed."""
    log = Log()
    log.events = orjson.loads((Path(home) / "log.json").read_bytes())
    pages = LogPages(log)
    settings = load_settings({}, amqp_url=amqp_url, mongo_url=mongo_url, home=home)
    service = await build(settings, SystemClock(), pages=pages, gather_seconds=0.01, lease_seconds=(2.0, 0.3))
    await service.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
