"""The secrets of a home: made once, kept in a file that only its owner may read."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "secrets.json"
MASTER_KEY_BYTES = 32


class SecretsUnreadable(Exception):
    """The file is there and cannot be used: making new secrets would lock the store for ever."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """``master_key`` is base64 of 32 bytes; ``secret_keys`` a comma list, newest first."""

    master_key: str
    secret_keys: str
    admin_password: str


def read_secrets(home: Path) -> Secrets | None:
    """None when the home has none yet. Raises SecretsUnreadable."""
    path = home / FILE
    try:
        return Secrets(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise SecretsUnreadable(f"{path} cannot be used: {error!r}") from error


def keep_secrets(home: Path) -> Secrets:
    """Those of the home, made now when it has none. Raises SecretsUnreadable."""
    known = read_secrets(home)
    if known is not None:
        return known
    home.mkdir(parents=True, exist_ok=True)
    made = Secrets(
        master_key=base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)).decode(),
        secret_keys=secrets.token_urlsafe(32),
        admin_password=secrets.token_urlsafe(9),
    )
    draft = home / f"{FILE}.{os.getpid()}.tmp"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(made), file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(home / FILE)
    return made
