"""The projector on real servers: feed in, documents out, whatever happens on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aio_pika
import orjson
import pytest

from services.projector.event import Event
from services.projector.ops import Ops
from services.projector.targets import Checkpoint, PartitionWork, Target, live_work
from services.projector.views import ALL_VIEWS, View
from services.projector.views.leads import Leads
from services.projector.views.view import on
from shared.ids import derived_id, partition_of
from shared.persistence.figures import Figures
from shared.persistence.views import CHECKPOINTS, GENERATIONS, VIEW_NAMES, BadCursor, UnknownView, ViewBehind
from tests.projector.conftest import Bench
from tests.projector.log import SEQUENCE, START, nurture
from tests.projector.projecting import events_of, projected
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


async def equal_to_replay(bench: Bench) -> None:
    """Every view holds what the whole log, applied in memory, gives."""
    expected = projected(events_of(bench.log.events))
    for view in VIEW_NAMES:
        assert await bench.documents(view) == expected[view], view


async def test_frames_become_documents(bench: Bench) -> None:
    lead, enrollment = nurture(bench.log, 1)
    await bench.relay.relay()
    async with bench.projector():
        await bench.caught_up()
        document = (await bench.documents("enrollments"))[str(enrollment)]
        assert document["status"] == "completed"
        assert document["counts"]["sent"] == 2
        assert (await bench.documents("leads"))[str(lead)]["name"] == "Ada Byron1"
        assert (await bench.documents("sequences"))[str(SEQUENCE)]["status"] == "active"
        await equal_to_replay(bench)


async def test_frames_that_come_twice_count_once(bench: Bench) -> None:
    for number in range(20):
        nurture(bench.log, number)
    await bench.relay.relay(twice=True, size=7)
    async with bench.projector():
        await bench.caught_up()
        await equal_to_replay(bench)


async def test_a_gap_is_filled_from_the_reader(bench: Bench) -> None:
    async with bench.projector():
        nurture(bench.log, 1)
        await bench.relay.relay()
        await bench.caught_up()
        nurture(bench.log, 1_000)
        await bench.relay.relay(lose=True)
        for number in range(40):  # frames of every partition follow
            nurture(bench.log, number + 2)
        await bench.relay.relay()
        await bench.caught_up()
        await equal_to_replay(bench)


async def test_what_was_lost_before_the_start_is_read_at_the_start(bench: Bench) -> None:
    """Also without any frame: views wiped while the queues are empty come back."""
    nurture(bench.log, 1)
    await bench.relay.relay(lose=True)
    async with bench.projector():
        await bench.caught_up()
        await equal_to_replay(bench)


async def test_an_unreadable_frame_is_dead_lettered_and_its_events_are_read_from_the_log(bench: Bench) -> None:
    lead, _ = nurture(bench.log, 1)
    partition = partition_of(lead)
    connection = await aio_pika.connect(bench.settings.require_amqp_url())
    channel = await connection.channel()
    feed = await channel.get_exchange("tendril.feed")
    await feed.publish(
        aio_pika.Message(b"{broken", content_type="application/cloudevents-batch+json"), f"{partition:02d}"
    )
    await bench.relay.relay(lose=True)
    bench.log.add("lead.scored", lead, {"before": 10, "after": 20}, lead_id=lead)
    dead = await channel.get_queue("tendril.dead")
    async with bench.projector():
        await bench.relay.relay()

        async def dead_letter() -> Any:
            return await dead.get(no_ack=True, fail=False)

        message = await eventually(dead_letter, 10.0)
        assert message is not None
        assert message.body == b"{broken"
        await bench.caught_up()
    await connection.close()


async def test_an_event_that_the_write_side_could_not_read_is_passed(bench: Bench) -> None:
    lead, _ = nurture(bench.log, 1)
    bench.log.add("lead.scored", lead, {}, lead_id=lead, unreadable=True)
    nurture(bench.log, 2)
    await bench.relay.relay()
    async with bench.projector():
        await bench.caught_up()
        assert all(row["state"] == "live" for row in await bench.reader.status())


async def test_a_stale_owner_is_fenced(bench: Bench) -> None:
    """A write on a checkpoint that another process has claimed leaves nothing behind."""
    lead, _ = nurture(bench.log, 1)
    async with bench.projector() as service:
        await bench.relay.relay()
        await bench.caught_up()
        projector, partition = service.projector, partition_of(lead)
        stale = projector.owned[partition]
        await bench.reader.database.collection(CHECKPOINTS).update_one({"partition": partition}, {"$inc": {"epoch": 1}})
        event = bench.log.add("lead.scored", lead, {"before": 10, "after": 99}, lead_id=lead)
        await bench.relay.relay()
        await eventually(lambda: projector.owned.get(partition) is not stale, message="it is not fenced")
        assert (await bench.documents("leads"))[str(lead)]["score"] == 10
        # The lease still says that the partition is ours, but under an epoch that a newer owner has passed.
        await bench.reader.database.collection(CHECKPOINTS).update_one(
            {"partition": partition}, {"$inc": {"epoch": -1}}
        )
        await bench.caught_up()
        assert (await bench.documents("leads"))[str(lead)]["score"] == 99
        assert (await bench.documents("leads"))[str(lead)]["position"] == event["position"]


class Fragile(Leads):
    """Breaks at one event."""

    @on("lead.scored.v1")
    def breaks(self, _event: Event, _ops: Ops) -> None:
        raise RuntimeError("no")


async def test_a_broken_view_is_set_aside_and_the_others_go_on(bench: Bench) -> None:
    lead, _ = nurture(bench.log, 1)
    other, _ = nurture(bench.log, 2)
    scored = bench.log.add("lead.scored", lead, {"before": 0, "after": 1}, lead_id=lead)
    _, late = nurture(bench.log, 1_000)
    assert partition_of(other) != partition_of(lead)
    views: list[View] = [Fragile() if view.name == "leads" else view for view in ALL_VIEWS]
    await bench.relay.relay()
    sound = [name for name in VIEW_NAMES if name != "leads"]
    async with bench.projector(views):
        await bench.caught_up(sound)
        assert str(late) in await bench.documents("enrollments")
        row = next(row for row in await bench.reader.status() if row["name"] == "leads")
        assert row["state"] == "broken"
        trouble = row["broken"][f"{partition_of(lead):02d}"]
        assert trouble["position"] == scored["position"]
        assert "RuntimeError" in trouble["error"]
        assert str(other) in await bench.documents("leads")  # another partition
    async with bench.projector():  # mended: the operator rebuilds it
        assert (await bench.job("rebuild", "leads"))["state"] == "done"
        await bench.caught_up()
        await equal_to_replay(bench)
        assert all(row["state"] == "live" for row in await bench.reader.status())


class Hungry(Leads):
    """Writes what MongoDB cannot hold."""

    @on("lead.scored.v1")
    def too_much(self, event: Event, ops: Ops) -> None:
        self.of_subject(event, ops).set({"number": 2**70})


async def test_a_view_whose_writes_are_refused_is_set_aside_in_that_partition_only(bench: Bench) -> None:
    lead, _ = nurture(bench.log, 1)
    other, _ = nurture(bench.log, 2)
    bench.log.add("lead.scored", lead, {"before": 0, "after": 1}, lead_id=lead)
    views: list[View] = [Hungry() if view.name == "leads" else view for view in ALL_VIEWS]
    await bench.relay.relay()
    async with bench.projector(views):
        await bench.caught_up([name for name in VIEW_NAMES if name != "leads"])
        row = next(row for row in await bench.reader.status() if row["name"] == "leads")
        assert list(row["broken"]) == [f"{partition_of(lead):02d}"]
        assert str(other) in await bench.documents("leads")


async def test_a_view_that_makes_what_exists_is_set_aside_in_that_partition_only(bench: Bench) -> None:
    lead, _ = nurture(bench.log, 1)
    other, _ = nurture(bench.log, 2)
    async with bench.projector():
        leads = await bench.reader.collection("leads")
        await leads.insert_one({"_id": str(lead), "partition": partition_of(lead)})
        await bench.relay.relay()
        await bench.caught_up([name for name in VIEW_NAMES if name != "leads"])
        row = next(row for row in await bench.reader.status() if row["name"] == "leads")
        assert list(row["broken"]) == [f"{partition_of(lead):02d}"]
        assert "duplicate key" in row["broken"][f"{partition_of(lead):02d}"]["error"]
        assert str(other) in await bench.documents("leads")


@asynccontextmanager
async def traffic(bench: Bench) -> AsyncIterator[None]:
    """Leads come in all the while."""

    async def flow() -> None:
        for number in range(2_000, 9_000):
            lead, _ = nurture(bench.log, number)
            await bench.relay.relay()
            if number % 20 == 0:  # as fast as the views can follow, and not faster
                cursor = f"{partition_of(lead):02d}-{bench.log.events[-1]['position']}"
                await bench.reader.wait_for(cursor, ["leads"], timeout_seconds=30.0)

    task = asyncio.create_task(flow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bench.relay.position = 0  # it may have been cut off in the middle of a page: all of it again
        bench.relay.previous.clear()
        await bench.relay.relay()


async def test_rebuilding_every_view_while_traffic_runs_ends_equal(bench: Bench) -> None:
    for number in range(50):
        nurture(bench.log, number)
    async with bench.projector(), traffic(bench):
        ids = [await bench.reader.request_job("rebuild", view) for view in VIEW_NAMES]
        for job_id in ids:
            assert (await bench.finished(job_id))["state"] == "done"
        for row in await bench.reader.status():
            assert row["generation"] == 2
    async with bench.projector():
        await bench.caught_up()
        await equal_to_replay(bench)


async def test_verify_finds_nothing_while_traffic_runs_and_then_what_was_planted(bench: Bench) -> None:
    lead, _ = nurture(bench.log, 1)
    gone, _ = nurture(bench.log, 2)
    async with bench.projector():
        async with traffic(bench):
            ids = [await bench.reader.request_job("verify", view) for view in VIEW_NAMES]
            for job_id in ids:
                job = await bench.finished(job_id)
                assert job["state"] == "done", job
                assert job["result"]["differences"] == 0, job
        await bench.caught_up()
        leads = await bench.reader.collection("leads")
        await leads.update_one({"_id": str(lead)}, {"$set": {"score": 77}})
        await leads.delete_one({"_id": str(gone)})
        await leads.insert_one({"_id": "planted"})
        job = await bench.job("verify", "leads")
        assert job["result"]["differences"] == 3
        told = {each["id"]: (each["problem"], each["fields"]) for each in job["result"]["first"]}
        assert told == {str(lead): ("different", ["score"]), str(gone): ("missing", []), "planted": ("surplus", [])}
        assert (await bench.reader.status())[3]["generation"] == 1  # a verification changes nothing


class NewLeads(Leads):
    """The next version of the view."""

    version = Leads.version + 1


async def test_a_new_version_of_a_view_is_built_by_itself(bench: Bench) -> None:
    nurture(bench.log, 1)
    await bench.relay.relay()
    async with bench.projector():
        await bench.caught_up()
    async with bench.projector([NewLeads() if view.name == "leads" else view for view in ALL_VIEWS]):

        async def switched() -> bool:
            rows = await bench.reader.status()
            return any(row["name"] == "leads" and row["generation"] == 2 for row in rows)

        await eventually(switched, 20.0)
        await equal_to_replay(bench)


async def test_the_old_generation_is_dropped_with_its_positions(bench: Bench) -> None:
    nurture(bench.log, 1)
    await bench.relay.relay()
    async with bench.projector() as service:
        await bench.caught_up()
        assert (await bench.job("rebuild", "tasks"))["state"] == "done"
        generations = bench.reader.database.collection(GENERATIONS)
        await generations.update_one({"_id": "tasks"}, {"$set": {"retired.0.drop_at": START - timedelta(days=400)}})

        async def dropped() -> bool:
            known = await bench.reader.database.collection_names()
            held = any("tasks:1" in checkpoint["positions"] for checkpoint in await bench.checkpoints())
            return "tasks.g1" not in known and not held

        await eventually(dropped, 10.0)
        nurture(bench.log, 2)
        await bench.relay.relay()
        await bench.caught_up()
        assert service.projector.owned


async def test_two_projectors_share_the_partitions(bench: Bench) -> None:
    async with bench.projector() as one, bench.projector() as two:

        def shared() -> bool:
            return len(one.projector.owned) == 8 and len(two.projector.owned) == 8

        await eventually(shared, 20.0)
        assert not set(one.projector.owned) & set(two.projector.owned)
        for number in range(30):
            nurture(bench.log, number)
        await bench.relay.relay()
        await bench.caught_up()
        await equal_to_replay(bench)


@asynccontextmanager
async def process(bench: Bench, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A projector as a process of its own."""
    settings = bench.settings
    (settings.home / "log.json").write_bytes(orjson.dumps(bench.log.events))
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.projector.program",
        settings.require_amqp_url(),
        settings.require_mongo_url(),
        str(settings.home),
        cwd=ROOT,
        env={**os.environ, **environ},
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


