"""The enrollment program."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from services.enrollment.wiring import ROLES, EnrollmentService, Role, build
from shared.clock import Clock
from shared.serving import serve
from shared.settings import Settings

#: Business time of a store may be this far ahead of the wall before an unscaled start is refused (clocks of machines
#: differ a little).
CLOCK_TOLERANCE = timedelta(minutes=5)


class StoreAhead(Exception):
    """The store has seen later business times than the wall's: it belongs to a scaled run."""


async def run(settings: Settings, *, roles: Collection[Role] = ROLES) -> None:
    """Serves until SIGTERM or SIGINT, then drains and ends. Raises StoreAhead, WrongRoles, or the store's own
    errors."""

    async def built(clock: Clock) -> EnrollmentService:
        service = await build(settings, clock, roles=roles)
        refuse_wrong_clock(service, clock)
        return service

    await serve("enrollment", settings, built, roles=sorted(roles))


def refuse_wrong_clock(service: EnrollmentService, clock: Clock) -> None:
    """A store whose business time is ahead of an unscaled clock would wait for the wall to catch up. Raises
    StoreAhead."""
    latest = service.store.meta().business_time
    if clock.speed == 1.0 and latest is not None and latest > clock.now() + CLOCK_TOLERANCE:
        raise StoreAhead(
            f"the event store has reached {latest.isoformat()} in business time, ahead of the clock: "
            "it was filled by a scaled run (--speed); start it with --demo, or choose another TENDRIL_HOME"
        )
