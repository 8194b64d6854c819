"""The enrollment program."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Collection
from datetime import timedelta

import structlog

from services.enrollment.wiring import ROLES, EnrollmentService, Role, build
from shared.clock import Clock, load_clock
from shared.settings import Settings
from shared.telemetry import TelemetryServer, configure_logging, configure_tracing

log = structlog.get_logger()

#: Business time of a store may be this far ahead of the wall before an unscaled start is refused (clocks of machines
#: differ a little).
CLOCK_TOLERANCE = timedelta(minutes=5)


class StoreAhead(Exception):
    """The store has seen later business times than the wall's: it belongs to a scaled run."""


async def run(settings: Settings, *, roles: Collection[Role] = ROLES) -> None:
    """Serves until SIGTERM or SIGINT, then drains and ends. Raises StoreAhead, WrongRoles, or the store's own
    errors."""
    configure_logging(settings.log_format, "enrollment")
    configure_tracing("enrollment", settings.otlp_endpoint)
    clock = load_clock(settings.home)
    service = await build(settings, clock, roles=roles)
    refuse_wrong_clock(service, clock)
    telemetry = TelemetryServer(settings.telemetry_port, service.readiness)
    port = await telemetry.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await service.start()
        log.info("enrollment_ready", telemetry_port=port, roles=sorted(roles))
        await stop.wait()
    finally:
        await service.close()
        await telemetry.stop()


def refuse_wrong_clock(service: EnrollmentService, clock: Clock) -> None:
    """A store whose business time is ahead of an unscaled clock would wait for the wall to catch up. Raises
    StoreAhead."""
    latest = service.store.meta().business_time
    if clock.speed == 1.0 and latest is not None and latest > clock.now() + CLOCK_TOLERANCE:
        raise StoreAhead(
            f"the event store has reached {latest.isoformat()} in business time, ahead of the clock: "
            "it was filled by a scaled run (--speed); start it with --demo, or choose another TENDRIL_HOME"
        )