CRASHES = [
    "projector.after_claim:3",
    "projector.after_checkpoint",
    "projector.before_commit",
    "projector.after_commit",
    "projector.after_ack",
]


@pytest.mark.faults
@pytest.mark.parametrize("crash", CRASHES)
async def test_another_process_takes_over_after_a_kill(bench: Bench, crash: str) -> None:
    for number in range(30):
        nurture(bench.log, number)
    await bench.relay.relay(size=20)
    async with process(bench, TENDRIL_CRASH_AT=crash) as running:
        assert await asyncio.wait_for(running.wait(), 30.0) == -signal.SIGKILL
    async with bench.projector():
        await bench.caught_up()
        await equal_to_replay(bench)


JOB_CRASHES = [
    "projector.generation_made",
    "projector.job_begun",
    "projector.after_page",
    "projector.before_switch",
    "projector.after_switch",
]


@pytest.mark.faults
@pytest.mark.parametrize("crash", JOB_CRASHES)
async def test_a_rebuild_goes_on_after_a_kill(bench: Bench, crash: str) -> None:
    for number in range(10):
        nurture(bench.log, number)
    await bench.relay.relay()
    async with bench.projector():
        await bench.caught_up()
        job_id = await bench.reader.request_job("rebuild", "leads")
    async with process(bench, TENDRIL_CRASH_AT=crash) as running:
        assert await asyncio.wait_for(running.wait(), 30.0) == -signal.SIGKILL
    async with bench.projector():
        assert (await bench.finished(job_id))["state"] == "done"
        row = next(row for row in await bench.reader.status() if row["name"] == "leads")
        assert row["generation"] == 2
        nurture(bench.log, 99)
        await bench.relay.relay()
        await bench.caught_up()
        await equal_to_replay(bench)


