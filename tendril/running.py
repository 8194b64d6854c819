"""Runs one service in this process."""

from __future__ import annotations

import asyncio
import gc
import importlib
from typing import Any

import uvloop

from shared.settings import Settings

#: Objects made before the collector looks at the young ones, and rounds until it looks at older ones. Services make
#: many small objects and few cycles: at Python's own 700 the collector takes a fifth of a busy service's time.
COLLECT_AFTER = (20_000, 20, 20)

SERVICES = ("enrollment", "dispatcher", "tracker", "projector", "gateway")


def run_service(name: str, settings: Settings, **options: Any) -> None:
    """Runs until the process is told to end. ``options`` go to the service's own ``run`` (``roles``, ``channels``).

    Raises ValueError for an unknown name, and whatever keeps the service from starting.
    """
    if name not in SERVICES:
        raise ValueError(f"service must be one of {', '.join(SERVICES)}, got {name!r}")
    gc.set_threshold(*COLLECT_AFTER)
    module = importlib.import_module(
        f"services.{name}.main"
    )  # only the one that runs: each start loads no more than it needs
    gc.freeze()  # what is loaded stays: no collection looks at it again
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(module.run(settings, **options))
