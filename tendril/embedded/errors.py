"""What can go wrong with a private server."""

from __future__ import annotations

from pathlib import Path

LOG_TAIL_LINES = 20


class EmbeddedError(Exception):
    """A private server did not start, or its program is missing. The text says what, with the end of its log."""


def with_log_tail(problem: str, log: Path) -> EmbeddedError:
    """The error with the last lines of the server's log, where there is one."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    except OSError:
        lines = []
    tail = "\n".join(f"    {line}" for line in lines) or "    (empty)"
    return EmbeddedError(f"{problem}; the end of {log}:\n{tail}")
