"""The channel that goes nowhere: for benchmarks and trials. It takes every message, through the whole ledger."""

from __future__ import annotations

from services.dispatcher.channels.protocol import HandOver
from services.dispatcher.message import Outbound
from services.dispatcher.outcomes import Accepted, Answer


class NullChannel:
    """Accepts at once."""

    wants_mime = False

    async def send(self, message: Outbound, hand_over: HandOver) -> Answer:  # noqa: ARG002 - the port's form
        """Accepted, once handed over."""
        await hand_over()
        return Accepted("null")

    async def close(self) -> None:
        """Nothing to give back."""
