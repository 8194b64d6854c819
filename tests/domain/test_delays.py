"""Delays: each unit from each beginning, with a time of day, before a date; and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from services.enrollment.domain.definition_check import validate
from shared.events.definition import Delay
from tests.domain.scenario import Scenario, definition, email, in_flight

BERLIN = ZoneInfo("Europe/Berlin")


def second_at(delay: dict[str, Any], **settings: Any) -> datetime:
    """When the second message is planned, on the wall clock of Berlin. The lead was enrolled on Friday 20 November 2026
    at 10:00 there; the first message went out two hours later.
    """
    lead = {
        "email": "ada@example.com",
        "timezone": "Europe/Berlin",
        "custom_fields": {"renewal": "2026-12-24", "call": "2026-12-01T15:30:00+01:00"},
    }
    scenario: Scenario = in_flight((email("first"), email("second", delay=delay)), lead=lead, settings=settings)
    scenario.later(hours=2).sent()
    assert scenario.state.plan is not None
    assert scenario.state.plan.at is not None
    return scenario.state.plan.at.astimezone(BERLIN).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("delay", "wanted"),
    [
        ({"amount": 45, "unit": "minutes"}, "2026-11-20 12:45"),
        ({"amount": 5, "unit": "hours"}, "2026-11-20 17:00"),
        ({"amount": 2, "unit": "days"}, "2026-11-22 12:00"),
        ({"amount": 2, "unit": "business_days"}, "2026-11-24 12:00"),
        ({"amount": 20, "unit": "weeks"}, "2027-04-09 12:00"),  # summer time by then
        ({"amount": 2, "unit": "days", "at": "09:00"}, "2026-11-23 09:00"),
        ({"amount": 2, "unit": "days", "at": "12:00"}, "2026-11-22 12:00"),
        ({"amount": 5, "unit": "hours", "from": "enrollment"}, "2026-11-20 15:00"),
        ({"amount": 1, "unit": "days", "from": "enrollment", "at": "08:00"}, "2026-11-22 08:00"),
        ({"from": "field", "field": "renewal"}, "2026-12-24 00:00"),
        ({"from": "field", "field": "renewal", "at": "09:00"}, "2026-12-24 09:00"),
        ({"amount": 1, "unit": "weeks", "from": "field", "field": "lead.renewal"}, "2026-12-31 00:00"),
        ({"amount": -30, "unit": "minutes", "from": "field", "field": "custom_fields.call"}, "2026-12-01 15:00"),
        ({"amount": -3, "unit": "hours", "from": "field", "field": "call"}, "2026-12-01 12:30"),
        ({"amount": -2, "unit": "days", "from": "field", "field": "renewal", "at": "09:00"}, "2026-12-22 09:00"),
        ({"amount": -3, "unit": "business_days", "from": "field", "field": "renewal"}, "2026-12-21 00:00"),
        ({"amount": -1, "unit": "weeks", "from": "field", "field": "renewal"}, "2026-12-17 00:00"),
    ],
)
def test_a_delay_gives_this_moment(delay: dict[str, Any], wanted: str) -> None:
    assert second_at(delay).isoformat(" ", "minutes") == wanted


def test_business_days_leave_out_the_sequences_holidays() -> None:
    delay = {"amount": 1, "unit": "business_days", "from": "field", "field": "renewal"}
    assert second_at(delay, holidays="DE").isoformat(" ", "minutes") == "2026-12-28 00:00"


@pytest.mark.parametrize(
    "delay",
    [
        {"amount": -1, "unit": "days"},
        {"amount": -1, "unit": "days", "from": "enrollment"},
        {"amount": 100_001},
        {"amount": -100_001, "from": "field", "field": "renewal"},
        {"amount": 1.5, "unit": "hours"},
        {"amount": 1, "unit": "months"},
        {"amount": 1, "unit": "days", "at": "24:00"},
        {"amount": 1, "unit": "days", "from": "birth"},
    ],
)
def test_a_delay_that_makes_no_sense_is_refused(delay: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Delay.model_validate(delay)


@pytest.mark.parametrize("field", [None, "", "lead.email", "score", "tags", "name"])
def test_a_delay_from_a_field_that_holds_no_date_is_refused(field: str | None) -> None:
    wrong = definition([email("a", delay={"amount": 1, "unit": "days", "from": "field", "field": field})])
    assert [error["field"] for error in validate(wrong)[0]] == ["steps.a.delay.field"]


def test_a_moment_is_planned_in_utc() -> None:
    scenario = in_flight((email("first"), email("second", delay={"amount": 1, "unit": "days"}))).sent()
    assert scenario.state.plan is not None
    assert scenario.state.plan.at is not None
    assert scenario.state.plan.at.tzinfo is UTC
