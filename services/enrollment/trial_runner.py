"""Runs forecasts and backtests, one after the other, each in child processes, with progress and cancel."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Lock

import structlog

from services.enrollment.trial_process import Said, begin, crashed, play_for, run, share_of_second
from shared.clock import Clock
from shared.ending import ended
from shared.events.query import QueryStartBacktest, QueryStartForecast
from shared.persistence.mongo import MongoClient, connect, is_unavailable
from shared.persistence.trial_jobs import TrialJobs
from shared.settings import Settings

log = structlog.get_logger()

#: How often a job is said to be alive, and asked whether it is still wanted.
BEAT_SECONDS = 0.5
#: How long a child may take to end by itself.
END_SECONDS = 5.0
#: Enough for both children of a job to be ended.
AGAIN_SECONDS = 3 * END_SECONDS
#: Enrollments from which on a second process saves more than its start costs.
WORTH_TWO = 1_000

Question = QueryStartForecast | QueryStartBacktest


class Children:
    """The process of a job, and a second one for a backtest that is worth it. ``said`` is what the first one says;
    ``processes`` ends with the first one.
    """

    def __init__(self, settings: Settings, question: Question, targets: list[str], now: datetime) -> None:
        self._context = multiprocessing.get_context("spawn")
        self.said, theirs = self._context.Pipe()
        self._theirs = [theirs]
        partner = None
        self.processes: list[BaseProcess] = []
        self._given: list[tuple[Connection, tuple[object, ...]]] = []
        self._one_at_a_time = Lock()  # the end may be wanted while they start, from another thread
        self._ended = False
        if isinstance(question, QueryStartBacktest) and len(targets) >= WORTH_TWO:
            partner, other = self._context.Pipe()
            self._theirs += [partner, other]
            self._add(play_for, (settings, question, share_of_second(targets)), other)
        self._add(run, (settings, question, targets, now), theirs, partner)

    def _add(self, work: Callable[..., None], arguments: tuple[object, ...], *connections: Connection | None) -> None:
        reading, writing = self._context.Pipe(duplex=False)
        self._theirs.append(reading)
        self._given.append((writing, arguments))
        process = self._context.Process(target=begin, args=(work, reading, *connections), daemon=True)
        self.processes.append(process)

    def start(self) -> None:
        """Returns when they run. Their ends of the pipes are theirs alone, so that each sees when another is gone."""
        with self._one_at_a_time:
            if not self._ended:
                for each in self.processes:
                    each.start()
            for connection in self._theirs:
                connection.close()
            for writing, arguments in self._given:
                with suppress(ConnectionError):  # it has ended already, as whoever listens will notice
                    writing.send(arguments)
                writing.close()

    def end(self) -> None:
        """Ends those still running, whatever it takes."""
        with self._one_at_a_time:
            self._ended = True
            begun = [each for each in self.processes if each.pid is not None]
            for each in begun:
                each.terminate()
            for each in begun:
                each.join(END_SECONDS)
                if each.is_alive():
                    each.kill()
                    each.join()
            self.said.close()


class TrialRunner:
    """Connects to MongoDB when the first job comes: nothing else on the write side needs it."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._mongo: MongoClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Semaphore(1)

    def start(self, question: Question) -> None:
        """Begins a job when those before it are over. Raises SettingsError without MongoDB."""
        if self._mongo is None:
            self._mongo = connect(self._settings.require_mongo_url(), self._settings.mongo_driver)
        task = asyncio.create_task(self._run(question, TrialJobs(self._mongo, self._settings.database_prefix)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends what runs; such a job reads as interrupted."""
        await ended(*self._tasks, again_seconds=AGAIN_SECONDS)
        if self._mongo is not None:
            await self._mongo.close()

    async def _run(self, question: Question, jobs: TrialJobs) -> None:
        try:
            if not await self._wait_for_turn(question, jobs):
                return
            try:
                await self._in_child(question, jobs)
            finally:
                self._one_at_a_time.release()
        except Exception as error:
            log.exception("trial_failed", job_id=question.job_id)
            if not is_unavailable(error):
                await jobs.end(question.job_id, "failed", self._clock.wall(), problem=crashed(type(error).__name__))

    async def _wait_for_turn(self, question: Question, jobs: TrialJobs) -> bool:
        """False when it was cancelled meanwhile."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._one_at_a_time.acquire()
                return True
            if not await jobs.beat(question.job_id, "queued", 0, 0, self._clock.wall()):
                return False

    async def _in_child(self, question: Question, jobs: TrialJobs) -> None:
        targets = await jobs.targets(question.job_id)
        children = Children(self._settings, question, targets, self._clock.now())
        try:
            await asyncio.to_thread(children.start)
            await self._listen(question.job_id, jobs, children.said)
        finally:
            await asyncio.to_thread(children.end)

    async def _listen(self, job_id: str, jobs: TrialJobs, child: Connection) -> None:
        done, total, rows = 0, 0, 0
        while await jobs.beat(job_id, "running", done, total, self._clock.wall()):
            for said in await asyncio.to_thread(_hear, child):
                match said:
                    case ("progress", int(done), int(total)):
                        continue
                    case ("rows", list(found)):
                        await jobs.keep_rows(job_id, rows, found, self._clock.wall())
                        rows += len(found)
                    case ("result", result):
                        await jobs.beat(job_id, "running", total, total, self._clock.wall())
                        await jobs.end(job_id, "done", self._clock.wall(), result={**result, "rows": rows})
                        return
                    case ("problem", problem):
                        await jobs.end(job_id, "failed", self._clock.wall(), problem=problem)
                        return


def _hear(child: Connection) -> list[Said]:
    """What the child says within a beat. One that ends without a word has failed."""
    heard: list[Said] = []
    try:
        if child.poll(BEAT_SECONDS):
            heard.append(child.recv())
            while len(heard) < 50 and heard[-1][0] in {"progress", "rows"} and child.poll(0):
                heard.append(child.recv())
    except (EOFError, ConnectionError):
        heard.append(("problem", crashed("its process ended")))
    return heard
