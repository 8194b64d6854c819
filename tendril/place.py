"""Where a running `tendril up` is: its addresses, in a file under its home, so that the other commands find it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from shared.settings import Settings, load_settings

FILE = "running.json"
HOMES = (Path("var"), Path("var/demo"))  #: looked through, in this order, when TENDRIL_HOME is not set


@dataclass(frozen=True, slots=True)
class Place:
    """The addresses of a running Tendril. ``telemetry`` is service -> port; ``mailbox_url`` None
    when mail goes to a server of one's own."""

    pid: int
    amqp_url: str
    mongo_url: str
    event_store: str
    gateway_url: str
    tracker_url: str
    partitions: int
    telemetry: dict[str, int]
    mailbox_url: str | None

    @property
    def lives(self) -> bool:
        """Whether the process that wrote it is still there."""
        try:
            return "tendril" in " ".join(psutil.Process(self.pid).cmdline())
        except psutil.Error:
            return False


def write_place(home: Path, place: Place) -> None:
    """Addresses may hold passwords: only the owner may read the file."""
    draft = home / f"{FILE}.{os.getpid()}.tmp"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(place), file)
    draft.replace(home / FILE)


def read_place(home: Path) -> Place | None:
    """The living one of this home; None when nothing runs there."""
    try:
        place = Place(**json.loads((home / FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return place if place.lives else None


def remove_place(home: Path) -> None:
    """Nothing runs here any more."""
    (home / FILE).unlink(missing_ok=True)


def settings_here(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of a command: from the environment; addresses that it does not give, from what runs in the home.

    Raises SettingsError.
    """
    environ = os.environ if environ is None else environ
    given = environ.get("TENDRIL_HOME", "").strip()
    homes = (Path(given),) if given else HOMES
    found = next(((home, place) for home in homes if (place := read_place(home)) is not None), None)
    if found is None:
        return load_settings(environ)
    home, place = found
    extra = {
        "TENDRIL_HOME": str(home),
        "TENDRIL_AMQP_URL": place.amqp_url,
        "TENDRIL_MONGO_URL": place.mongo_url,
        "TENDRIL_EVENT_STORE": place.event_store,
        "TENDRIL_PARTITIONS": str(place.partitions),
    }
    if place.mailbox_url is not None:
        extra["TENDRIL_SMTP_URL"] = place.mailbox_url
    return load_settings({**extra, **{name: value for name, value in environ.items() if value.strip()}})
