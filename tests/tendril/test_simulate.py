"""``tendril simulate`` and ``tendril backtest`` against a running write side: tables, JSON, exit status, and an
interrupted job that is cancelled.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.persistence.mongo import MongoClient, connect
from shared.persistence.views import ViewReader
from tests.enrollment.service import Bench, running_service
from tests.support.waiting import eventually

MAIL = {"step_id": "hello", "kind": "email", "config": {"subject": "Hi", "text": "Hello"}}
TAG = {"step_id": "t", "kind": "tag", "config": {"add": ["done"]}}
AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


class Done(NamedTuple):
    status: int
    out: str
    err: str


#: A terminal's programs heed Ctrl-C, also where the tests themselves were started to ignore it.
HEEDING = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "os.execv(sys.executable, [sys.executable, '-m', 'tendril', *sys.argv[1:]])"
)


class Terminal:
    """Where a person types, beside a running service whose views hold what the test puts there."""

    def __init__(self, bench: Bench, mongo: MongoClient, env: dict[str, str]) -> None:
        self.bench = bench
        self.mongo = mongo
        self._env = env

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TENDRIL_")}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            HEEDING,
            *words,
            env={**kept, **self._env},
            start_new_session=True,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def type(self, *words: str) -> Done:
        return await ended(await self.start(*words))

    async def shows(self, view: str, *documents: dict[str, Any]) -> None:
        collection = await ViewReader(self.mongo, self.bench.prefix).collection(view)
        await collection.insert_many([{"organization_id": "demo", **each} for each in documents])


async def ended(child: asyncio.subprocess.Process) -> Done:
    try:
        out, err = await asyncio.wait_for(child.communicate(), 120)
    finally:
        if child.returncode is None:
            child.kill()
    assert child.returncode is not None
    return Done(child.returncode, out.decode(), err.decode())


@pytest.fixture
async def terminal(tmp_path: Path, amqp_url: str, mongo_url: str) -> AsyncIterator[Terminal]:
    client = connect(mongo_url)
    env = {"TENDRIL_HOME": str(tmp_path / "home"), "TENDRIL_AMQP_URL": amqp_url, "TENDRIL_MONGO_URL": mongo_url}
    async with running_service(tmp_path, amqp_url, mongo_url=mongo_url) as running:
        yield Terminal(running, client, env)
    await client.close()


async def test_a_cohort_is_forecast_by_the_sequences_name(terminal: Terminal) -> None:
    limited = {"settings": {"limits": {"per_day": 30}}, "trigger": {"start": "manual"}}
    sequence_id = await terminal.bench.sequence([MAIL], **limited)
    await terminal.shows("sequences", {"_id": str(sequence_id), "name": "Hello"})
    words = ("simulate", "Hello", "--size", "100", "--from", AT.isoformat(), "--reply", "0")
    done = await terminal.type(*words)
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "100 of 100 leads enter at 2026-11-20 09:00:00 UTC."
    days = [line.split() for line in lines if line.startswith("2026-11-2")]
    assert [(day, sent, len(bar)) for day, sent, _, bar in days] == [
        ("2026-11-20", "30", 40), ("2026-11-21", "30", 40), ("2026-11-22", "30", 40), ("2026-11-23", "10", 13),
    ]  # fmt: skip
    assert "Limit 30 per day" in done.out
    assert "Ends: 100 completed." in lines
    again = await terminal.type(*words, "--json")
    result = json.loads(again.out)
    assert (result["entered"], result["totals"]["sent"], result["ends"]) == (100, {"email": 100}, {"completed": 100})


async def test_known_leads_are_found_as_the_api_finds_them_and_nobody_is_told_in_one_line(terminal: Terminal) -> None:
    sequence_id = await terminal.bench.sequence([MAIL])
    await terminal.shows("sequences", {"_id": str(sequence_id), "name": "Hello"})
    for number in range(3):
        await terminal.bench.lead(number)
    await terminal.bench.until(lambda: terminal.bench.topics().count("enrollment.completed.v1") == 3)
    events = terminal.bench.service.store.page_events(0, 1_000)
    leads = [each["subject"] for each in events if each["type"] == "lead.captured.v1"]
    await terminal.shows("leads", *({"_id": each, "status": "New", "erased": False} for each in leads))
    await terminal.shows("leads", {"_id": "gone", "status": "Gone", "erased": True})
    done = await terminal.type("simulate", str(sequence_id), "--status", "New", "--json")
    assert json.loads(done.out)["cohort"] == 3, done.err
    for words, line in (
        (("simulate", str(sequence_id), "--status", "Old"), "tendril: there are no leads like that"),
        (("simulate", str(sequence_id), "--status", "Gone"), "tendril: there are no leads like that"),
        (("simulate", "Hello", "--organization", "other"), "tendril: there is no organization 'other'"),
        (("simulate", "Goodbye"), "tendril: there is no sequence 'Goodbye'"),
        (("simulate", "Hello", "--version", "9"), "tendril: forecast: "),
    ):
        refused = await terminal.type(*words)
        assert refused.status == 1
        assert refused.err.strip().startswith(line)
        assert len(refused.err.strip().splitlines()) == 1


async def test_a_backtest_shows_what_would_have_differed_lead_by_lead(terminal: Terminal, tmp_path: Path) -> None:
    sequence_id = await terminal.bench.sequence([MAIL, TAG])
    for number in range(3):
        await terminal.bench.lead(number)
    await terminal.bench.until(lambda: terminal.bench.topics().count("enrollment.completed.v1") == 3)
    events = terminal.bench.service.store.page_events(0, 1_000)
    enrollments = [each["subject"] for each in events if each["type"] == "enrollment.started.v1"]
    await terminal.shows("sequences", {"_id": str(sequence_id), "name": "Hello"})
    known = {"sequence_id": str(sequence_id), "started_at": datetime.now(UTC)}
    await terminal.shows("enrollments", *({"_id": each, **known} for each in enrollments))
    same = await terminal.type("backtest", "Hello", "--version", "1")
    assert same.status == 0, same.err
    assert same.out.splitlines()[0] == ("0 of 3 enrollments would have differed; 3 play as they were recorded.")
    changed = tmp_path / "changed.yaml"
    changed.write_text("name: New\nsteps:\n  - {step_id: t, kind: tag, config: {add: [done]}}\n")
    other = await terminal.type("backtest", "Hello", "--definition", str(changed), "--from", "2020-01-01", "--json")
    found = json.loads(other.out)
    assert (found["differ"], found["by_step"]) == (3, {"hello": {"gone": 3}})
    assert {row["enrollment_id"] for row in found["leads"]} == set(enrollments)
    shown = await terminal.type("backtest", "Hello", "--definition", str(changed), "--leads", "2")
    assert sum("nothing; completed" in line for line in shown.out.splitlines()) == 2
    changed.write_text("name: New\nsteps: []\n")
    wrong = await terminal.type("backtest", "Hello", "--definition", str(changed))
    assert wrong.status == 2
    assert "steps" in wrong.err


async def test_an_interrupted_forecast_is_cancelled(terminal: Terminal) -> None:
    endless = {"settings": {"limits": {"per_minute": 1}}, "trigger": {"start": "manual"}}
    sequence_id = await terminal.bench.sequence([MAIL], **endless)
    await terminal.shows("sequences", {"_id": str(sequence_id), "name": "Endless"})
    child = await terminal.start("simulate", "Endless", "--size", "500000")
    jobs = terminal.mongo.database(f"{terminal.bench.prefix}_jobs").collection("jobs")

    async def running() -> bool:
        return await jobs.find_one({"state": "running"}) is not None

    await eventually(running, 60)
    child.send_signal(signal.SIGINT)
    done = await ended(child)
    assert (done.status, "Traceback" in done.err) == (130, False)
    found = await jobs.find_one({})
    assert found is not None
    assert found["state"] == "cancelled"
