"""Calendars: days off of the organization, its senders and its coaches."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import Field

from services.gateway.bodies import Body
from services.gateway.context import Context, may
from services.gateway.errors import NotFound
from services.gateway.shapes import Created, Items
from shared.events.definition import DayOff
from shared.events.organization import SetCalendar
from shared.events.patterns import CALENDAR_NAME

router = APIRouter(tags=["settings"])

CalendarName = Annotated[str, Path(pattern=CALENDAR_NAME, description="organization, sender:<id> or member:<id>")]


class CalendarChange(Body):
    """``holidays`` is a country or a part of one, such as DE or DE-BY. Both left out clear the calendar."""

    holidays: str | None = Field(default=None, min_length=2, max_length=16)
    days_off: list[DayOff] = Field(default=[], max_length=500)


@router.get("/calendars", response_model=Items)
async def calendars(context: Context = may("organization:read")) -> dict[str, Any]:
    """Every calendar that has days off, by whose it is."""
    await context.reach("organizations")
    collection = await context.parts.views.collection("organizations")
    found = await collection.find_one(context.scope.filter())
    if found is None:
        raise NotFound("organization")
    return {"items": [{"id": name, **entry} for name, entry in sorted(found.get("calendars", {}).items())]}


@router.put("/calendars/{calendar}", response_model=Created)
async def set_calendar(
    calendar: CalendarName, body: CalendarChange, context: Context = may("organization:write")
) -> Response:
    """Replaces a calendar. What waits is planned again within five minutes of business time."""
    return await context.change(
        lambda _: SetCalendar(calendar=calendar, holidays=body.holidays, days_off=body.days_off)
    )


@router.delete("/calendars/{calendar}", response_model=Created)
async def clear_calendar(calendar: CalendarName, context: Context = may("organization:write")) -> Response:
    """Nobody is off by this calendar any more."""
    return await context.change(lambda _: SetCalendar(calendar=calendar))
