"""When a person's step is to be done: never on a day off."""

from __future__ import annotations

from datetime import date, datetime

from services.enrollment.domain.calendars import of_member, working_moment
from services.enrollment.domain.planning import Scene
from services.enrollment.domain.windows import first_zone


def task_due(scene: Scene, moment: datetime, assignee: str | None) -> datetime:
    """When a person's step is to be done: the same time of the next day that is no weekend or holiday of the sequence
    and no day off of the organization or the assignee, on the organization's clock.
    """
    home = scene.organization
    calendars = home.calendars_of(*((of_member(assignee),) if assignee else ())) if home is not None else []
    settings = scene.version.settings
    skips = settings.skip_weekends
    if not calendars and not skips and settings.holidays is None:
        return moment

    def is_off(day: date) -> bool:
        return (skips and day.weekday() >= 5) or scene.is_off(day) or any(each.is_off(day) for each in calendars)

    return working_moment(moment, is_off, first_zone(home.timezone if home is not None else None))
