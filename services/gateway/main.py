"""The gateway program."""

from __future__ import annotations

import asyncio
import signal

import structlog

from services.gateway.wiring import build
from shared.clock import load_clock
from shared.settings import Settings
from shared.telemetry import TelemetryServer, configure_logging, configure_tracing

_log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then drains and ends. Raises SettingsError, OSError."""
    configure_logging(settings.log_format, "gateway")
    configure_tracing("gateway", settings.otlp_endpoint)
    service = await build(settings, load_clock(settings.home))
    telemetry = TelemetryServer(settings.telemetry_port, service.readiness)
    port = await telemetry.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await service.start()
        _log.info("gateway_ready", port=settings.gateway_port, telemetry_port=port)
        await stop.wait()
    finally:
        await service.close()
        await telemetry.stop()
