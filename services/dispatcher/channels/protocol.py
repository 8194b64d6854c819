"""What a channel is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from services.dispatcher.message import Outbound
from services.dispatcher.outcomes import Answer

#: The compare-and-set of the ledger. It raises when the row was stopped or taken over, and then nothing is sent.
HandOver = Callable[[], Awaitable[None]]


class Channel(Protocol):
    """Hands messages to a provider.

    ``send`` awaits ``hand_over`` at the last moment at which nothing has gone out yet, exactly once at most, lets its
    errors through, and does not try again after it. It raises nothing else: whatever the provider does is one of the
    answers.
    """

    wants_mime: bool  #: whether messages need their MIME form

    async def send(self, message: Outbound, hand_over: HandOver) -> Answer:
        """What became of the message."""

    async def close(self) -> None:
        """Gives connections back."""
