"""What the routes work with, built once by ``services.gateway.wiring`` and held by the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.gateway.commands import Commands
from services.gateway.deadletters import DeadLetters
from services.gateway.directory import Directory
from services.gateway.idempotency import Idempotency
from services.gateway.imports import Imports
from services.gateway.notifications import Notifications
from services.gateway.queues import Queues
from services.gateway.signin import SignIn
from services.gateway.tries import Tries
from shared.clock import Clock
from shared.persistence.figures import Figures
from shared.persistence.files import Files
from shared.persistence.mongo import Database
from shared.persistence.trial_jobs import TrialJobs
from shared.persistence.views import ViewReader


@dataclass(frozen=True, slots=True)
class Parts:
    """``database`` is the gateway's own, ``ledger`` the dispatchers' (read only). ``webhook_secret`` answers the secret
    that an organization's webhooks are signed with.
    """

    clock: Clock
    views: ViewReader
    figures: Figures
    directory: Directory
    sign_in: SignIn
    idempotency: Idempotency
    commands: Commands
    dead_letters: DeadLetters
    notifications: Notifications
    queues: Queues
    webhook_secret: Callable[[str], str]
    form_tries: Tries
    test_tries: Tries
    imports: Imports
    trials: TrialJobs
    files: Files
    database: Database
    ledger: Database
