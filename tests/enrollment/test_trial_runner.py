"""Forecasts and backtests as jobs, in a child process beside a running service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest

from services.enrollment import trial_runner
from services.enrollment.trial_process import Partner, PartnerEnded
from shared.clock import SystemClock
from shared.events.definition import SequenceDefinition
from shared.events.query import QueryStartBacktest, QueryStartForecast, Rates
from shared.persistence.mongo import MongoClient, connect
from shared.persistence.trial_jobs import TrialJobs
from tests.enrollment.service import Bench, running_service
from tests.simulation.making import subject

MAIL = {"step_id": "hello", "kind": "email", "config": {"subject": "Hi", "text": "Hello"}}
TAG = {"step_id": "t", "kind": "tag", "config": {"add": ["done"]}}


@pytest.fixture
async def mongo(mongo_url: str) -> AsyncIterator[MongoClient]:
    client = connect(mongo_url)
    yield client
    await client.close()


@pytest.fixture
async def bench(tmp_path: Path, amqp_url: str, mongo_url: str) -> AsyncIterator[Bench]:
    async with running_service(tmp_path, amqp_url, mongo_url=mongo_url) as running:
        yield running


async def begun(
    bench: Bench, mongo: MongoClient, kind: Literal["forecast", "backtest"], question: Any, targets: list[str]
) -> TrialJobs:
    jobs = TrialJobs(mongo, bench.prefix)
    await jobs.prepare()
    await jobs.add(question.job_id, "demo", kind, {}, targets, SystemClock().wall())
    await bench.done(question)
    return jobs


async def over(jobs: TrialJobs, job_id: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            found = await jobs.get(job_id, "demo", SystemClock().wall())
            assert found is not None
            if found["state"] not in {"queued", "running"}:
                return found
            await asyncio.sleep(0.05)


async def test_a_forecast_runs_in_a_child_and_a_second_one_after_it(bench: Bench, mongo: MongoClient) -> None:
    sequence_id = await bench.sequence([MAIL], trigger={"start": "manual"}, settings={"limits": {"per_day": 30}})
    at = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    first, second = (
        QueryStartForecast(
            organization_id="demo",
            job_id=f"job{number}",
            sequence_id=sequence_id,
            size=100,
            from_=at,
            rates=Rates(reply=0),
        )
        for number in (1, 2)
    )
    jobs = await begun(bench, mongo, "forecast", first, [])
    await begun(bench, mongo, "forecast", second, [])
    for job_id in ("job1", "job2"):
        found = await over(jobs, job_id)
        assert found["state"] == "done", found
        assert (found["done"], found["total"]) == (100, 100)
        assert [day["sent"] for day in found["result"]["days"]] == [{"email": 30}] * 3 + [{"email": 10}]
        assert found["result"]["names"] == {
            "hello": "step 1 “Hi”",
            f"sequence:{sequence_id}": "the sequence “Test”",
        }


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_backtest_reads_the_past_and_tells_lead_by_lead(
    bench: Bench, mongo: MongoClient, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_runner, "WORTH_TWO", 1 if processes == 2 else 1_000)
    sequence_id = await bench.sequence([MAIL, TAG])
    for number in range(3):
        await bench.lead(number)
    await bench.until(lambda: bench.topics().count("enrollment.completed.v1") == 3)
    events = bench.service.store.page_events(0, 1_000)
    started = [each for each in events if each["type"] == "enrollment.started.v1"]
    enrollments = [each["subject"] for each in sorted(started, key=lambda each: (each["time"], each["subject"]))]
    same = QueryStartBacktest(organization_id="demo", job_id="same", sequence_id=sequence_id, version=1)
    jobs = await begun(bench, mongo, "backtest", same, [*enrollments, str(UUID(int=5))])
    found = await over(jobs, "same")
    assert found["state"] == "done", found
    summary = found["result"]
    assert (summary["enrollments"], summary["differ"], summary["as_recorded"]) == (3, 0, 3)
    changed = SequenceDefinition.model_validate({"name": "New", "steps": [TAG]})
    other = QueryStartBacktest(organization_id="demo", job_id="other", sequence_id=sequence_id, definition=changed)
    await begun(bench, mongo, "backtest", other, enrollments)
    found = await over(jobs, "other")
    assert found["result"]["by_step"] == {"hello": {"gone": 3}}
    # The changed definition has no such step: it is called as in the version that has it.
    assert found["result"]["names"] == {"hello": "step 1 “Hi”"}
    rows = [each["row"] for each in await jobs.rows("other", -1, 10)]
    assert [row["enrollment_id"] for row in rows] == enrollments
    assert all(row["would"]["sends"] == [] for row in rows)


async def test_a_cancelled_job_stops_and_a_wrong_one_says_why(bench: Bench, mongo: MongoClient) -> None:
    sequence_id = await bench.sequence([MAIL], trigger={"start": "manual"}, settings={"limits": {"per_minute": 1}})
    endless = QueryStartForecast(organization_id="demo", job_id="long", sequence_id=sequence_id, size=500_000)
    jobs = await begun(bench, mongo, "forecast", endless, [])
    assert await jobs.cancel("long", "demo", SystemClock().wall())
    assert (await over(jobs, "long"))["state"] == "cancelled"
    wrong = QueryStartForecast(organization_id="demo", job_id="wrong", sequence_id=UUID(int=3), size=5)
    await begun(bench, mongo, "forecast", wrong, [])
    found = await over(jobs, "wrong")
    assert (found["state"], found["problem"]["code"]) == ("failed", "unknown_target")
    assert await jobs.get("wrong", "other", SystemClock().wall()) is None


def test_a_second_process_that_is_gone_is_noticed() -> None:
    """The first one then ends with a problem in place of a result."""
    ours, theirs = Pipe()
    partner = Partner(ours)
    theirs.send(("past", []))
    assert partner.past(lambda: None) == []
    partner.play(subject([MAIL]), [])
    theirs.recv()
    theirs.send(("progress", 7))
    theirs.close()
    heard: list[int] = []
    with pytest.raises(PartnerEnded, match="its second process ended") as ended:
        partner.courses(lambda: heard.append(partner.done))
    assert (partner.done, ended.value.problem["code"]) == (7, "crashed")
    with pytest.raises(PartnerEnded):
        partner.play(subject([MAIL]), [])


async def test_a_job_without_a_beat_reads_as_interrupted(mongo: MongoClient) -> None:
    jobs = TrialJobs(mongo, "lost")
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    await jobs.add("j", "demo", "forecast", {}, [], long_ago)
    found = await jobs.get("j", "demo", SystemClock().wall())
    assert found is not None
    assert (found["state"], found["problem"]) == ("failed", "interrupted: ask again")
