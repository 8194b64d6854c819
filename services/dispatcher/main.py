"""The dispatcher program."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

import structlog

from services.dispatcher.wiring import CHANNELS, build
from shared.clock import load_clock
from shared.settings import Settings
from shared.telemetry import TelemetryServer, configure_logging, configure_tracing

_log = structlog.get_logger(__name__)


async def run(settings: Settings, *, channels: Sequence[str] = CHANNELS) -> None:
    """Serves until SIGTERM or SIGINT, then drains and ends. Raises UnknownChannel, SettingsError, ClockError."""
    configure_logging(settings.log_format, "dispatcher")
    configure_tracing("dispatcher", settings.otlp_endpoint)
    service = await build(settings, load_clock(settings.home), channels=channels)
    server = TelemetryServer(settings.telemetry_port, service.readiness)
    port = await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    starting = asyncio.create_task(service.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _log.info("dispatcher_ready", telemetry_port=port, channels=sorted(channels))
            await stopping
    finally:
        starting.cancel()
        stopping.cancel()
        await service.close()
        await server.stop()
