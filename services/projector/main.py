"""The projector program."""

from __future__ import annotations

import asyncio
import signal

import structlog

from services.projector.wiring import build
from shared.clock import load_clock
from shared.settings import Settings
from shared.telemetry import TelemetryServer, configure_logging, configure_tracing

log = structlog.get_logger()


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then finishes the batch in hand and ends."""
    configure_logging(settings.log_format, "projector")
    configure_tracing("projector", settings.otlp_endpoint)
    service = await build(settings, load_clock(settings.home))
    telemetry = TelemetryServer(settings.telemetry_port, service.readiness)
    port = await telemetry.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await service.start()
        log.info("projector_started", telemetry_port=port)
        await stop.wait()
    finally:
        await service.close()
        await telemetry.stop()
