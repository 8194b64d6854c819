"""Private servers: they start, survive a kill with their data and address, and end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aio_pika
import psycopg
import pytest
from aio_pika.abc import AbstractRobustConnection
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, PyMongoError

from shared.persistence.mongo import connect, is_unavailable
from tendril.embedded.errors import EmbeddedError
from tendril.embedded.mongod import MongoServer
from tendril.embedded.postgres import PostgresServer
from tendril.embedded.rabbitmq import RabbitServer
from tests.support.servers import server_home
from tests.support.waiting import eventually


@pytest.fixture
def home() -> Iterator[Path]:
    with server_home("embedded") as folder:
        yield folder


@pytest.mark.faults
async def test_mongod_keeps_what_was_journaled_over_a_kill(home: Path) -> None:
    server = MongoServer(home)
    await server.start()
    url = server.url
    client = connect(url)
    await client.database("kept").collection("things").insert_one({"_id": 1})
    server.kill()
    await server.wait_ended()
    await server.start()
    assert server.url == url
    assert await client.database("kept").collection("things").count_documents({}) == 1
    await client.close()
    await server.stop()
    assert not server.running


@pytest.mark.faults
async def test_transactions_go_on_after_a_node_was_asked_before_it_had_recovered(home: Path) -> None:
    """As after a restart: a connection made while the node recovers supports no sessions as long as it lives."""
    server = MongoServer(home)
    await server.start()
    admin: AsyncMongoClient[dict[str, object]] = AsyncMongoClient("127.0.0.1", server.port, directConnection=True)
    with suppress(AutoReconnect):
        await admin.admin.command("replSetStepDown", 1, force=True)
    await eventually(lambda: admin.admin.command("replSetMaintenance", 1))
    client = connect(server.url, server_selection_seconds=0.5)
    things = client.database("kept").collection("things")

    async def done() -> bool:
        try:
            async with client.transaction() as session:
                await things.update_one({"_id": 1}, {"$inc": {"n": 1}}, upsert=True, session=session)
        except PyMongoError as error:
            if is_unavailable(error):
                return False
            raise
        return True

    assert not await done()
    await admin.admin.command("replSetMaintenance", 0)
    await admin.close()
    await eventually(done, timeout_seconds=20)
    await client.close()
    await server.stop()


@pytest.mark.faults
async def test_rabbitmq_keeps_confirmed_messages_over_a_kill(home: Path) -> None:
    server = RabbitServer(home)
    await server.start()
    url = await server.add_vhost("a/b")
    try:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
        await server.stop()  # the queue itself is settled; what is to survive the kill is the message
        await server.start()
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            message = aio_pika.Message(b"x", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, routing_key="kept")
        server.kill()
        await server.wait_ended()
        await server.start()
        assert server.vhost_url("a/b") == url
        async with await aio_pika.connect(url) as connection:
            queue = await (await connection.channel()).get_queue("kept")
            async with asyncio.timeout(30), queue.iterator() as messages:  # the queue chooses its leader first
                assert (await anext(messages)).body == b"x"
    finally:
        await server.stop()
    with pytest.raises(EmbeddedError, match="does not run"):
        _ = server.pid


async def test_a_virtual_host_has_a_plain_name(home: Path) -> None:
    with pytest.raises(EmbeddedError, match="cannot be called"):
        await RabbitServer(home).add_vhost('x">>')


@pytest.mark.postgres
async def test_every_test_has_a_database_of_its_own(postgres_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        )
        assert await cursor.fetchone() == (0,)


@pytest.mark.postgres
async def test_a_folder_that_the_servers_user_cannot_enter_is_named(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    server = PostgresServer(closed)
    if server.runs_as is None:
        await server.start()
        await server.stop()
    else:
        with pytest.raises(EmbeddedError, match=r"cannot enter .*closed"):
            await server.start()


async def test_every_test_has_a_virtual_host_of_its_own(amqp_url: str, rabbit_server: RabbitServer) -> None:
    assert amqp_url != rabbit_server.url
    connection: AbstractRobustConnection = await aio_pika.connect_robust(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue("mine", exclusive=True)


async def test_a_server_that_cannot_start_shows_the_end_of_its_log(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "WiredTiger.wt").write_text("no database")
    (home / "data" / "storage.bson").write_text("nor this")
    with pytest.raises(EmbeddedError, match=r"mongod ended with status \d+; the end of .*mongod\.log"):
        await MongoServer(home).start()