@pytest.mark.faults
async def test_a_frozen_process_loses_its_partitions_and_its_writes(bench: Bench) -> None:
    for number in range(10):
        nurture(bench.log, number)
    await bench.relay.relay()
    async with process(bench, TENDRIL_FREEZE_AT="projector.before_commit") as running:

        async def frozen() -> bool:
            stat = Path(f"/proc/{running.pid}/stat").read_text()  # noqa: ASYNC240 - a line of procfs
            return stat.rpartition(")")[2].split()[0] == "T"

        await eventually(frozen, 30.0)
        async with bench.projector() as service:
            await eventually(lambda: len(service.projector.owned) == 16, 20.0)
            for number in range(10, 20):
                nurture(bench.log, number)
            await bench.relay.relay()
            # The frozen one holds its frames unacknowledged: a reader has their events.
            await bench.caught_up()
            os.kill(running.pid, signal.SIGCONT)
            nurture(bench.log, 50)
            await bench.relay.relay()
            await bench.caught_up()
            await equal_to_replay(bench)


async def test_waiting_for_a_cursor(bench: Bench) -> None:
    lead, _ = nurture(bench.log, 1)
    await bench.relay.relay()
    cursor = f"{partition_of(lead):02d}-{bench.log.events[-1]['position']}"
    with pytest.raises(ViewBehind):
        await bench.reader.wait_for(cursor, ["leads"], timeout_seconds=0.05)
    async with bench.projector():
        await bench.reader.wait_for(cursor, ["leads", "enrollments"], timeout_seconds=20.0)
        assert str(lead) in await bench.documents("leads")
        assert await bench.reader.checkpoint("leads", partition_of(lead)) == bench.log.events[-1]["position"]
    with pytest.raises(UnknownView):
        await bench.reader.wait_for(cursor, ["nothing"])
    for bad in ("", "x", "1", "1-x", "-1-2", "01-" + "9" * 40):
        with pytest.raises(BadCursor):
            await bench.reader.wait_for(bad, ["leads"])


