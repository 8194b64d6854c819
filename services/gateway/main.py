"""The gateway program."""

from __future__ import annotations

from functools import partial

from services.gateway.wiring import build
from shared.serving import serve
from shared.settings import Settings


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then drains and ends. Raises SettingsError, OSError."""
    await serve("gateway", settings, partial(build, settings), port=settings.gateway_port)
