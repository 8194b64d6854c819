"""How far the demo has come, in a file under its home: the next start goes on from there."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

FILE = "demo.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """``next_lead`` counts from 0. What was due up to ``acted_until`` (business time) has been done; None at first."""

    seed: int
    next_lead: int = 0
    acted_until: datetime | None = None


class ProgressFile:
    """Written whole; losing the last second of it only makes the same messages again, with the same ids."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self.progress = self._read()

    def change(self, **fields: object) -> None:
        """In memory."""
        self.progress = replace(self.progress, **fields)  # type: ignore[arg-type]  # names are checked by replace

    def save(self) -> None:
        """On disk."""
        progress = self.progress
        draft = self._path.with_suffix(f".{os.getpid()}.tmp")
        fields = {
            "seed": progress.seed,
            "next_lead": progress.next_lead,
            "acted_until": progress.acted_until and progress.acted_until.isoformat(),
        }
        draft.write_text(json.dumps(fields))
        draft.replace(self._path)

    def _read(self) -> Progress:
        try:
            fields = json.loads(self._path.read_bytes())
            acted = fields["acted_until"]
            return Progress(
                seed=int(fields["seed"]),
                next_lead=int(fields["next_lead"]),
                acted_until=datetime.fromisoformat(acted) if acted else None,
            )
        except FileNotFoundError:
            return Progress(seed=secrets.randbelow(1 << 24))
        except (ValueError, KeyError, TypeError) as error:
            raise DemoUnreadable(f"{self._path} cannot be used: {error!r}; remove it to begin anew") from error


class DemoUnreadable(Exception):
    """The file is damaged. One line."""
