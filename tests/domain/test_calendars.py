"""Days off of the organization, its senders and its coaches; channels with windows and quiet hours of their own."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.enrollment.domain.calendars import calendar, working_moment
from services.enrollment.domain.definition_check import validate
from services.enrollment.domain.errors import DomainError, InvalidSettings, UnknownTarget
from services.enrollment.domain.planning import scene_of
from services.enrollment.domain.windows import next_open
from services.enrollment.domain.work import Work
from shared.events.definition import DayOff
from shared.events.lead import AssignLead
from shared.events.organization import AddMember, CalendarSet, SetCalendar, SetOrganization, SetSender
from shared.events.task import TaskOpened
from tests.domain.scenario import Scenario, T, definition, email, in_flight

COACH = UUID(int=5)
MONDAY = DayOff(first=date(2026, 11, 23))


def at(*parts: int, zone: str = "UTC") -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo(zone)).astimezone(UTC)  # type: ignore[misc, arg-type]  # parts of a date


def planned(scenario: Scenario) -> datetime | None:
    assert scenario.state.plan is not None
    return scenario.state.plan.at


def founded() -> Scenario:
    scenario = Scenario(enrolled=False)
    return scenario.when(AddMember(member_id=COACH, email="coach@example.com", role="coach"))


# --- setting them -------------------------------------------------------------------------------------------------


def test_a_calendar_is_set_once_and_cleared() -> None:
    order = SetCalendar(calendar=f"member:{COACH}", holidays="DE-BY", days_off=[MONDAY])
    scenario = founded().when(order).then(CalendarSet(calendar=f"member:{COACH}", holidays="DE-BY", days_off=[MONDAY]))
    scenario.when(order).nothing()
    scenario.when(SetCalendar(calendar=f"member:{COACH}")).then(CalendarSet(calendar=f"member:{COACH}"))
    organization = scenario.world.organization("demo")
    assert organization is not None
    assert organization.calendars == {}
    scenario.when(SetCalendar(calendar=f"member:{COACH}")).nothing()


@pytest.mark.parametrize(
    ("order", "error"),
    [
        ({"calendar": "sender:nobody"}, UnknownTarget),
        ({"calendar": f"member:{UUID(int=6)}"}, UnknownTarget),
        ({"calendar": "organization", "holidays": "XX"}, InvalidSettings),
        ({"calendar": "organization", "holidays": "DE-XX"}, InvalidSettings),
    ],
)
def test_a_calendar_of_nobody_or_of_nowhere_is_refused(order: dict[str, Any], error: type[DomainError]) -> None:
    founded().when(SetCalendar.model_validate(order)).refused(error)


@pytest.mark.parametrize(
    "days_off",
    [
        {"first": "2026-12-24", "last": "2026-12-23"},
        {"first": "2026-01-01", "last": "2028-01-01"},
        {"first": "tomorrow"},
    ],
)
def test_days_off_are_checked(days_off: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SetCalendar.model_validate({"calendar": "organization", "days_off": [days_off]})
    with pytest.raises(ValidationError):
        SetCalendar(calendar="everybody")


# --- messages -----------------------------------------------------------------------------------------------------


def test_nothing_goes_out_on_a_day_off_or_holiday_of_the_organization() -> None:
    scenario = founded()
    scenario.when(SetCalendar(calendar="organization", holidays="DE", days_off=[DayOff(first=date(2026, 11, 20))]))
    scenario.create(email="ada@example.com", timezone="Europe/Berlin")
    assert planned(scenario) == at(2026, 11, 21, 0, 0, zone="Europe/Berlin")
    scenario.when(SetCalendar(calendar="organization", holidays="DE"))
    scenario.world.now = at(2026, 12, 24, 22, 59)
    scenario.create(email="bob@example.com", timezone="Europe/Berlin")
    assert planned(scenario) == at(2026, 12, 24, 22, 59)
    scenario.world.now = at(2026, 12, 24, 23, 0)
    scenario.create(email="carl@example.com", timezone="Europe/Berlin")
    assert planned(scenario) == at(2026, 12, 27, 0, 0, zone="Europe/Berlin")


def test_a_senders_day_off_holds_its_own_messages_only() -> None:
    scenario = Scenario([email("a", config={"sender": "ann"})], enrolled=False)
    scenario.when(SetSender(sender_id="ann", name="Ann", email="ann@example.com"))
    scenario.when(SetCalendar(calendar="sender:default", days_off=[DayOff(first=date(2026, 11, 20))]))
    assert planned(scenario.create(email="ada@example.com")) == T
    scenario.when(SetCalendar(calendar="sender:ann", days_off=[DayOff(first=date(2026, 11, 20))]))
    assert planned(scenario.create(email="bob@example.com")) == at(2026, 11, 21, 0, 0)


def test_business_days_leave_the_organizations_days_off_out() -> None:
    scenario = Scenario(
        [email("a", delay={"amount": 1, "unit": "business_days"})], enrolled=False, settings={"skip_weekends": True}
    ).when(SetCalendar(calendar="organization", days_off=[MONDAY]))
    assert planned(scenario.create(email="ada@example.com")) == at(2026, 11, 24, 9, 0)


# --- tasks --------------------------------------------------------------------------------------------------------


def task_due_at(scenario: Scenario) -> datetime:
    opened = scenario.event(TaskOpened)
    assert isinstance(opened.due_at, datetime)
    return opened.due_at


def with_task(**settings: Any) -> Scenario:
    config = {"title": "Look at it", "due_in_hours": 3 * 24, "assignee": str(COACH)}
    task = {"step_id": "look", "kind": "task", "config": config}
    scenario = Scenario([task], enrolled=False, settings=settings)
    return scenario.when(AddMember(member_id=COACH, email="coach@example.com", role="coach"))


def test_a_task_is_due_on_a_day_on_which_its_assignee_works() -> None:
    assert task_due_at(with_task().create(email="a@example.com")) == at(2026, 11, 23, 9, 0)
    scenario = with_task().when(SetCalendar(calendar=f"member:{COACH}", days_off=[MONDAY]))
    assert task_due_at(scenario.create(email="b@example.com")) == at(2026, 11, 24, 9, 0)
    scenario.when(SetCalendar(calendar="organization", days_off=[DayOff(first=date(2026, 11, 24))]))
    assert task_due_at(scenario.create(email="c@example.com")) == at(2026, 11, 25, 9, 0)


def test_a_task_left_to_the_leads_owner_is_due_on_a_day_on_which_the_owner_works() -> None:
    task = {"step_id": "look", "kind": "task", "config": {"title": "Look at it", "due_in_hours": 3 * 24}}
    wait = {"step_id": "rest", "kind": "wait", "delay": {"amount": 1, "unit": "hours"}}
    scenario = Scenario([wait, task], enrolled=False)
    scenario.when(AddMember(member_id=COACH, email="coach@example.com", role="coach"))
    scenario.when(SetCalendar(calendar=f"member:{COACH}", days_off=[MONDAY]))
    scenario.create(email="a@example.com").when(AssignLead(lead_id=scenario.lead_id, owner=COACH)).wake()
    assert scenario.event(TaskOpened).assignee == str(COACH)
    assert task_due_at(scenario) == at(2026, 11, 24, 10, 0)
    scenario.create(email="b@example.com").wake()
    assert scenario.event(TaskOpened).assignee is None
    assert task_due_at(scenario) == at(2026, 11, 23, 11, 0)


def test_a_task_is_due_on_no_weekend_where_the_sequence_skips_them() -> None:
    scenario = with_task(skip_weekends=True)
    scenario.world.now = at(2026, 11, 18, 9, 0)  # three days on it is Saturday
    assert task_due_at(scenario.create(email="a@example.com")) == at(2026, 11, 23, 9, 0)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001  # made aware below
    st.lists(st.tuples(st.dates(date(2026, 1, 1), date(2027, 12, 31)), st.integers(0, 30)), max_size=5),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"]),
)
def test_a_working_moment_keeps_its_time_and_is_the_first(
    naive: datetime, off: list[tuple[date, int]], zone: str
) -> None:
    moment, home = naive.replace(tzinfo=UTC), ZoneInfo(zone)
    entries = [DayOff(first=day, last=date.fromordinal(day.toordinal() + more)) for day, more in off]
    known = calendar(None, entries)
    found = working_moment(moment, known.is_off, home)
    assert found >= moment
    assert not known.is_off(found.astimezone(home).date())
    day = moment.astimezone(home).date()
    while day < found.astimezone(home).date():
        assert known.is_off(day)
        day = date.fromordinal(day.toordinal() + 1)


# --- channels -----------------------------------------------------------------------------------------------------


def opening(channel: str, moment: datetime, **settings: Any) -> datetime | None:
    """When a message on a channel may go out to a lead in Berlin of an organization in New York."""
    scenario = in_flight(settings=settings, lead={"email": "ada@example.com", "timezone": "Europe/Berlin"})
    scenario.when(SetOrganization(timezone="America/New_York"))
    scene = scene_of(Work(scenario.world, "demo"), scenario.state)
    node = scene.version.nodes["first"].__class__
    first = scene.version.nodes["first"]
    fields = {name: getattr(first, name) for name in node.__dataclass_fields__}
    found = next_open(moment, scene.rules_for(node(**{**fields, "channel": channel})))
    return found.start if found is not None else None


def test_sms_and_whatsapp_keep_quiet_hours_in_the_leads_zone_whatever_the_sequence_says() -> None:
    night = at(2026, 11, 20, 21, 0, zone="Europe/Berlin")
    morning = at(2026, 11, 21, 8, 0, zone="Europe/Berlin")
    for settings in ({}, {"timezone": "organization"}, {"timezone": "Asia/Tokyo"}):
        assert opening("sms", night, **settings) == morning
        assert opening("whatsapp", night, **settings) == morning
        assert opening("email", night, **settings) == night
    assert opening("sms", at(2026, 11, 20, 20, 59, zone="Europe/Berlin")) == at(2026, 11, 20, 19, 59)


def test_a_channels_windows_hold_besides_the_sequences() -> None:
    settings = {
        "windows": [{"start": "09:00", "end": "17:00"}],
        "channel_windows": {"sms": [{"start": "12:00", "end": "20:00"}]},
    }
    early = at(2026, 11, 20, 7, 0, zone="Europe/Berlin")
    assert opening("email", early, **settings) == at(2026, 11, 20, 9, 0, zone="Europe/Berlin")
    assert opening("sms", early, **settings) == at(2026, 11, 20, 12, 0, zone="Europe/Berlin")
    evening = at(2026, 11, 20, 18, 0, zone="Europe/Berlin")
    assert opening("sms", evening, **settings) == at(2026, 11, 21, 12, 0, zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"channel_windows": {"sms": []}}, "settings.channel_windows.sms"),
        ({"channel_windows": {"sms": [{"days": []}]}}, "settings.channel_windows.sms"),
        (
            {
                "windows": [{"start": "09:00", "end": "12:00"}],
                "channel_windows": {"email": [{"start": "13:00", "end": "15:00"}]},
            },
            "settings.channel_windows.email",
        ),
        (
            {"skip_weekends": True, "channel_windows": {"email": [{"days": ["sat"]}]}},
            "settings.channel_windows.email",
        ),
    ],
)
def test_a_channels_windows_that_never_open_are_refused(settings: dict[str, Any], field: str) -> None:
    assert field in {error["field"] for error in validate(definition([email("a")], settings=settings))[0]}
