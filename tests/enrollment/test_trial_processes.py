"""The processes of a backtest: whichever is killed or cancelled, the job ends with its reason and none stays behind."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any, Literal
from uuid import UUID

import psutil
import pytest

from services.enrollment import trial_runner
from services.enrollment.domain.memory_world import MemoryWorld
from services.enrollment.trial_runner import Children, TrialRunner
from shared.clock import SystemClock
from shared.events.definition import SequenceDefinition
from shared.events.enrollment import EnrollmentStarted
from shared.events.lead import LeadBody, LeadCreated
from shared.events.organization import FoundOrganization, SetSender
from shared.events.query import QueryStartBacktest
from shared.events.sequence import DraftSequence
from shared.persistence.eventstore import open_store
from shared.persistence.mongo import connect
from shared.persistence.trial_jobs import TrialJobs
from shared.settings import Settings, load_settings
from tests.domain.scenario import days, definition, email
from tests.eventstore.builders import decided
from tests.support.waiting import eventually

AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SEQUENCE = UUID(int=5)
LEADS = 100
#: Longer than anything here: reached only by what hangs.
HANGS_SECONDS = 60.0
#: The second process is at it for many seconds.
LONG = [email(f"mail{number}", delay=days(1)) for number in range(100)]


def question(steps: list[dict[str, Any]]) -> QueryStartBacktest:
    changed = SequenceDefinition.model_validate({"name": "Changed", "steps": steps})
    return QueryStartBacktest(organization_id="demo", job_id="job", sequence_id=SEQUENCE, definition=changed)


@pytest.fixture
def settings(tmp_path: Path, mongo_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(trial_runner, "WORTH_TWO", 1)
    return load_settings(
        {},
        home=tmp_path,
        event_store=f"sqlite:///{tmp_path}/tendril.db",
        master_key="aw" * 21 + "s=",
        mongo_url=mongo_url,
        database_prefix="processes",
    )


@pytest.fixture
def enrollments(settings: Settings) -> list[str]:
    """In a log of leads that have just entered."""
    world = MemoryWorld(AT)
    world.send(FoundOrganization(name="Demo"))
    world.send(SetSender(sender_id="default", name="Demo", email="demo@example.com"))
    given = definition([email("hello")], trigger={"on": ["created"], "start": "auto"})
    world.send(DraftSequence(sequence_id=SEQUENCE, definition=given, activate=True))
    for number in range(LEADS):
        lead = LeadBody(email=f"lead{number}@example.com")
        came = LeadCreated(organization_id="demo", funnel_id="web", occurred_at=AT, lead=lead)
        world.send(came, message_id=f"{number}")
    versions: Counter[UUID] = Counter()
    log = []
    for change in world.log:
        versions[change.id] += 1
        log.append(decided(change, versions[change.id], AT))
    store = open_store(settings)
    store.append(log)
    store.close()
    return [str(change.id) for change in world.log if isinstance(change.event, EnrollmentStarted)]


@pytest.fixture
def children(settings: Settings, enrollments: list[str]) -> Iterator[Children]:
    begun = Children(settings, question(LONG), enrollments, AT)
    begun.start()
    yield begun
    begun.end()
    assert all(each.exitcode is not None for each in begun.processes)


def heard(children: Children) -> Any:
    assert children.said.poll(HANGS_SECONDS)
    return children.said.recv()


def heard_to_the_end(children: Children) -> Any:
    """What is said when there is no more progress."""
    while (said := heard(children))[0] == "progress":
        pass
    return said


def played_for_a_while(children: Children) -> None:
    """Until the first has played something: by then both have read."""
    while (said := heard(children))[:2] == ("progress", 0):
        pass
    assert said[0] == "progress"


def kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join(HANGS_SECONDS)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["beginning", "playing"])
def test_a_second_process_that_is_killed_fails_the_job_with_its_reason(
    children: Children, moment: Literal["beginning", "playing"]
) -> None:
    second, first = children.processes
    if moment == "playing":
        played_for_a_while(children)
    kill(second)
    assert heard_to_the_end(children) == (
        "problem",
        {"code": "crashed", "title": "Crashed", "detail": "it could not be carried out: its second process ended"},
    )
    first.join(HANGS_SECONDS)
    assert first.exitcode == 0


def test_a_second_process_does_not_outlive_the_first(children: Children) -> None:
    second, first = children.processes
    played_for_a_while(children)
    kill(first)
    second.join(HANGS_SECONDS)
    assert second.exitcode == 0
    with pytest.raises(EOFError):
        heard_to_the_end(children)


def test_a_process_that_does_not_heed_its_end_is_killed(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    played_for_a_while(children)
    for each in children.processes:
        os.kill(each.pid or 0, signal.SIGSTOP)
    monkeypatch.setattr(trial_runner, "END_SECONDS", 0.1)
    children.end()
    assert {each.exitcode for each in children.processes} <= {-signal.SIGKILL, -signal.SIGTERM}


def test_processes_killed_before_they_have_read_what_to_do_hold_nobody_up(
    settings: Settings, enrollments: list[str]
) -> None:
    own = psutil.Process()
    others = set(own.children())
    many = [f"{number:0>36}" for number in range(20_000)]  # more than a pipe holds
    begun = Children(settings, question(LONG), many, AT)
    starting = Thread(target=begun.start, daemon=True)
    starting.start()
    killed: set[psutil.Process] = set()
    ends = monotonic() + HANGS_SECONDS
    while starting.is_alive() and monotonic() < ends:
        for born in set(own.children()) - others - killed:
            if "spawn_main" in " ".join(born.cmdline()):
                born.kill()
                killed.add(born)
        starting.join(0.001)
    assert len(killed) == 2
    assert not starting.is_alive()
    with pytest.raises(EOFError):
        heard(begun)
    begun.end()


# --- as a job --------------------------------------------------------------------------------------------------------


class Job:
    """A backtest that runs as a job."""

    def __init__(self, jobs: TrialJobs, children: Children) -> None:
        self.jobs = jobs
        self.children = children

    async def state(self) -> dict[str, Any]:
        found = await self.jobs.get("job", "demo", SystemClock().wall())
        assert found is not None
        return found

    async def over(self) -> dict[str, Any]:
        await eventually(self._is_over, HANGS_SECONDS)
        return await self.state()

    async def _is_over(self) -> bool:
        return (await self.state())["state"] not in {"queued", "running"}

    async def without_processes(self) -> None:
        await eventually(lambda: not any(each.is_alive() for each in self.children.processes), HANGS_SECONDS)


@pytest.fixture
async def job(settings: Settings, enrollments: list[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Job]:
    made: list[Children] = []

    class Seen(Children):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(trial_runner, "Children", Seen)
    mongo = connect(settings.require_mongo_url())
    jobs = TrialJobs(mongo, settings.database_prefix)
    await jobs.prepare()
    await jobs.add("job", "demo", "backtest", {}, enrollments, SystemClock().wall())
    runner = TrialRunner(settings, SystemClock())
    runner.start(question(LONG))
    await eventually(lambda: made, HANGS_SECONDS)
    running = Job(jobs, made[0])

    async def plays() -> bool:
        found = await running.state()
        assert found["state"] in {"queued", "running"}, found
        return bool(found["done"])

    await eventually(plays, HANGS_SECONDS)
    yield running
    await runner.close()
    await running.without_processes()
    await mongo.close()


async def test_a_job_whose_second_process_is_killed_has_failed(job: Job) -> None:
    os.kill(job.children.processes[0].pid or 0, signal.SIGKILL)  # the job itself sees it end
    found = await job.over()
    assert (found["state"], found["problem"]["code"]) == ("failed", "crashed")
    assert found["problem"]["detail"] == "it could not be carried out: its second process ended"
    await job.without_processes()


async def test_cancelling_a_job_ends_both_processes(job: Job) -> None:
    assert await job.jobs.cancel("job", "demo", SystemClock().wall())
    await job.without_processes()
    assert all(each.exitcode == -signal.SIGTERM for each in job.children.processes)
    assert (await job.state())["state"] == "cancelled"
