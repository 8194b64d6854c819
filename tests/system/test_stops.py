"""Stops: a pause, an unsubscribe or a reply never lets a later message out, wherever the step is at that moment.

A step that already stands at its final dot is too late to stop; it is then recorded and shown as sent. The sink is the
evidence: each test has leads that nobody stops, and what they get says that the others would have got it too. A minute
of business time lasts three seconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import orjson
import pytest
import pytest_asyncio

from tests.support.waiting import eventually
from tests.system.checking import nothing_is_stuck, verify_all
from tests.system.runs import Run
from tests.system.sequences import email
from tests.system.signals import one_click, reply
from tests.system.stack import Stack, running_stack

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

SPEED = 20.0
SEED = int(os.environ.get("TENDRIL_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
#: How each lead of a run is stopped, by its number; the last two are left alone.
WAYS = ("pause", "unsubscribe", "reply", "cancel", "nobody", "nobody")
ENDS = {"pause": "paused", "unsubscribe": "exited", "reply": "exited", "cancel": "exited", "nobody": "active"}
#: Between the first mail and the others a person must do something, so that a test says when they are due.
GATED = [email("m0"), {"step_id": "gate", "kind": "task", "config": {"title": "Go on"}}, email("m1"), email("m2")]
QUEUED = 20_000
FRAME = 25


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path_factory.mktemp("stops"), business_speed=SPEED) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def nothing_is_held(stack: Stack) -> AsyncIterator[None]:
    """A test begins and ends with every service up and the sink answering."""
    for name, process in stack.services.items():
        if not process.running:
            await stack.restart(name)
    yield
    for event in (stack.sink.hold, stack.sink.hold_data):
        if event is not None:
            event.set()
    stack.sink.hold = stack.sink.hold_data = None
    stack.services["dispatcher"].signal(signal.SIGCONT)


async def stop(stack: Stack, run: Run, number: int, enrollment: dict[str, Any], how: str) -> None:
    """Stops one lead; returns when whoever asked has the answer."""
    match how:
        case "pause" | "cancel":
            await stack.api("POST", f"enrollments/{enrollment['id']}/{how}", json={})
        case "unsubscribe":
            await one_click(stack, run.to(number)[0])
        case "reply":
            await reply(stack, run.to(number)[0])


async def stop_all(stack: Stack, run: Run, ways: tuple[str, ...] = WAYS) -> None:
    """Stops the leads, each in its way; returns when all of it is recorded and shown."""
    enrollments = await run.by_number()
    for number, how in enumerate(ways):
        await stop(stack, run, number, enrollments[number], how)
    await shown(run, [ENDS[how] for how in ways])


async def shown(run: Run, statuses: list[str]) -> None:
    """Waits until the enrollments have these statuses, in the order of their leads."""

    async def so() -> bool:
        found = await run.by_number()
        assert [found[number]["status"] for number in range(run.leads)] == statuses
        return True

    await eventually(so, timeout_seconds=60)


async def resumed_to_the_end(stack: Stack, run: Run, ways: tuple[str, ...] = WAYS) -> None:
    """Resumes the paused leads: they and those left alone get every mail once, the others nothing more."""
    before = {number: run.subjects(number) for number in range(run.leads)}
    enrollments = await run.by_number()
    for number, how in enumerate(ways):
        if how == "pause":
            await stack.api("POST", f"enrollments/{enrollments[number]['id']}/resume", json={})
    await shown(run, ["completed" if how in ("pause", "nobody") else "exited" for how in ways])
    every = [f"m{number}" for number in range(run.steps)]
    for number, how in enumerate(ways):
        assert run.subjects(number) == (every if how in ("pause", "nobody") else before[number]), (number, how)
    found = await run.by_number()
    for number in range(run.leads):
        assert found[number]["counts"]["sent"] == len(run.to(number)), found[number]
    await nothing_is_stuck(stack)


async def gates(stack: Stack, run: Run) -> list[dict[str, Any]]:
    """The task of every lead, once all are open: the outcomes of the mails before them are recorded by then."""
    wanted = {each["id"] for each in (await run.by_number()).values()}

    async def all_open() -> list[dict[str, Any]] | None:
        tasks = [each for each in await stack.items("tasks", status="open") if each["enrollment_id"] in wanted]
        return tasks if len(tasks) == len(wanted) else None

    found = await eventually(all_open, timeout_seconds=60, message="not every task is open")
    assert isinstance(found, list)
    return found


async def open_gates(stack: Stack, run: Run) -> None:
    """Completes the task of every lead: its next mail is due at once."""
    for task in await gates(stack, run):
        await stack.api("POST", f"tasks/{task['task_id']}/complete", json={})


async def test_a_planned_step_does_not_go_out(stack: Stack) -> None:
    steps = [email("m0"), email("m1", amount=5, unit="minutes")]
    run = await Run.begin(stack, 4, steps)
    await run.sent(4)
    await stop_all(stack, run, WAYS[:4])
    assert len(run.mails) == 4, "the stops came too late to count"
    later = await Run.begin(stack, 1, steps)  # due after all of them, and nobody stops it
    await later.sent(2)
    assert [run.subjects(number) for number in range(4)] == [["m0"]] * 4
    await resumed_to_the_end(stack, run, WAYS[:4])


@asynccontextmanager
async def due_steps(stack: Stack) -> AsyncIterator[list[dict[str, Any]]]:
    """Every due step that goes to the dispatchers' e-mail queue from now on, as a queue beside theirs gets it."""
    seen: list[dict[str, Any]] = []

    async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        body = orjson.loads(message.body)
        seen.extend(body if isinstance(body, list) else [body])

    channel = await stack.channel()
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind("tendril.dispatch", "email")
    await queue.consume(take, no_ack=True)
    try:
        yield seen
    finally:
        await channel.close()


