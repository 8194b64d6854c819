"""The child process that a forecast or backtest runs in: it reads the store beside its holder and decides nothing
that counts. A long backtest has a second one: each reads half of the past, then the second plays the changed
definition while the first plays what was.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Any
from uuid import UUID

from services.enrollment.domain.errors import DomainError
from services.enrollment.domain.lead import Lead
from services.enrollment.past import links_count, read_past
from services.enrollment.round import problem_of
from services.enrollment.simulation.admission import kept_out
from services.enrollment.simulation.backtest import NOBODY, Course, backtest, compare, play_all
from services.enrollment.simulation.dry_run import Subject
from services.enrollment.simulation.elsewhere import Elsewhere
from services.enrollment.simulation.forecast import Rates, forecast
from services.enrollment.simulation.played_past import Past
from services.enrollment.simulation.world import Surroundings
from services.enrollment.states import States
from services.enrollment.trials import Trials, surroundings
from shared.clock import load_clock
from shared.events.definition import SequenceDefinition
from shared.events.query import QueryStartBacktest, QueryStartForecast
from shared.persistence.eventstore import EventStore, open_store
from shared.settings import Settings

#: Messages to the parent: ("progress", done, total), ("rows", [row, …]), then ("result", dict) or ("problem", dict).
Said = tuple[Any, ...]
#: Below the service's own work.
NICENESS = 10
REPORT_SECONDS = 0.25
ROWS_AT_ONCE = 200
TOO_LARGE = {"code": "too_large", "title": "Too large", "detail": "it needs more memory than there is"}
LEADS_AT_ONCE = 500


def begin(work: Callable[..., None], given: Connection, *connections: Connection | None) -> None:
    """Does ``work`` with the arguments that come through ``given``, followed by the connections. They do not come with
    the process: one that is killed before it has read them would leave its parent writing for ever.
    """
    try:
        arguments = given.recv()
    except EOFError:
        return
    given.close()
    work(*arguments, *connections)


def run(
    settings: Settings,
    question: QueryStartForecast | QueryStartBacktest,
    targets: list[str],
    now: datetime,
    parent: Connection,
    partner: Connection | None = None,
) -> None:
    """Ends when it is done, or when the parent or the partner (see ``play_for``) is gone. A partner reads its share of
    the targets.
    """
    settle_in()
    store = open_store(settings, read_only=True)
    try:
        report = _Report(parent)
        try:
            trials = Trials(store, States(store, shared=False), load_clock(settings.home))
            subject = trials.subject(
                question.organization_id, question.sequence_id, question.version, question.definition
            )
            result = _answer(store, trials, subject, question, targets, now, report, partner)
            result["names"] = trials.naming_tried(subject).words(_spoken_of(result))
            report.rows_out()
            parent.send(("result", result))
        except DomainError as error:
            parent.send(("problem", problem_of(error).model_dump(mode="json")))
        except PartnerEnded as ended:
            parent.send(("problem", ended.problem))
        except MemoryError:
            parent.send(("problem", TOO_LARGE))
    except (ConnectionError, EOFError):
        return
    finally:
        store.close()
        parent.close()


def settle_in() -> None:
    """Below the service's own work, and without the collector: a play makes millions of objects that stay and next to
    no cycles, so that looking for these takes a fifth of its time, and the process ends with its job.
    """
    os.nice(NICENESS)
    gc.disable()


def crashed(reason: str) -> dict[str, Any]:
    """The problem of a job that was not carried out."""
    return {"code": "crashed", "title": "Crashed", "detail": f"it could not be carried out: {reason}"}


def share_of_second(targets: list[str]) -> list[str]:
    """What of a backtest's targets is read by the second process."""
    return targets[(len(targets) + 1) // 2 :]


def play_for(settings: Settings, question: QueryStartBacktest, targets: list[str], first: Connection) -> None:
    """The second process of a backtest: reads its share of the targets, says ("past", list), gets ``(subject, past,
    refused)`` with the others, and plays all of them by the subject's definition.

    Says ("progress", done) now and then, and ("courses", dict) or ("problem", dict) at the end. Ends when the first
    one is gone.
    """
    settle_in()
    store = open_store(settings, read_only=True)
    pace = _Pace()
    try:
        read = list(_read(store, question, [UUID(each) for each in targets]))
        first.send(("past", read))
        subject, others, refused = first.recv()

        def told(done: int, total: int) -> None:
            if pace.is_time(at_once=done >= total):
                first.send(("progress", done))

        try:
            past = [*others, *read]
            around = Elsewhere(store.figures, subject.organization, past).surroundings
            first.send(("courses", play_all(subject, None, past, told, refused, around=around)))
        except MemoryError:
            first.send(("problem", TOO_LARGE))
    except (ConnectionError, EOFError):
        return
    finally:
        store.close()
        first.close()


class PartnerEnded(Exception):
    """The second process ended without having played; ``problem`` is what the job's problem is."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem["detail"])
        self.problem = problem


class Partner:
    """The second process, as the first one sees it. Everything asked of it raises PartnerEnded once it is gone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._past: list[Past] | None = None
        self._courses: dict[UUID, Course] | None = None
        self.done = 0

    def past(self, told: Callable[[], None]) -> list[Past]:
        """What it has read; until it has, ``told`` is called now and then."""
        while self._past is None:
            self.hear(REPORT_SECONDS)
            told()
        return self._past

    def play(self, subject: Subject, others: list[Past], refused: Mapping[UUID, str] = NOBODY) -> None:
        """Has it play what it has read, and ``others``, but for those ``refused``. To be called once what it has read
        is here.
        """
        with _noticing_its_end():
            self._connection.send((subject, others, dict(refused)))

    def hear(self, wait_seconds: float = 0.0) -> None:
        """Takes what it has said."""
        with _noticing_its_end():
            while self._courses is None and self._connection.poll(wait_seconds):
                match self._connection.recv():
                    case ("past", list(past)):
                        self._past = past
                    case ("progress", int(done)):
                        self.done = done
                    case ("courses", dict(courses)):
                        self._courses = courses
                    case ("problem", dict(problem)):
                        raise PartnerEnded(problem)
                wait_seconds = 0.0

    def courses(self, told: Callable[[], None]) -> dict[UUID, Course]:
        """What it played; until it is done ``told`` is called now and then."""
        while self._courses is None:
            self.hear(REPORT_SECONDS)
            told()
        return self._courses


@contextmanager
def _noticing_its_end() -> Iterator[None]:
    try:
        yield
    except (ConnectionError, EOFError):
        raise PartnerEnded(crashed("its second process ended")) from None


class _Pace:
    """When it is time to say something again."""

    def __init__(self) -> None:
        self._last = 0.0

    def is_time(self, *, at_once: bool) -> bool:
        now = time.monotonic()
        if now - self._last < REPORT_SECONDS and not at_once:
            return False
        self._last = now
        return True


class _Report:
    """Tells the parent how far it is, not too often."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent
        self._pace = _Pace()
        self._rows: list[dict[str, Any]] = []

    def progress(self, done: int, total: int) -> None:
        """Raises BrokenPipeError when the parent is gone."""
        if self._pace.is_time(at_once=done >= total):
            self._parent.send(("progress", done, total))

    def row(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= ROWS_AT_ONCE:
            self.rows_out()

    def rows_out(self) -> None:
        self._parent.send(("rows", self._rows))
        self._rows = []


def _spoken_of(result: dict[str, Any]) -> list[str]:
    """Steps and scopes of limits, by id."""
    steps = result["by_step"] if "by_step" in result else result["totals"]["by_step"]
    return [*steps, *(each["scope"] for each in result.get("limits_hit", ()))]


def _answer(
    store: EventStore,
    trials: Trials,
    subject: Subject,
    question: QueryStartForecast | QueryStartBacktest,
    targets: list[str],
    now: datetime,
    report: _Report,
    partner: Connection | None,
) -> dict[str, Any]:
    ids = [UUID(each) for each in targets]
    if isinstance(question, QueryStartBacktest):
        second = Partner(partner) if partner is not None else None
        own = ids if second is None else ids[: len(ids) - len(share_of_second(targets))]
        past = []
        for each in _read(store, question, own):
            past.append(each)
            report.progress(0, len(ids))
        mine = past
        if second is not None:
            past = [*mine, *second.past(lambda: report.progress(0, len(ids)))]
        versions = {
            number: trials.version(question.sequence_id, number) for number in sorted({each.version for each in past})
        }
        if second is not None:
            second.play(subject, mine, kept_out(subject, versions, past))
        around = Elsewhere(store.figures, subject.organization, past).surroundings
        if second is None:
            return backtest(subject, versions, past, keep=report.row, progress=report.progress, around=around)
        return _backtest_by_two(subject, versions, past, report, second, around)
    cohort = question.size if question.size is not None else _leads(store, ids, question.organization_id)
    rates = Rates(question.rates.open, question.rates.click, question.rates.reply)
    return forecast(
        subject,
        cohort,
        question.from_ or now,
        rates,
        question.seed,
        around=surroundings(store, question.organization_id),
        progress=report.progress,
    )


def _read(store: EventStore, question: QueryStartBacktest, ids: list[UUID]) -> Iterator[Past]:
    links = links_count(store, question.sequence_id, question.definition)
    return read_past(store, ids, question.organization_id, links=links)


def _backtest_by_two(
    subject: Subject,
    versions: dict[int, SequenceDefinition],
    past: list[Past],
    report: _Report,
    partner: Partner,
    around: Surroundings,
) -> dict[str, Any]:
    """The same as ``backtest``: neither play knows of the other, and the comparison has an order of its own."""
    total = len(past)

    def told(done: int, _all: int) -> None:
        partner.hear()
        report.progress((done + partner.done) // 2, total)

    was = play_all(subject, versions, past, told, around=around)
    would = partner.courses(lambda: told(total, total))
    report.progress(total, total)
    return compare(past, was, would, keep=report.row)


def _leads(store: EventStore, ids: list[UUID], organization_id: str) -> dict[UUID, Lead]:
    """Those that exist and were not erased."""
    states = States(store, shared=False, capacity=LEADS_AT_ONCE)
    found: dict[UUID, Lead] = {}
    for first in range(0, len(ids), LEADS_AT_ONCE):
        for known in states.prefetch(ids[first : first + LEADS_AT_ONCE]):
            lead = known.state
            if isinstance(lead, Lead) and lead.organization_id == organization_id and not lead.erased:
                found[lead.id] = lead
    return found
