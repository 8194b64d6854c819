"""What a past enrollment is to a backtest: the lead as it was, and all that came from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from services.enrollment.domain.lead import Lead
from services.enrollment.domain.matching import Occasion
from services.enrollment.simulation.outside import Played
from services.enrollment.simulation.simulator import Later
from shared.events.definition import StopSignal


class Send(NamedTuple):
    step_id: str
    at: datetime


class Taken(NamedTuple):
    """On which occasion the trigger took a lead; ``score_before`` is from where its score came to a threshold."""

    occasion: Occasion
    score_before: int = 0


class Absence(NamedTuple):
    """An automatic answer that names the day of return, ``after`` its step was sent; one to a message of another
    enrollment, ``after`` this one was entered.
    """

    returns_on: date
    after: timedelta
    step: str | None = None


class CompanyStop(NamedTuple):
    """A lead of the same company met a stop rule that reaches the others."""

    at: datetime
    signal: StopSignal


@dataclass(frozen=True, slots=True)
class Past:
    """A past enrollment with its inputs. ``lead`` is as it was just before it entered, ``taken`` how the trigger came
    to take it (None: it was enrolled by an order, or as the funnel's last resort).

    ``signals`` are what came back, from when their step was sent; ``done_after`` how long people took over a step's
    task; ``messages`` what was heard of the lead and ordered by people, with its time. ``sends`` is what really went
    out.
    """

    enrollment_id: UUID
    lead: Lead
    version: int
    entered_at: datetime
    signals: Sequence[Played] = ()
    done_after: Mapping[str, timedelta] = field(default_factory=dict)
    messages: Sequence[Later] = ()
    absences: Sequence[Absence] = ()
    company_stops: Sequence[CompanyStop] = ()
    sends: Sequence[Send] = ()
    taken: Taken | None = None