async def queue_in_front(stack: Stack, steps: list[dict[str, Any]]) -> None:
    """Puts 20,000 due steps on the dispatchers' queue. Each comes again, so none of them may send anything."""
    channel = await stack.channel()
    exchange = await channel.get_exchange("tendril.dispatch", ensure=False)
    frames = [
        orjson.dumps([steps[(start + n) % len(steps)] for n in range(FRAME)]) for start in range(0, QUEUED, FRAME)
    ]
    await asyncio.gather(
        *(
            exchange.publish(aio_pika.Message(frame, content_type="application/cloudevents-batch+json"), "email")
            for frame in frames
        )
    )
    await channel.close()


async def queued(stack: Stack, steps: list[dict[str, Any]], run: Run) -> None:
    """Waits until the gated mail of every lead of the run stands on the dispatchers' queue."""
    wanted = {each["id"] for each in (await run.by_number()).values()}
    await eventually(
        lambda: wanted <= {step["subject"] for step in steps if step["data"]["step_id"] == "m1"}, timeout_seconds=60
    )


async def test_a_step_queued_behind_20_000_others_does_not_go_out(stack: Stack) -> None:
    async with due_steps(stack) as steps:
        others = await Run.begin(stack, 500, 1)
        run = await Run.begin(stack, len(WAYS), GATED)
        await others.sent(500)
        await run.sent(len(WAYS))
        await gates(stack, run)  # a dispatcher frozen before its report would hold them shut
        stack.services["dispatcher"].signal(signal.SIGSTOP)
        await queue_in_front(stack, [step for step in steps if step["data"]["sequence_id"] == others.sequence_id])
        await open_gates(stack, run)
        await queued(stack, steps, run)
    await stop_all(stack, run)
    stack.services["dispatcher"].signal(signal.SIGCONT)
    await run.sent(len(WAYS) + 4)
    assert [run.subjects(number) for number in range(4)] == [["m0"]] * 4
    await resumed_to_the_end(stack, run)
    await others.ends_as_calm()


async def test_an_unsubscribe_holds_while_the_enrollment_service_is_down(stack: Stack) -> None:
    """A reply made meanwhile holds from the moment it is recorded: what was queued goes out, nothing after it."""
    async with due_steps(stack) as steps:
        others = await Run.begin(stack, 100, 1)
        run = await Run.begin(stack, 6, GATED)
        await others.sent(100)
        await run.sent(6)
        await gates(stack, run)  # a dispatcher frozen before its report would hold them shut
        stack.services["dispatcher"].signal(signal.SIGSTOP)
        await queue_in_front(stack, [step for step in steps if step["data"]["sequence_id"] == others.sequence_id])
        await open_gates(stack, run)
        await queued(stack, steps, run)
    paused = (await run.by_number())[3]["id"]
    await stack.kill("enrollment")
    for number in (0, 1):
        await one_click(stack, run.to(number)[0])
    await reply(stack, run.to(2)[0])
    key = {"Idempotency-Key": f"pause-{run.tag}"}
    await stack.api("POST", f"enrollments/{paused}/pause", json={}, headers=key, expect=503)
    stack.services["dispatcher"].signal(signal.SIGCONT)
    await run.sent(6 + 4)  # all but the unsubscribed
    await stack.restart("enrollment")
    await stack.api("POST", f"enrollments/{paused}/pause", json={}, headers=key)
    await shown(run, ["exited", "exited", "exited", "paused", "completed", "completed"])
    assert [run.subjects(number) for number in range(2)] == [["m0"]] * 2
    reasons = {number: each["reason"] for number, each in (await run.by_number()).items()}
    assert [reasons[number] for number in range(3)] == ["unsubscribed", "unsubscribed", "replied"]
    ways = ("unsubscribe", "unsubscribe", "reply", "pause", "nobody", "nobody")
    await resumed_to_the_end(stack, run, ways)


