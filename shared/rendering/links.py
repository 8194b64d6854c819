"""The addresses that a rendered message holds."""

from __future__ import annotations

from typing import Protocol


class Links(Protocol):
    """What rendering needs of a message's addresses."""

    @property
    def unsubscribe(self) -> str:
        """The unsubscribe page."""

    @property
    def pixel(self) -> str:
        """The open pixel."""

    def click(self, target: str) -> str:
        """The redirect to a target; the target itself when no token can hold it."""


class PlainLinks:
    """Links that lead where they say, and a place for the link to unsubscribe: for what is only looked at."""

    unsubscribe = "#unsubscribe"
    pixel = ""

    def click(self, target: str) -> str:
        return target
