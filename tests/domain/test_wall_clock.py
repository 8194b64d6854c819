"""Hours, delays and times of day against an oracle that looks at the wall clock minute by minute, in every zone."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from services.enrollment.domain.windows import NEAR_THE_END, Hours, at_time_of_day, local_days_later, next_open
from shared.events.definition import Weekday, Window
from shared.events.lead import EditLead, LeadBody
from tests.domain.scenario import Scenario, email
from tests.domain.wall_clock import MINUTE, Says, clock_changes, first_opening

ZONES = sorted(zoneinfo.available_timezones() - {"localtime"})
TIMES = ["00:00", "00:30", "01:00", "01:30", "02:00", "02:15", "02:30", "03:00", "09:00", "12:00", "17:00", "23:30"]
DAYS: list[Weekday] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
COUNTRIES = [None, "DE", "DE-BY", "US", "FR", "BR", "JP", "IL"]
#: Minutes looked at from a moment on.
SPAN = 40 * 60

zones = st.sampled_from(ZONES)
window = st.builds(
    Window,
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True),
    start=st.sampled_from(TIMES),
    end=st.sampled_from(TIMES),
)
windows = st.lists(window, max_size=2).map(tuple)
#: Nights in which many clocks change, a day that a zone left out, new year, and calm days.
nights = st.sampled_from(
    [
        datetime(2026, 3, 28, 20, tzinfo=UTC),
        datetime(2026, 10, 24, 20, tzinfo=UTC),
        datetime(2026, 3, 8, 2, tzinfo=UTC),
        datetime(2026, 11, 1, 1, tzinfo=UTC),
        datetime(2026, 4, 4, 10, tzinfo=UTC),
        datetime(2011, 12, 29, 20, tzinfo=UTC),
        datetime(2018, 11, 3, 20, tzinfo=UTC),
        datetime(2026, 12, 24, 12, tzinfo=UTC),
        datetime(2026, 12, 31, 12, tzinfo=UTC),
        datetime(2024, 2, 28, 12, tzinfo=UTC),
    ]
)
moments = st.builds(lambda night, minutes: night + minutes * MINUTE, nights, st.integers(0, 24 * 60))
rules = st.builds(
    Says,
    zone=zones,
    windows=windows,
    skip_weekends=st.booleans(),
    country=st.sampled_from(COUNTRIES),
    closed=st.frozensets(st.dates(date(2026, 3, 7), date(2026, 3, 12)), max_size=3),
)


def as_rule(says: Says) -> tuple[Hours, ZoneInfo]:
    hours = Hours(says.windows, skip_weekends=says.skip_weekends, country=says.country, closed=says.closed)
    return hours, ZoneInfo(says.zone)


def agrees(said: list[Says], moment: datetime) -> None:
    opened, closed = first_opening(said, moment, SPAN)
    found = next_open(moment, [as_rule(each) for each in said])
    if opened is None:
        assert found is None or found.start >= moment + SPAN * MINUTE
        return
    assert found is not None
    assert found.start == opened, said
    if closed is None:  # it opened so late that its end may lie beyond what was looked at
        closed = first_opening(said, opened, SPAN)[1]
    # One that goes on for days is cut off somewhere, never near its start: no due step is stale for that.
    if found.end != closed:
        assert found.end is not None
        assert closed is None or found.end < closed
        assert found.end - found.start >= NEAR_THE_END, said


@settings(deadline=None)
@given(st.lists(rules, min_size=1, max_size=3), moments)
def test_the_next_opening_is_the_first_minute_in_which_every_rule_is_open(said: list[Says], moment: datetime) -> None:
    agrees(said, moment)


def test_an_opening_late_in_what_is_looked_at_may_end_soon() -> None:
    agrees(
        [
            Says("Africa/Abidjan", closed=frozenset({date(2026, 3, 29)})),
            Says("Asia/Ujung_Pandang", (Window(days=["mon"], start="22:30", end="00:00"),)),
        ],
        datetime(2026, 3, 28, 23, 1, tzinfo=UTC),
    )


def test_every_zone_agrees_around_its_own_changes_of_the_clock() -> None:
    changing = 0
    for zone in ZONES:
        random = Random(zone)  # the same cases in every run
        changes = clock_changes(ZoneInfo(zone), 2026)
        changing += bool(changes)
        around = random.choice(changes) if changes else datetime(2026, 6, random.randint(1, 28), tzinfo=UTC)
        moment = around - random.randint(0, 12 * 60) * MINUTE
        window = Window(days=random.sample(DAYS, 5), start=random.choice(TIMES), end=random.choice(TIMES))
        opened, closed = first_opening([Says(zone, (window,))], moment, 24 * 60)
        found = next_open(moment, [as_rule(Says(zone, (window,)))])
        assert found is not None
        if opened is None:
            assert found.start >= moment + 24 * 60 * MINUTE, zone
        else:
            assert found.start == opened, (zone, window)
            assert closed is None or found.end == closed, (zone, window)
    assert changing > 150, "too few zones change their clocks for this to mean anything"


@settings(deadline=None)
@given(moments, zones, zones, st.integers(1, 60), st.tuples(window))
def test_a_lead_that_changes_zone_while_a_step_waits_is_mailed_at_the_first_open_minute_there(
    moment: datetime, before: str, after: str, hours: int, hours_open: tuple[Window, ...]
) -> None:
    later = {"amount": hours, "unit": "hours"}
    steps = (email("first"), email("second", delay=later))
    asked = {"windows": [window.model_dump() for window in hours_open]}
    scenario = Scenario(steps, settings=asked, enrolled=False)
    scenario.world.now = scenario.world.wall_now = moment
    scenario.create(email="ada@example.com", timezone=before).wake()
    sent = scenario.world.now
    scenario.sent()
    scenario.later(minutes=1).when(EditLead(lead_id=scenario.lead_id, lead=LeadBody(timezone=after)))
    plan = scenario.state.plan
    if plan is None:
        return  # the second step went out at once
    opened, _ = first_opening([Says(after, hours_open)], sent + timedelta(hours=hours), SPAN)
    assert plan.at is not None
    if opened is None:
        assert plan.at >= sent + timedelta(hours=hours) + SPAN * MINUTE
    else:
        assert plan.at == max(opened, scenario.world.now)


@settings(deadline=None)
@given(moments, zones, st.integers(-400, 400))
def test_days_later_the_wall_shows_the_same_time(moment: datetime, name: str, amount: int) -> None:
    zone = ZoneInfo(name)
    wall = moment.astimezone(zone).replace(tzinfo=None)
    wanted = wall + timedelta(days=amount)
    found = local_days_later(moment, amount, zone)
    shown = found.astimezone(zone).replace(tzinfo=None)
    exists = any(
        wanted.replace(tzinfo=zone, fold=fold).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wanted
        for fold in (0, 1)
    )
    assert (shown == wanted) if exists else (shown > wanted)


@settings(deadline=None)
@given(moments, zones, st.sampled_from(TIMES))
def test_a_time_of_day_is_the_first_minute_from_then_on_that_shows_it(moment: datetime, name: str, clock: str) -> None:
    zone = ZoneInfo(name)
    found = at_time_of_day(moment, clock, zone)
    assert moment <= found <= moment + timedelta(hours=49)
    step = moment.replace(second=0, microsecond=0)
    while step < found:
        assert step < moment or step.astimezone(zone).strftime("%H:%M") != clock, "an earlier minute shows it"
        step += MINUTE
    if found.astimezone(zone).strftime("%H:%M") != clock:  # it falls into a gap of that day and moves forward by it
        day = found.astimezone(zone).date()
        start = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
        shown = ((start + minute * MINUTE).astimezone(zone) for minute in range(54 * 60))
        assert not any(each.date() == day and each.strftime("%H:%M") == clock for each in shown)
