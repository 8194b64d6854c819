"""To which message a conversion is owed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from services.enrollment.domain.enrollment import Enrollment, Execution
from services.enrollment.domain.lead import Lead
from services.enrollment.domain.work import Work
from shared.events.enrollment import ConversionAttributed

#: A message counts when it was clicked, opened or sent at most this long before the conversion.
WINDOW = timedelta(days=30)
#: A lead's newest enrollments that are looked at.
MOST_ENROLLMENTS = 20

By = Literal["clicked", "opened", "sent"]
#: A click says more than an opening, and that more than a mere send.
_RANK: dict[By, int] = {"clicked": 2, "opened": 1, "sent": 0}


class Claim(NamedTuple):
    rank: int
    moment: datetime
    by: By
    state: Enrollment
    execution: Execution


def attribute(work: Work, lead: Lead, at: datetime) -> None:
    """Records a conversion of ``at`` with the message clicked last before it, else opened last, else sent last; with
    none when there was none in time.
    """
    claims = [claim for claim in _claims(work, lead) if at - WINDOW <= claim.moment <= at]
    if not claims:
        return
    best = max(claims, key=lambda claim: (claim.rank, claim.moment, claim.execution.number))
    work.on_enrollment(
        best.state,
        ConversionAttributed(
            execution=best.execution.number,
            step_id=best.execution.step_id,
            channel=best.execution.channel,
            by=best.by,
            occurred_at=at,
            **best.execution.credit,
        ),
    )


def _claims(work: Work, lead: Lead) -> Iterator[Claim]:
    for enrollment_id in list(lead.enrollments)[-MOST_ENROLLMENTS:]:
        state = work.find_enrollment(enrollment_id)
        for execution in state.executions.values() if state is not None else ():
            assert state is not None
            moments: dict[By, datetime | None] = {
                "clicked": execution.signals.get("clicked"),
                "opened": execution.signals.get("opened"),
                "sent": execution.sent_at,
            }
            for by, moment in moments.items():
                if moment is not None:
                    yield Claim(_RANK[by], moment, by, state, execution)
