"""The frame around a service: its log, traces and telemetry page, the signals that end it, and the order of these."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import structlog

from shared.clock import Clock, load_clock
from shared.settings import Settings
from shared.telemetry import TelemetryServer, configure_logging, configure_tracing

log = structlog.get_logger()


class Service(Protocol):
    """The parts of one program."""

    async def start(self) -> None:
        """Connect and begin to serve; waits for servers that are away."""

    async def close(self) -> None:
        """Take nothing new, finish what runs, let go of everything; also after a start that was cut short."""

    def readiness(self) -> dict[str, bool]:
        """What must hold to be of use, by name."""


Built = TypeVar("Built", bound=Service)


async def serve(
    name: str,
    settings: Settings,
    build: Callable[[Clock], Awaitable[Built]],
    *,
    until: Callable[[Built], Awaitable[Any]] | None = None,
    **told: object,
) -> Built:
    """Builds a service and serves until SIGTERM, SIGINT or the end of ``until``, then drains; answers the service.

    ``told`` goes into the line that says it is ready. Raises what ``build`` and the service's ``start`` raise.
    """
    configure_logging(settings.log_format, name)
    configure_tracing(name, settings.otlp_endpoint)
    service = await build(load_clock(settings.home))
    telemetry = TelemetryServer(settings.telemetry_port, service.readiness)
    port = await telemetry.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    starting = asyncio.ensure_future(service.start())
    ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.wait())]
    if until is not None:
        ends.append(asyncio.ensure_future(until(service)))
    try:
        await asyncio.wait({starting, *ends}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            log.info("service_ready", telemetry_port=port, **told)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (starting, *ends):
            task.cancel()
        for ended in await asyncio.gather(starting, *ends, return_exceptions=True):
            if isinstance(ended, Exception):
                log.warning("service_ended_with", error=repr(ended))
        await service.close()
        await telemetry.stop()
    return service
