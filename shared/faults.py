"""Named crash points: where a fault test may kill this process.

``TENDRIL_CRASH_AT=relay.after_publish:3`` kills the process with SIGKILL at the third passage of that point (the
first when no number is given). Without the variable a point costs one comparison. ``TENDRIL_FREEZE_AT`` stops the
process there with SIGSTOP instead.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_KILL = os.environ.get("TENDRIL_CRASH_AT", "")
_FREEZE = os.environ.get("TENDRIL_FREEZE_AT", "")
_ARMED = bool(_KILL or _FREEZE)
_passages: Counter[str] = Counter()


def crash_point(name: str) -> None:
    """Dies or freezes here when the environment says so."""
    if not _ARMED:
        return
    _passages[name] += 1
    for wanted, what in ((_KILL, signal.SIGKILL), (_FREEZE, signal.SIGSTOP)):
        point, _, passage = wanted.partition(":")
        if point == name and _passages[name] == int(passage or 1):
            os.kill(os.getpid(), what)
