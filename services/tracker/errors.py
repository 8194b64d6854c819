"""What can go wrong in the tracker.

TrackerError
├── NotDurable     neither the broker nor the disk has taken a signal; whoever can try again must be told to
├── SpoolFull      the disk takes no more, or is read-only; what was appended before is safe
└── SpoolBroken    the disk failed to sync: what it holds is unknown, so the process ends rather than guess
"""

from __future__ import annotations


class TrackerError(Exception):
    """Something is wrong in the tracker."""


class NotDurable(TrackerError):
    """Neither the broker nor the disk has taken the signal."""


class SpoolFull(TrackerError):
    """The disk takes no more, or is read-only."""


class SpoolBroken(TrackerError):
    """The disk failed to sync; what it holds is unknown."""
