"""Windows against a brute-force oracle that looks at the wall clock minute by minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.enrollment.domain.windows import (
    UTC_ZONE,
    Hours,
    at_time_of_day,
    business_days_later,
    days_off,
    first_zone,
    is_day_off,
    local_days_later,
    next_open,
)
from shared.events.definition import Window

ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "UTC",
]
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
#: Hours before and after changes of the clocks, the day that Apia left out, and calm days.
MOMENTS = [
    datetime(2026, 3, 28, 20, tzinfo=UTC),
    datetime(2026, 10, 24, 20, tzinfo=UTC),
    datetime(2026, 3, 8, 2, tzinfo=UTC),
    datetime(2026, 11, 1, 1, tzinfo=UTC),
    datetime(2026, 4, 4, 10, tzinfo=UTC),
    datetime(2026, 10, 3, 10, tzinfo=UTC),
    datetime(2011, 12, 29, 20, tzinfo=UTC),
    datetime(2018, 2, 17, 20, tzinfo=UTC),
    datetime(2018, 11, 3, 20, tzinfo=UTC),
    datetime(2026, 11, 20, 9, tzinfo=UTC),
    datetime(2026, 12, 24, 12, tzinfo=UTC),
]
MINUTE = timedelta(minutes=1)


def inside(window: Window, day: date, minutes: int, closed: frozenset[date], skip_weekends: bool) -> bool:
    """Is the wall time ``day`` and ``minutes`` in a window, by its definition word for word?"""

    def begins(on: date) -> bool:
        if (skip_weekends and on.weekday() >= 5) or on in closed:
            return False
        return WEEKDAYS[on.weekday()] in window.days

    start = int(window.start[:2]) * 60 + int(window.start[3:])
    end = int(window.end[:2]) * 60 + int(window.end[3:])
    if end > start:
        return begins(day) and start <= minutes < end
    return (begins(day) and minutes >= start) or (begins(day - timedelta(days=1)) and minutes < end)


def oracle(
    windows: list[Window], moment: datetime, zone: ZoneInfo, closed: frozenset[date], skip: bool, upto: int
) -> tuple[datetime | None, datetime | None]:
    """The first open minute from ``moment`` on, and the first closed one after it; None for what lies beyond ``upto``
    minutes.
    """
    opened: datetime | None = None
    for step in range(upto):
        now = moment + step * MINUTE
        local = now.astimezone(zone)
        is_open = any(inside(window, local.date(), local.hour * 60 + local.minute, closed, skip) for window in windows)
        if is_open and opened is None:
            opened = now
        if not is_open and opened is not None:
            return opened, now
    return opened, None


times = st.sampled_from(
    ["00:00", "00:30", "01:30", "02:00", "02:15", "02:30", "02:45", "03:00", "09:00", "17:00", "22:00", "23:30"]
)
windows_strategy = st.lists(
    st.builds(
        Window,
        days=st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7, unique=True),
        start=times,
        end=times,
    ),
    min_size=1,
    max_size=2,
)


@settings(max_examples=50, deadline=None)
@given(
    windows=windows_strategy,
    zone=st.sampled_from(ZONES),
    around=st.sampled_from(MOMENTS),
    minutes=st.integers(0, 12 * 60),
    skip=st.booleans(),
    country=st.sampled_from([None, "DE", "US"]),
)
def test_openings_agree_with_the_wall_clock(
    windows: list[Window], zone: str, around: datetime, minutes: int, skip: bool, country: str | None
) -> None:
    moment = around + minutes * MINUTE
    closed = (
        frozenset[date]() if country is None else days_off(country, around.year) | days_off(country, around.year + 1)
    )
    upto = 55 * 60
    opened, ended = oracle(windows, moment, ZoneInfo(zone), closed, skip, upto)
    found = Hours(windows, skip_weekends=skip, country=country).opening(moment, ZoneInfo(zone))
    if opened is None:
        assert found is None or found[0] >= moment + upto * MINUTE
        return
    assert found is not None
    assert found[0] == opened
    # An opening is followed for at least a day; one without end is cut off somewhere after that.
    if found[1] != ended:
        cut_off = found[1] - found[0] > timedelta(days=1)
        assert (ended is None and found[1] >= moment + upto * MINUTE) or (
            cut_off and (ended is None or found[1] < ended)
        )


def at(zone: str, *moment: int, fold: int = 0) -> datetime:
    return datetime(*moment, tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)  # type: ignore[misc, arg-type]  # parts of a date


def test_the_start_is_inside_and_the_end_outside_to_the_minute() -> None:
    hours = Hours([Window(start="09:00", end="17:00")])
    berlin = ZoneInfo("Europe/Berlin")
    assert hours.opening(at("Europe/Berlin", 2026, 11, 20, 9, 0), berlin) == (
        at("Europe/Berlin", 2026, 11, 20, 9, 0),
        at("Europe/Berlin", 2026, 11, 20, 17, 0),
    )
    opening = hours.opening(at("Europe/Berlin", 2026, 11, 20, 17, 0), berlin)
    assert opening is not None
    assert opening[0] == at("Europe/Berlin", 2026, 11, 21, 9, 0)


def test_an_overnight_window_belongs_to_the_day_it_begins_on() -> None:
    hours = Hours([Window(days=["fri"], start="22:00", end="06:00")])
    opening = hours.opening(at("UTC", 2026, 11, 21, 3, 0), ZoneInfo("UTC"))  # a Saturday
    assert opening == (at("UTC", 2026, 11, 21, 3, 0), at("UTC", 2026, 11, 21, 6, 0))
    assert Hours([Window(days=["sat"], start="22:00", end="06:00")]).opening(
        at("UTC", 2026, 11, 21, 3, 0), ZoneInfo("UTC")
    ) == (at("UTC", 2026, 11, 21, 22, 0), at("UTC", 2026, 11, 22, 6, 0))


def test_a_window_in_a_gap_does_not_exist_that_day() -> None:
    hours = Hours([Window(start="02:15", end="02:45")])
    opening = hours.opening(at("Europe/Berlin", 2026, 3, 29, 0, 0), ZoneInfo("Europe/Berlin"))
    assert opening is not None
    assert opening[0] == at("Europe/Berlin", 2026, 3, 30, 2, 15)


def test_in_a_fold_both_passes_are_inside() -> None:
    hours = Hours([Window(start="02:15", end="02:45")])
    berlin = ZoneInfo("Europe/Berlin")
    first = hours.opening(at("Europe/Berlin", 2026, 10, 25, 0, 0), berlin)
    assert first == (at("Europe/Berlin", 2026, 10, 25, 2, 15), at("Europe/Berlin", 2026, 10, 25, 2, 45))
    second = hours.opening(at("Europe/Berlin", 2026, 10, 25, 2, 45), berlin)
    assert second == (
        at("Europe/Berlin", 2026, 10, 25, 2, 15, fold=1),
        at("Europe/Berlin", 2026, 10, 25, 2, 45, fold=1),
    )


def test_holidays_and_weekends_are_passed_over() -> None:
    hours = Hours([Window(start="09:00", end="17:00")], skip_weekends=True, country="DE")
    opening = hours.opening(at("Europe/Berlin", 2026, 12, 24, 18, 0), ZoneInfo("Europe/Berlin"))
    assert opening is not None
    assert opening[0] == at("Europe/Berlin", 2026, 12, 28, 9, 0)  # 25 and 26 are holidays, 27 is a Sunday


def test_rules_that_meet_only_in_part_open_where_all_do() -> None:
    morning, late = Hours([Window(start="08:00", end="12:00")]), Hours([Window(start="10:00", end="18:00")])
    assert next_open(at("UTC", 2026, 11, 20, 6, 0), [(morning, UTC_ZONE), (late, UTC_ZONE)]) == (
        at("UTC", 2026, 11, 20, 10, 0),
        at("UTC", 2026, 11, 20, 12, 0),
    )


def test_rules_that_never_meet_are_told() -> None:
    night, day = Hours([Window(start="01:00", end="02:00")]), Hours([Window(start="10:00", end="18:00")])
    moment = at("UTC", 2026, 11, 20, 6, 0)
    assert next_open(moment, [(night, UTC_ZONE), (day, UTC_ZONE)]) is None
    assert next_open(moment, []) == (moment, None)


def test_rules_are_read_each_in_its_own_zone() -> None:
    day, loud = Hours([Window(start="09:00", end="17:00")]), Hours([Window(start="08:00", end="21:00")])
    rules = [(day, ZoneInfo("Europe/Berlin")), (loud, ZoneInfo("America/New_York"))]
    assert next_open(at("UTC", 2026, 11, 20, 8, 0), rules) == (
        at("America/New_York", 2026, 11, 20, 8, 0),
        at("Europe/Berlin", 2026, 11, 20, 17, 0),
    )


@pytest.mark.parametrize(
    ("moment", "time_of_day", "wanted"),
    [
        ((2026, 11, 20, 8, 0), "09:30", (2026, 11, 20, 9, 30)),
        ((2026, 11, 20, 9, 30), "09:30", (2026, 11, 20, 9, 30)),
        ((2026, 11, 20, 10, 0), "09:30", (2026, 11, 21, 9, 30)),
    ],
)
def test_a_time_of_day_is_the_same_day_or_the_next(
    moment: tuple[int, ...], time_of_day: str, wanted: tuple[int, ...]
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert at_time_of_day(at("Europe/Berlin", *moment), time_of_day, berlin) == at("Europe/Berlin", *wanted)


def test_days_keep_the_wall_time_across_a_change_of_the_clocks() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    later = local_days_later(at("Europe/Berlin", 2026, 3, 28, 9, 0), 2, berlin)
    assert later == at("Europe/Berlin", 2026, 3, 30, 9, 0)
    assert later - at("Europe/Berlin", 2026, 3, 28, 9, 0) == timedelta(hours=47)


def test_business_days_leave_out_weekends_and_holidays() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    later = business_days_later(at("Europe/Berlin", 2026, 12, 23, 9, 0), 2, berlin, in_germany)
    assert later == at("Europe/Berlin", 2026, 12, 28, 9, 0)
    earlier = business_days_later(at("Europe/Berlin", 2026, 12, 28, 9, 0), -2, berlin, in_germany)
    assert earlier == at("Europe/Berlin", 2026, 12, 23, 9, 0)


def in_germany(day: date) -> bool:
    return is_day_off(day, "DE")


def test_an_unknown_zone_falls_back() -> None:
    assert first_zone("Nowhere/Land", None, "Europe/Berlin").key == "Europe/Berlin"
    assert first_zone("../etc/passwd").key == "UTC"


def test_an_opening_goes_on_through_the_second_pass_of_an_overnight_window() -> None:
    """In Berlin 2:00 to 3:00 comes twice on 25 October 2026; windows that touch at 2:30 leave no gap in it."""
    hours = [{"days": WEEKDAYS, "start": "22:00", "end": "02:30"}, {"days": WEEKDAYS, "start": "02:30", "end": "22:00"}]
    windows = [Window.model_validate(each) for each in hours]
    zone, moment = ZoneInfo("Europe/Berlin"), datetime(2026, 10, 24, 21, 0, tzinfo=UTC)
    found = Hours(windows).opening(moment, zone)
    assert found is not None
    assert found[0] == moment
    assert found[1] - moment > timedelta(days=1)