async def test_figures_are_merged(bench: Bench) -> None:
    for number in range(12):
        nurture(bench.log, number)
    await bench.relay.relay()
    async with bench.projector():
        await bench.caught_up()
        figures = Figures(bench.reader)
        assert (await figures.totals("demo"))["sent"] == 24
        assert (await figures.totals("another")) == {}
        assert (await figures.step_totals("demo", str(SEQUENCE)))["step1"] == {"due": 12, "sent": 12, "opened": 12}
        hours = await figures.series("demo", "organization", "hour", START, START + timedelta(hours=2))
        assert [(row["at"], row["sent"]) for row in hours] == [(START, 24)]
        days = await figures.series(
            "demo", f"sequence:{SEQUENCE}", "day", START, START + timedelta(days=1), zone="Europe/Berlin"
        )
        assert [row["at"].isoformat() for row in days] == ["2026-11-19T23:00:00+00:00"]
        names = await bench.reader.names_of([str(derived_id("lead", 1)), None, "unknown"])
        assert names == {str(derived_id("lead", 1)): "Ada Byron1"}


async def test_what_changed_is_announced(bench: Bench) -> None:
    lead, enrollment = nurture(bench.log, 1)
    await bench.relay.relay()
    async with bench.projector():
        await bench.caught_up()

        def told() -> bool:
            return any(event == "activity" for event, _, _ in bench.pushes.sent)

        await eventually(told)
    rooms = {(event, data.get("view"), room) for event, data, room in bench.pushes.sent}
    assert ("resync", None, None) in rooms
    assert ("changed", "leads", f"org:demo:lead:{lead}") in rooms
    assert ("changed", "enrollments", f"org:demo:enrollment:{enrollment}") in rooms
    assert ("changed", "statistics", f"org:demo:sequence:{SEQUENCE}") in rooms
    narrow = next(
        data for event, data, room in bench.pushes.sent if room == f"org:demo:lead:{lead}" and data["view"] == "leads"
    )
    assert narrow["ids"] == [str(lead)]
    assert narrow["cursor"].startswith(f"{partition_of(lead):02d}-")
    sent = next(
        data
        for event, data, room in bench.pushes.sent
        if event == "activity" and data["kind"] == "enrollment.step_sent"
    )
    assert (sent["lead_name"], sent["sequence_name"], sent["step_id"]) == ("Ada Byron1", "Welcome", "step1")


