"""What can go wrong in the dispatcher.

DispatcherError
├── HandOverRefused  the row was stopped or taken over: nothing may be sent
├── BadAddress       the lead's address is none
└── LineLost         the line to a provider broke before the hand-over point: trying again is safe

BrokenContent and MissingValues (shared.rendering) come from rendering.

DependencyAway (shared.messaging)
└── LedgerAway         MongoDB does not answer: what is held is let go of
"""

from __future__ import annotations

from uuid import UUID

from shared.messaging.errors import DependencyAway


class DispatcherError(Exception):
    """Something is wrong in the dispatcher."""


class HandOverRefused(DispatcherError):
    """The row was stopped or taken over: nothing may be sent."""

    def __init__(self, dispatch_id: UUID) -> None:
        self.dispatch_id = dispatch_id
        super().__init__(f"dispatch {dispatch_id} may not be handed over: its row was stopped or taken over")


class BadAddress(DispatcherError):
    """The lead's address is not one that mail can be sent to."""

    def __init__(self) -> None:
        super().__init__("the address is not one that mail can be sent to")


class LineLost(DispatcherError):
    """The line to a provider broke before the hand-over point: trying again is safe."""


class LedgerAway(DependencyAway):
    """MongoDB does not answer. It is unknown whether the last change of a row took place."""
