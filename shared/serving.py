"""The frame around a service: its log, traces and telemetry page, the signals that end it, and the order of these."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import structlog

from shared.clock import Clock, load_clock
from shared.ending import ended
from shared.settings import Settings
from shared.telemetry import TelemetryServer, configure_logging, configure_tracing

log = structlog.get_logger()

#: Objects made before the youngest are looked through for cycles. One batch makes many times the default of 700, and
#: next to none of them in cycles.
COLLECT_AFTER = 20_000


class Service(Protocol):
    """The parts of one program."""

    async def start(self) -> None:
        """Connect and begin to serve; waits for servers that are away."""

    async def close(self) -> None:
        """Take nothing new, finish what runs, let go of everything; also after a start that was cut short."""

    def readiness(self) -> dict[str, bool]:
        """What must hold to be of use, by name."""


Built = TypeVar("Built", bound=Service)


def collect_rarely() -> None:
    """What has been loaded stays for good and is never looked through again; what comes is looked through less often.
    A full collection otherwise holds every thread for a tenth of a second, and all of them take a fifth of a busy
    writer's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


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
    collect_rarely()
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
        await ended(starting, *ends)
        for task in (starting, *ends):
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("service_ended_with", error=repr(error))
        await service.close()
        await telemetry.stop()
    return service
