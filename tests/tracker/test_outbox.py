"""With the broker away, slow, killed: everyone is answered, everything arrives, in order, with the same ids."""

from __future__ import annotations

import asyncio
import os
import smtplib
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGKILL

import httpx
import pytest

from services.tracker.errors import NotDurable, SpoolFull
from services.tracker.outbox import Outbox
from services.tracker.signals import Hit, hit_record
from services.tracker.spool import Record, Spool
from shared.events import from_cloud_event
from shared.messaging import frames
from shared.messaging.errors import BrokerAway, PublishUnknown
from shared.settings import Settings
from shared.tokens import LinkClaims
from tendril.embedded.rabbitmq import RabbitServer
from tests.support.waiting import eventually
from tests.tracker.conftest import (
    BROWSER,
    DOMAIN,
    ENROLLMENT,
    LEAD,
    SECRET,
    TOKENS,
    link,
    mail,
    running_tracker,
    signal_of,
    taken,
    tracker_settings,
)

ADDRESS = f"reply+{TOKENS.address_token(ENROLLMENT, 4)}@{DOMAIN}"


class Broker:
    """Confirms, refuses or keeps silent, as told; remembers what it confirmed."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self.refuse = False
        self.hold: asyncio.Event | None = None
        self.got: list[str] = []
        self.frames: list[int] = []
        self.keys: list[str] = []

    @property
    def is_up(self) -> bool:
        return self.up.is_set()

    async def wait_up(self) -> None:
        await self.up.wait()

    async def publish_body(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        *,
        content_type: str,
        message_id: str | None,  # noqa: ARG002  # the protocol has it
        timeout_seconds: float | None = None,
    ) -> None:
        if not self.is_up:
            raise BrokerAway("away")
        if self.hold is not None:
            try:
                await asyncio.wait_for(self.hold.wait(), timeout_seconds)
            except TimeoutError:
                raise PublishUnknown(exchange, routing_key, "timed out") from None
        if self.refuse:
            raise PublishUnknown(exchange, routing_key, "no")
        envelopes = frames.decode(body, content_type)
        self.got += [envelope.id for envelope in envelopes]
        self.frames.append(len(envelopes))
        self.keys.append(routing_key)


class FullSpool(Spool):
    """Takes nothing while ``full``."""

    full = True

    def append(self, records: Sequence[Record]) -> None:
        if self.full:
            raise SpoolFull("full")
        super().append(records)


def opened(number: int) -> Record:
    claims = LinkClaims(
        organization_id="demo",
        lead_id=LEAD,
        enrollment_id=ENROLLMENT,
        execution=number + 1,
        channel="email",
        kind="open",
    )
    return hit_record(Hit(claims, datetime(2026, 3, 2, tzinfo=UTC)), source="pixel")


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
async def outbox(broker: Broker, tmp_path: Path) -> AsyncIterator[Outbox]:
    spool = Spool(tmp_path)
    outbox = Outbox(broker, spool)
    await outbox.start()
    yield outbox
    await outbox.close()
    spool.close()


async def test_company_shares_a_frame_of_at_most_200(outbox: Outbox, broker: Broker) -> None:
    signals = [opened(number) for number in range(450)]
    await asyncio.gather(*(outbox.put(signal) for signal in signals))
    assert sorted(broker.got) == sorted(signal.event["id"] for signal in signals)
    assert broker.frames == [200, 200, 50]
    assert set(broker.keys) == {"signal.frame"}
    await outbox.put(opened(1))
    assert broker.keys[-1] == "signal.opened"


async def test_while_the_broker_is_away_all_go_to_disk_and_later_in_order(outbox: Outbox, broker: Broker) -> None:
    broker.up.clear()
    signals = [opened(number) for number in range(30)]
    for signal in signals[:10]:
        await outbox.put(signal)
    await outbox.hand_over([from_cloud_event(signal.event) for signal in signals[10:20]])
    for signal in signals[20:]:
        await outbox.put(signal)
    assert broker.got == []
    assert outbox.spool_waits
    broker.up.set()
    await eventually(lambda: not outbox.spool_waits)
    assert broker.got == [signal.event["id"] for signal in signals]


async def test_nobody_waits_long_for_a_slow_broker_and_only_once(outbox: Outbox, broker: Broker) -> None:
    broker.hold = asyncio.Event()
    loop = asyncio.get_running_loop()
    started = loop.time()
    first, second = opened(1), opened(2)
    await outbox.put(first)
    waited = loop.time() - started
    await outbox.put(second)
    assert 0.9 < waited < 5
    assert loop.time() - started - waited < 0.9  # the second went to disk at once
    broker.hold.set()
    await eventually(lambda: not outbox.spool_waits)
    assert broker.got[-2:] == [first.event["id"], second.event["id"]]


async def test_with_neither_broker_nor_disk_hot_signals_wait_in_memory_and_others_are_told(
    broker: Broker, tmp_path: Path
) -> None:
    broker.refuse = True
    spool = FullSpool(tmp_path)
    outbox = Outbox(broker, spool)
    await outbox.start()
    signal = opened(1)
    await outbox.put(signal)
    with pytest.raises(NotDurable):
        await outbox.hand_over([from_cloud_event(opened(2).event)])
    broker.refuse = False
    await eventually(lambda: broker.got == [signal.event["id"]])
    assert not outbox.spool_waits
    await outbox.close()
    spool.close()


async def test_what_waits_in_memory_at_the_end_goes_to_disk(broker: Broker, tmp_path: Path) -> None:
    broker.up.clear()
    spool = FullSpool(tmp_path)
    outbox = Outbox(broker, spool)
    await outbox.start()
    await outbox.put(opened(1))
    spool.full = False
    await outbox.close()
    assert not spool.is_empty
    spool.close()


# --- the real thing ---------------------------------------------------------------------------------------------------


@pytest.mark.faults
async def test_a_killed_broker_is_not_noticed_by_people_and_loses_nothing(tmp_path: Path) -> None:
    rabbit = RabbitServer(tmp_path / "rabbitmq")
    await rabbit.start()
    try:
        async with running_tracker(tmp_path / "home", rabbit.url) as tracker:
            answered: set[int] = set()

            async def reader(start: int) -> None:
                for number in range(start, start + 100):
                    answer = await tracker.http.get(f"/t/o/{link('open', execution=number)}.gif")
                    assert answer.status_code == 200
                    answered.add(number)

            hits = [asyncio.create_task(reader(1 + 100 * lane)) for lane in range(4)]
            await eventually(lambda: len(answered) > 100)
            rabbit.kill()
            await rabbit.wait_ended()
            await asyncio.gather(*hits)
            assert (await tracker.http.post(f"/t/u/{link('unsubscribe')}")).status_code == 200
            await asyncio.to_thread(reply, tracker.smtp_port)
            assert tracker.service.outbox.spool_waits
            assert (await tracker.http.get("/readyz")).status_code == 200
            await rabbit.start()
            await eventually(lambda: not tracker.service.outbox.spool_waits, timeout_seconds=60)
            envelopes = await tracker.published()
            kinds = {envelope.id: signal_of(envelope) for envelope in envelopes}
            opens = [found.execution for found in kinds.values() if found.signal == "opened"]
            assert sorted(opens) == sorted(answered) == list(range(1, 401))
            assert {found.signal for found in kinds.values()} == {"opened", "unsubscribed", "replied"}
            assert len(await tracker.stops()) == 1
    finally:
        await rabbit.stop()


def reply(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("ada@example.com", [ADDRESS], mail())


async def tracker_process(home: Path, amqp_url: str, crash_at: str) -> tuple[asyncio.subprocess.Process, Settings]:
    """The real program, told where to die."""
    settings = tracker_settings(home, amqp_url)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TENDRIL_")},
        "TENDRIL_HOME": str(home),
        "TENDRIL_AMQP_URL": amqp_url,
        "TENDRIL_SECRET_KEYS": SECRET,
        "TENDRIL_INBOUND_DOMAIN": DOMAIN,
        "TENDRIL_TRACKER_PORT": str(settings.tracker_port),
        "TENDRIL_INBOUND_SMTP_PORT": str(settings.inbound_smtp_port),
        "TENDRIL_TELEMETRY_PORT": str(settings.telemetry_port),
        "TENDRIL_CRASH_AT": crash_at,
    }
    program = (
        "import asyncio; from services.tracker.main import run; from shared.settings import load_settings; "
        "asyncio.run(run(load_settings()))"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=env, stderr=asyncio.subprocess.DEVNULL
    )
    return child, settings


async def ended_by_kill(child: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(child.wait(), 40)
    finally:
        if child.returncode is None:
            child.kill()
    assert child.returncode == -SIGKILL


@pytest.mark.faults
@pytest.mark.parametrize(
    "point",
    ["tracker.before_publish:3", "tracker.after_publish:3", "tracker.one_published:1", "tracker.mail_stored:1"],
)
async def test_a_tracker_killed_anywhere_loses_nothing_it_has_answered(
    tmp_path: Path, amqp_url: str, point: str
) -> None:
    child, settings = await tracker_process(tmp_path, amqp_url, point)
    answered: list[str] = []
    base = f"http://127.0.0.1:{settings.tracker_port}"
    async with httpx.AsyncClient(base_url=base, headers=BROWSER, timeout=20) as http:

        async def ready() -> bool:
            try:
                return "tendril_tracker_broker_up 1.0" in (await http.get("/metrics")).text
            except httpx.HTTPError:
                return False

        await eventually(ready, timeout_seconds=40)
        try:
            for number in range(1, 6):
                await http.get(f"/t/o/{link('open', execution=number)}.gif")
                answered.append(f"opened {number}")
            await http.post(f"/t/u/{link('unsubscribe')}")
            answered.append("unsubscribed 2")
            await asyncio.to_thread(reply, settings.inbound_smtp_port)
            answered.append("replied 4")
        except (httpx.HTTPError, smtplib.SMTPException, OSError):
            pass  # it died here, unanswered
    await ended_by_kill(child)
    async with running_tracker(tmp_path, amqp_url):
        pass  # drains what the dead one left
    signals = map(signal_of, await taken(amqp_url, "enrollment.signals"))
    found = {f"{signal.signal} {signal.execution}" for signal in signals}
    assert set(answered) <= found


@pytest.mark.faults
@pytest.mark.parametrize("point", ["tracker.drain_published:2", "tracker.spool_before_remove:1"])
async def test_a_tracker_killed_while_it_drains_repeats_the_same_ids(tmp_path: Path, amqp_url: str, point: str) -> None:
    spool = Spool(tmp_path / "spool")
    records = [opened(number) for number in range(450)]
    for start in range(0, 450, 50):
        spool.append(records[start : start + 50])
    spool.close()
    child, _ = await tracker_process(tmp_path, amqp_url, point)
    await ended_by_kill(child)
    async with running_tracker(tmp_path, amqp_url) as tracker:
        assert tracker.service.spool.is_empty
    found = [envelope.id for envelope in await taken(amqp_url, "enrollment.signals")]
    ids = [record.event["id"] for record in records]
    assert len(found) > 450
    assert list(dict.fromkeys(found)) == ids