QUERIES: list[tuple[str, dict[str, Any], list[tuple[str, int]]]] = [
    ("leads", {"organization_id": "demo"}, [("captured_at", -1)]),
    ("leads", {"organization_id": "demo", "search": "ada"}, [("captured_at", -1)]),
    ("leads", {"organization_id": "demo", "status": "New"}, [("captured_at", -1)]),
    ("leads", {"organization_id": "demo", "funnels": "fair"}, [("captured_at", -1)]),
    ("leads", {"organization_id": "demo"}, [("score", -1)]),
    ("leads", {"organization_id": "demo"}, [("last_activity_at", -1)]),
    ("enrollments", {"organization_id": "demo"}, [("started_at", -1)]),
    ("enrollments", {"organization_id": "demo", "status": "active"}, [("started_at", -1)]),
    ("enrollments", {"lead_id": "x"}, [("started_at", -1)]),
    ("enrollments", {"sequence_id": "x", "status": "active"}, [("started_at", -1)]),
    ("messages", {"organization_id": "demo", "status": {"$in": ["due", "sent", "failed"]}}, [("due_at", -1)]),
    ("messages", {"sequence_id": "x", "status": {"$in": ["due", "sent", "failed"]}}, [("due_at", -1)]),
    ("messages", {"organization_id": "demo", "status": "in_doubt"}, [("due_at", -1)]),
    ("messages", {"lead_id": "x"}, [("due_at", -1)]),
    ("messages", {"_id": {"$gte": "x-", "$lt": "x."}}, [("_id", 1)]),
    ("timeline", {"organization_id": "demo"}, [("position", -1)]),
    ("timeline", {"lead_id": "x"}, [("position", -1)]),
    ("tasks", {"organization_id": "demo", "status": "open", "draft": False}, [("due_at", 1)]),
    ("tasks", {"lead_id": "x"}, [("due_at", 1)]),
    ("sequences", {"organization_id": "demo", "status": "active"}, [("created_at", -1)]),
    ("sequence_versions", {"sequence_id": "x"}, [("version", -1)]),
    ("statistics", {"organization_id": "demo", "scope": "organization", "bucket": "all"}, []),
    ("organizations", {"member_emails": "a@b.c"}, []),
]


async def test_no_query_scans_a_collection_or_sorts_in_memory(bench: Bench) -> None:
    async with bench.projector() as service:
        await eventually(lambda: service.projector.prepared, 20.0)
        for view, wanted, sort in QUERIES:
            plan = str(
                (await (await bench.reader.collection(view)).explain(wanted, sort or None))["queryPlanner"][
                    "winningPlan"
                ]
            )
            assert "COLLSCAN" not in plan, (view, wanted)
            assert "'SORT'" not in plan, (view, wanted, sort)


def test_works_keep_targets_that_are_behind_out() -> None:
    """A pure check: a target that stands below the head takes no live events."""
    near, far = Target(ALL_VIEWS[0], 1), Target(ALL_VIEWS[0], 2)
    checkpoint = Checkpoint(3, 1, 10, {near.key: 10, far.key: 4})
    work: PartitionWork = live_work(checkpoint, [near, far], [], 12)
    assert [item.target for item in work.items] == [near]
