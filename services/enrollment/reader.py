"""The reader: answers questions that need the log itself: pages of events, an aggregate's own events, an enrollment
in the past."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog

from services.enrollment.description import describe_enrollment, with_names
from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.work import organization_aggregate
from services.enrollment.explanation import Explainer
from services.enrollment.foresight import Foresight
from services.enrollment.round import problem_of
from services.enrollment.states import States, fold
from services.enrollment.trial_runner import TrialRunner
from services.enrollment.trials import Trials, suppression_in
from shared.clock import Clock
from shared.events.envelope import to_cloud_event
from shared.events.message import Message
from shared.events.query import (
    Answer,
    Problem,
    QueryAggregateEvents,
    QueryDefinitionCheck,
    QueryDryRun,
    QueryEnrollmentState,
    QueryEventsPage,
    QueryMigration,
    QueryMigrationPlan,
    QueryOrganization,
    QueryPreview,
    QueryStartBacktest,
    QueryStartForecast,
    QueryTestMessage,
    QueryTimers,
    QueryWhy,
)
from shared.events.why import TimerClass
from shared.messaging.consumers import Delivery
from shared.messaging.errors import DependencyAway
from shared.persistence.eventstore import EventStore, StoreUnavailable
from shared.settings import SettingsError

log = structlog.get_logger()

#: Pages looked through for one answer: a filter that matches little must not hold a caller for ever.
PAGES_PER_ANSWER = 20


class Reader:
    """Stateless; any number may run."""

    def __init__(self, store: EventStore, states: States, clock: Clock, runner: TrialRunner) -> None:
        self._store = store
        self._states = states
        self._clock = clock
        self._runner = runner
        self._trials = Trials(store, states, clock)
        self._foresight = Foresight(store, states, clock)

    async def handle(self, delivery: Delivery) -> None:
        for envelope in delivery.envelopes:
            if isinstance(envelope.message, QueryStartForecast | QueryStartBacktest):
                await delivery.reply(self._begin(envelope.message))
                continue
            try:
                answer = await asyncio.to_thread(self.answer, envelope.message)
            except StoreUnavailable as error:
                raise DependencyAway("event store") from error
            await delivery.reply(answer)

    def _begin(self, question: QueryStartForecast | QueryStartBacktest) -> Answer:
        try:
            self._runner.start(question)
        except SettingsError as error:
            return _refusal("no_jobs", "No jobs here", str(error), 503)
        return Answer(ok=True, result={"job_id": question.job_id})

    def answer(self, question: Message) -> Answer:
        """Runs in a thread: reads only."""
        try:
            return self._answer(question)
        except DomainError as refusal:
            return Answer(ok=False, problem=problem_of(refusal))

    def _answer(self, question: Message) -> Answer:  # noqa: C901, PLR0911  # one for each question
        match question:
            case QueryEventsPage():
                return Answer(ok=True, result=self._page(question))
            case QueryAggregateEvents():
                return Answer(ok=True, result={"events": [to_cloud_event(each) for each in self._events(question)]})
            case QueryEnrollmentState():
                return self._enrollment(question)
            case QueryWhy():
                return Answer(
                    ok=True, result=Explainer(self._store.load, partial(suppression_in, self._store)).answer(question)
                )
            case QueryDryRun():
                return Answer(ok=True, result=self._trials.dry_run(question))
            case QueryPreview():
                return Answer(ok=True, result=self._trials.preview(question))
            case QueryTestMessage():
                return Answer(ok=True, result=self._trials.test_message(question))
            case QueryDefinitionCheck():
                return Answer(ok=True, result=self._foresight.check(question))
            case QueryMigrationPlan():
                return Answer(ok=True, result=self._foresight.migration_plan(question))
            case QueryMigration():
                return Answer(ok=True, result=self._foresight.migration(question))
            case QueryTimers():
                return Answer(ok=True, result=self._timers(question))
            case QueryOrganization():
                return self._organization(question)
            case _:
                return _refusal("unknown_query", "Unknown query", f"no answer is known for {question.TOPIC}", 400)

    def _page(self, question: QueryEventsPage) -> dict[str, Any]:
        end = self._store.last_position()
        wanted = None if question.partitions is None else {f"{each:02d}" for each in question.partitions}
        found: list[dict[str, Any]] = []
        last = question.after
        for _ in range(PAGES_PER_ANSWER):
            page = self._store.page_events(last, question.limit, question.up_to)
            if not page:
                last = max(last, min(end, question.up_to) if question.up_to is not None else end)
                break
            last = page[-1]["position"]
            found += [
                event
                for event in page
                if (wanted is None or event["partition"] in wanted)
                and (question.organization_id is None or event["organizationid"] == question.organization_id)
            ]
            if len(found) >= question.limit:
                found = found[: question.limit]
                last = found[-1]["position"]
                break
        return {"events": found, "last": last, "end": end}

    def _events(self, question: QueryAggregateEvents) -> list[Any]:
        events = self._store.load(
            question.aggregate_id,
            after_version=question.after_version,
            up_to_version=question.up_to_version,
            limit=question.limit,
        )
        return [each for each in events if question.at is None or each.time <= question.at]

    def _enrollment(self, question: QueryEnrollmentState) -> Answer:
        """As it was at a time or after a number of its own events; with neither, as it is."""
        at, now = question.at, self._clock.now()
        events = self._store.load(question.enrollment_id, up_to_version=question.version)
        until = [each for each in events if at is None or each.time <= at]
        if not until or not until[0].topic.startswith("enrollment."):
            return _refusal("not_found", "Not found", "there is no such enrollment at that time", 404)
        known = fold(until)
        moment = min(at, now) if at is not None else until[-1].time if question.version is not None else now
        here = self._trials.naming(known.state)
        described = with_names(describe_enrollment(known.state, known.version), until, here)
        would_do = self._trials.would_do(known.state, moment, here)
        return Answer(ok=True, result={**described, "would_do": would_do})

    def _timers(self, question: QueryTimers) -> dict[str, Any]:
        next_due = self._store.timers_next_due()
        oldest = next_due.business and self._clock.to_wall_seconds(self._clock.now() - next_due.business)
        due = self._store.timers_due_count(self._clock.now(), machine_now=self._clock.wall())
        organization_id = question.organization_id
        one = {} if organization_id is None else {"organization": self._timers_of(organization_id, due)}
        return {
            **self._store.timers_count(),
            "due": sum(due.values()),
            "due_by_class": _by_class(due),
            "due_organizations": len({organization for organization, _ in due}),
            "oldest_due_seconds": oldest or 0.0,
            **one,
        }

    def _timers_of(self, organization_id: str, due: Mapping[tuple[str, TimerClass], int]) -> dict[str, Any]:
        mine = {key: count for key, count in due.items() if key[0] == organization_id}
        return {**self._store.timers_count(organization_id), "due_by_class": _by_class(mine)}

    def _organization(self, question: QueryOrganization) -> Answer:
        known = self._states.get(organization_aggregate(question.organization_id))
        if known.state is None:
            return Answer(ok=True, result={"found": False, "members": 0})
        return Answer(ok=True, result={"found": True, "members": len(known.state.members)})


def _by_class(due: Mapping[tuple[str, TimerClass], int]) -> dict[str, int]:
    counted = {str(each): 0 for each in TimerClass}
    for (_, timer_class), count in due.items():
        counted[str(timer_class)] += count
    return counted


def _refusal(code: str, title: str, detail: str, status: int) -> Answer:
    return Answer(ok=False, problem=Problem(code=code, title=title, detail=detail, status=status))
