"""What can go wrong in the projector.

ProjectorError
├── Fenced            a checkpoint is not where this process believed: another one owns the partition, or a commit's
answer was lost
├── WriteRefused      MongoDB refuses a view's writes for good (a document too large, a value it cannot hold)
└── ReaderAway        no reader answered for a page of the log
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.projector.targets import Target


class ProjectorError(Exception):
    """Something is wrong in the projector."""


class Fenced(ProjectorError):
    """A checkpoint is not where this process believed: another one owns the partition, or a commit's answer was
    lost.
    """


class WriteRefused(ProjectorError):
    """MongoDB refuses a view's writes for good."""

    def __init__(self, target: Target, why: str) -> None:
        self.target = target
        self.why = why
        super().__init__(f"{target.key}: {why}")


class ReaderAway(ProjectorError):
    """No reader answered for a page of the log."""
