"""The dispatcher program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from services.dispatcher.wiring import CHANNELS, build
from shared.serving import serve
from shared.settings import Settings


async def run(settings: Settings, *, channels: Sequence[str] = CHANNELS) -> None:
    """Serves until SIGTERM or SIGINT, then drains and ends. Raises UnknownChannel, SettingsError, ClockError."""
    await serve("dispatcher", settings, partial(build, settings, channels=channels), channels=sorted(channels))
