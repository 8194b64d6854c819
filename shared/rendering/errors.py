"""What can be wrong with content.

BrokenContent      a template cannot be rendered, or renders to something that must not be sent
└── MissingValues  values without a fallback are missing
"""

from __future__ import annotations

from collections.abc import Sequence


class BrokenContent(Exception):
    """A template cannot be rendered, or renders to something that must not be sent."""


class MissingValues(BrokenContent):
    """Values without a fallback are missing."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        super().__init__(f"no value and no fallback for {', '.join(names)}")