async def test_a_claimed_step_does_not_go_out(stack: Stack) -> None:
    """The mail server has the envelope and was asked to take the text; its go-ahead comes after the stop."""
    run = await Run.begin(stack, len(WAYS), GATED)
    await run.sent(len(WAYS))
    stack.sink.hold_data, stack.sink.asked = asyncio.Event(), 0
    await open_gates(stack, run)
    await eventually(lambda: stack.sink.asked >= len(WAYS), timeout_seconds=30, message="not every step is claimed")
    await stop_all(stack, run)

    async def answered() -> bool:
        found = await stack.items("messages", sequence_id=run.sequence_id, status="stopped")
        return len(found) == 4

    await eventually(answered, timeout_seconds=10, message="the ledger did not stop them")
    stack.sink.hold_data.set()
    stack.sink.hold_data = None
    await run.sent(len(WAYS) + 2)
    await resumed_to_the_end(stack, run)
    assert [run.subjects(number) for number in range(1, 4)] == [["m0"]] * 3


@pytest.mark.parametrize("late", ["in time", "after it was given up"])
async def test_pause_resume_and_a_late_answer_make_no_second_copy(stack: Stack, late: str) -> None:
    stack.sink.hold = asyncio.Event()
    run = await Run.begin(stack, 4, 2)
    await run.sent(4)  # all stand at their dot
    enrollments = await run.by_number()
    for number in (0, 1, 2):
        await stack.api("POST", f"enrollments/{enrollments[number]['id']}/pause", json={})
    for number in (0, 1):
        await stack.api("POST", f"enrollments/{enrollments[number]['id']}/resume", json={})
    await stack.api("POST", f"enrollments/{enrollments[1]['id']}/pause", json={})
    if late != "in time":

        async def given_up() -> bool:
            return len(await run.in_doubt()) == 4

        await eventually(given_up, timeout_seconds=60, message="not in doubt")
    stack.sink.hold.set()
    stack.sink.hold = None
    await shown(run, ["completed", "paused", "paused", "completed"])

    async def settled() -> bool:
        return not await run.in_doubt()

    await eventually(settled, timeout_seconds=30, message="the late answers settled nothing")
    assert [run.subjects(number) for number in range(4)] == [["m0", "m1"], ["m0"], ["m0"], ["m0", "m1"]]
    await resumed_to_the_end(stack, run, ("nobody", "pause", "pause", "nobody"))


async def test_stops_raced_against_sends(stack: Stack) -> None:
    """40 leads are stopped at random moments among their mails. After the answer at most the one step goes out that was
    in flight, and then it counts as sent."""
    print(f"TENDRIL_FAULT_SEED={SEED}")  # noqa: T201
    chance = random.Random(SEED)
    leads, steps = 40, 8
    plans = [(chance.choice(WAYS[:4]), chance.randrange(1, steps - 1), chance.random() * 0.1) for _ in range(leads)]
    run = await Run.begin(stack, leads, steps)
    enrollments = await run.by_number()
    had: dict[int, int] = {}

    async def race(number: int) -> None:
        how, after, pause = plans[number]
        await eventually(lambda: len(run.to(number)) >= after, timeout_seconds=120)
        begun = asyncio.get_running_loop().time()
        await eventually(lambda: asyncio.get_running_loop().time() >= begun + pause)
        if how in ("pause", "cancel"):
            path = f"enrollments/{enrollments[number]['id']}/{how}"
            await stack.api("POST", path, json={}, expect=(200, 409))  # 409: every mail had gone out
        else:
            await stop(stack, run, number, enrollments[number], how)
        had[number] = len(run.to(number))

    await asyncio.gather(*(race(number) for number in range(leads)))

    async def quiet() -> dict[int, dict[str, Any]] | None:
        states = [each["status"] for each in (await run.by_number()).values()]
        if not set(states) <= {"paused", "exited", "completed"}:
            return None
        due = await stack.items("messages", sequence_id=run.sequence_id, status="due")
        return None if due else await run.by_number()  # with the answer to what was in flight at the first look

    found = await eventually(quiet, timeout_seconds=60, message="the stops did not take effect")
    for number, (how, _, _) in enumerate(plans):
        if how in ("pause", "cancel"):  # answered by the write side itself
            assert len(run.to(number)) <= had[number] + 1, (number, how)
        assert found[number]["counts"]["sent"] == len(run.to(number)), (number, how)
    for each in found.values():
        if each["status"] == "paused":
            await stack.api("POST", f"enrollments/{each['id']}/resume", json={})
    expected = {
        number: "completed" if each["status"] in ("paused", "completed") else "exited" for number, each in found.items()
    }
    await shown(run, [expected[number] for number in range(leads)])
    every = [f"m{number}" for number in range(steps)]
    for number in range(leads):
        got = run.subjects(number)
        assert got == every[: len(got)], (number, got)
        assert expected[number] == "exited" or got == every, (number, got)
    await nothing_is_stuck(stack)


async def test_after_all_that_every_view_equals_the_log(stack: Stack) -> None:
    await verify_all(stack)
