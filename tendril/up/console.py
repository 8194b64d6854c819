"""What a person sees of the services: short coloured lines; the whole of it is in the log files."""

from __future__ import annotations

import json
import time
from typing import Any

from rich.console import Console
from rich.text import Text

COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_magenta")
LEVEL_COLOURS = {"warning": "yellow", "error": "red", "critical": "bold red"}
SHOWN_LEVELS = frozenset({"warning", "error", "critical"})
SHOWN_EVENTS = ("_ready", "_started", "_stopped")
HIDDEN_KEYS = frozenset({"event", "level", "timestamp", "service", "logger", "exception", "stack"})
MAX_WIDTH = 160
LINES_PER_SECOND = 10  #: of one service; a flood goes to the log file only


class Lines:
    """Prints; at most ``LINES_PER_SECOND`` for each service. While ``starting``, waiting for one another is no news."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.starting = True
        self._colours: dict[str, str] = {}
        self._second: dict[str, tuple[int, int]] = {}

    def say(self, text: str, style: str = "") -> None:
        """A line of `up` itself."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def of_service(self, name: str, line: str) -> None:
        """One line of a service's log, when it is worth a look and not one of too many."""
        level, text = _read(line)
        waiting = self.starting and level in LEVEL_COLOURS
        if text is None or waiting or not self._may(name):
            return
        shown = Text()
        shown.append(time.strftime("%H:%M:%S "), style="dim")
        shown.append(f"{name:<11}", style=self._colour(name))
        shown.append(text[:MAX_WIDTH], style=LEVEL_COLOURS.get(level, ""))
        self.console.print(shown, soft_wrap=True)

    def _colour(self, name: str) -> str:
        return self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])

    def _may(self, name: str) -> bool:
        now = int(time.monotonic())
        second, count = self._second.get(name, (now, 0))
        count = count + 1 if second == now else 1
        self._second[name] = (now, count)
        return count <= LINES_PER_SECOND


def _read(line: str) -> tuple[str, str | None]:
    """Level and short text; no text for a line that is for the log file only."""
    try:
        entry = json.loads(line)
    except ValueError:
        inner = line[:1].isspace() or line.startswith("Traceback")  # of a traceback only its last line is shown
        return "", None if inner else line.strip() or None
    if not isinstance(entry, dict) or "event" not in entry:
        return "", None
    level, event = str(entry.get("level", "")), str(entry["event"])
    if level not in SHOWN_LEVELS and not event.endswith(SHOWN_EVENTS):
        return level, None
    return level, " ".join(
        [event.replace("_", " "), *(_pair(key, value) for key, value in entry.items() if key not in HIDDEN_KEYS)]
    )


def _pair(key: str, value: Any) -> str:
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"
