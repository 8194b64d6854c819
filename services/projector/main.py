"""The projector program."""

from __future__ import annotations

from functools import partial

from services.projector.wiring import build
from shared.serving import serve
from shared.settings import Settings


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then finishes the batch in hand and ends."""
    await serve("projector", settings, partial(build, settings))
