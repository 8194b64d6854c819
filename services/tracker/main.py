"""The tracker program."""

from __future__ import annotations

import asyncio
import signal

import structlog

from services.tracker.errors import SpoolBroken
from services.tracker.wiring import build
from shared.clock import load_clock
from shared.settings import Settings
from shared.telemetry import TelemetryServer, configure_logging, configure_tracing

_log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then drains and ends. Raises SpoolBroken when the disk fails to sync."""
    configure_logging(settings.log_format, "tracker")
    configure_tracing("tracker", settings.otlp_endpoint)
    service = await build(settings, load_clock(settings.home))
    telemetry = TelemetryServer(settings.telemetry_port, service.readiness)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    port = await telemetry.start()
    try:
        await service.start()
        _log.info(
            "tracker_ready",
            http_port=settings.tracker_port,
            smtp_port=settings.inbound_smtp_port,
            telemetry_port=port,
            spool=service.spool.folder.name,
        )
        endings = [asyncio.create_task(stop.wait()), asyncio.create_task(service.outbox.broken.wait())]
        await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
        for ending in endings:
            ending.cancel()
    finally:
        await service.close()
        await telemetry.stop()
    if service.outbox.broken.is_set():
        raise SpoolBroken("the disk failed to sync the spool")
