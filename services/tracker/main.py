"""The tracker program."""

from __future__ import annotations

from functools import partial

from services.tracker.errors import SpoolBroken
from services.tracker.wiring import build
from shared.serving import serve
from shared.settings import Settings


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then drains and ends. Raises SpoolBroken when the disk fails to sync."""
    service = await serve(
        "tracker",
        settings,
        partial(build, settings),
        until=lambda service: service.outbox.broken.wait(),
        http_port=settings.tracker_port,
        smtp_port=settings.inbound_smtp_port,
    )
    if service.outbox.broken.is_set():
        raise SpoolBroken("the disk failed to sync the spool")
