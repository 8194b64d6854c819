"""Moments as a caller gives them in an address."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator

from services.gateway.errors import BadRequest
from shared.events.message import Instant, utc

#: Years that a simulation may begin in: what it plays then stays within the calendar.
BEGINNINGS = range(2000, 2201)


def _beginning(moment: datetime) -> datetime:
    if moment.year not in BEGINNINGS:
        raise ValueError(f"must lie in the years {BEGINNINGS[0]} to {BEGINNINGS[-1]}")
    return moment


#: When a simulation begins.
Beginning = Annotated[Instant, AfterValidator(_beginning)]


def moment(field: str, given: datetime | None) -> datetime | None:
    """In UTC. Raises BadRequest, naming the field, for one without a time zone or beyond the calendar."""
    if given is None:
        return None
    try:
        return utc(given)
    except ValueError as error:
        raise bad_time(field, str(error).removeprefix("a moment ")) from None


def bad_time(field: str, problem: str) -> BadRequest:
    """What such a refusal looks like."""
    return BadRequest(f"{field} {problem}", code="bad_time", errors=[{"field": field, "problem": problem}])
