"""The keys that a restored place needs: they are in no backup, and a place that starts without them makes new ones,
which open nothing.
"""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from pathlib import Path

from shared.persistence.eventstore.errors import WrongMasterKey
from shared.persistence.eventstore.meta import prove
from shared.settings import Settings
from tendril.backup import EVENTS, BackupProblem
from tendril.up.secret_file import FILE, read_secrets

#: What is lost without a key, by the setting that holds it.
CONSEQUENCES = {
    "TENDRIL_MASTER_KEY": "without the master key the event store does not open, and personal data in the log stays"
    " closed for ever",
    "TENDRIL_SECRET_KEYS": "without the secret keys links, unsubscribe links and reply addresses in messages that went"
    " out are dead, and sessions and webhook secrets end",
}


def missing_keys(settings: Settings) -> str | None:
    """What is not in its place, neither in the environment nor in the home's file, and what that means, in one line;
    None when all is there. Raises SecretsUnreadable."""
    if read_secrets(settings.home) is not None:
        return None
    given = {"TENDRIL_MASTER_KEY": settings.master_key, "TENDRIL_SECRET_KEYS": settings.secret_keys}
    missing = [name for name, value in given.items() if value is None]
    if not missing:
        return None
    what = " and ".join(missing)
    return (
        f"{settings.home / FILE} is not there, and {what} {'is' if len(missing) == 1 else 'are'} not set:"
        f" {'; '.join(CONSEQUENCES[name] for name in missing)}"
    )


def prove_keys(settings: Settings, folder: Path) -> None:
    """That the master key in its place, if there is one, opens the backup's event store, if it holds one. Raises
    BackupProblem, SecretsUnreadable."""
    kept = read_secrets(settings.home)
    path = folder / EVENTS
    if not path.is_file() or (settings.master_key is None and kept is None):
        return
    key = settings.master_key_bytes if kept is None or settings.master_key else base64.b64decode(kept.master_key)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as events:
            [(check,)] = events.execute("SELECT value FROM meta WHERE key = 'check'").fetchall()
    except (sqlite3.Error, ValueError) as error:
        raise BackupProblem(f"{path} is no event store: {error}") from None
    try:
        prove(bytes(check), key)
    except WrongMasterKey:
        where = "TENDRIL_MASTER_KEY" if settings.master_key is not None else settings.home / FILE
        raise BackupProblem(
            f"the master key in {where} does not open this backup's event store: put the one it was made with there"
        ) from None
