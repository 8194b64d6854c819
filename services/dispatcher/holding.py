"""What this process holds: living claims that one background task renews, and changes it still owes the ledger.

When MongoDB goes away in the middle of a step, this process alone knows what happened: that nothing was sent although
the row may say ``handing_over``, or what the provider answered. Such knowledge is kept and brought to the ledger as
soon as it answers, before anything else. So an outage of MongoDB by itself puts nothing in doubt; only the death of
this process while it owes does. For the same reason nobody judges a lease to have run out in the first seconds after
an outage: its holder may not have had a chance to renew it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from services.dispatcher.errors import LedgerAway
from services.dispatcher.ledger import Ledger
from services.dispatcher.outcomes import Ending
from services.dispatcher.states import RENEW_SECONDS, Claim, Row
from shared import telemetry
from shared.clock import Clock
from shared.ending import ended

#: How soon an outage is probed again.
OWING_SECONDS = 0.5
#: For this long after an outage leases of others are not judged.
PATIENCE_SECONDS = 15.0
#: Rows put in doubt in one sweep.
SWEEP_PAGE = 200

_log = structlog.get_logger(__name__)
_living = telemetry.gauge("dispatcher_claims", "Claims this process holds")
_owing = telemetry.gauge("dispatcher_owed", "Changes of the ledger that wait for MongoDB")


class Holdings:
    """Living claims of a process. ``report_lapsed`` is told of rows that a sweep put in doubt."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        report_lapsed: Callable[[list[Row]], Awaitable[None]],
        *,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._report_lapsed = report_lapsed
        self._renew_seconds = renew_seconds
        self._living: dict[str, Claim] = {}
        self._owed: dict[str, tuple[Claim, Ending | None]] = {}
        self._unreported: list[Row] = []
        self._patient_until = 0.0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to renew and to sweep."""
        self._task = asyncio.create_task(self._keep(), name="renew claims")

    async def close(self) -> None:
        """Stops; what is still owed is tried once more."""
        task, self._task = self._task, None
        await ended(task)
        with suppress(LedgerAway):
            await self._pay()

    def hold(self, claim: Claim) -> None:
        """Renews this claim from now on."""
        self._living[claim.token] = claim
        _living.set(len(self._living))

    def let_go(self, claim: Claim) -> None:
        """Renews it no longer."""
        self._living.pop(claim.token, None)
        _living.set(len(self._living))

    def owe(self, claim: Claim, ending: Ending | None) -> None:
        """What the ledger must still be told: how the claim ended, or, with None, that nothing was sent under it."""
        self._owed[claim.token] = (claim, ending)
        _owing.set(len(self._owed))
        self.outage()

    def outage(self) -> None:
        """MongoDB did not answer just now."""
        self._patient_until = self._clock.monotonic() + PATIENCE_SECONDS
        self._wake.set()

    def lapse(self) -> datetime:
        """Leases that ended by this moment of machine time have run out."""
        patience = max(self._patient_until - self._clock.monotonic(), 0.0)
        return self._clock.wall() - timedelta(seconds=PATIENCE_SECONDS if patience else 0.0)

    async def _keep(self) -> None:
        while True:
            pause = OWING_SECONDS if self._owed or self._unreported else self._renew_seconds
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._turn()
            except LedgerAway as error:
                _log.warning("ledger is away", error=str(error), owed=len(self._owed))
                self._patient_until = self._clock.monotonic() + PATIENCE_SECONDS
                await asyncio.sleep(OWING_SECONDS)
                self._wake.set()
            except Exception:  # noqa: BLE001 - the loop that keeps claims alive must outlive any single error
                _log.exception("renewing claims failed")

    async def _turn(self) -> None:
        await self._pay()
        await self._ledger.renew(list(self._living.values()), self._clock.wall())
        if self._clock.monotonic() >= self._patient_until:
            self._unreported += await self._ledger.lapsed(self._clock.wall(), SWEEP_PAGE)
        if self._unreported:
            await self._report_lapsed(self._unreported)
            self._unreported = []

    async def _pay(self) -> None:
        for token, (claim, ending) in list(self._owed.items()):
            if ending is None:
                await self._ledger.take_back(claim, self._clock.wall())
            else:
                await self._ledger.conclude(claim, ending, self._clock.wall())
            self._owed.pop(token, None)
            _owing.set(len(self._owed))
