"""The seam over MongoDB's drivers: one suite, run on both, against a real mongod."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import pytest
import pytest_asyncio
from pymongo import IndexModel, InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from shared.persistence.mongo import (
    Database,
    MongoClient,
    Session,
    connect,
    is_duplicate_key,
    is_transient,
    is_unavailable,
)
from shared.settings import load_settings
from tendril.embedded.ports import free_port


@pytest_asyncio.fixture(params=["motor", "pymongo"])
async def client(request: pytest.FixtureRequest, mongo_url: str) -> AsyncIterator[MongoClient]:
    driver: Literal["motor", "pymongo"] = request.param
    made = connect(mongo_url, driver)
    yield made
    await made.close()


@pytest.fixture
def database(client: MongoClient, mongo_url: str) -> Database:
    return client.database(load_settings({}, mongo_url=mongo_url).database_prefix)


async def test_moments_and_uuids_come_back_as_they_went_in(database: Database) -> None:
    things = database.collection("things")
    document = {"_id": UUID(int=7), "at": datetime(2026, 3, 2, 12, 0, 0, 5000, tzinfo=UTC), "n": 2**40}
    await things.insert_one(dict(document))
    found = await things.find_one({"_id": UUID(int=7)})
    assert found == document
    assert found["at"].tzinfo is not None
    stored = await things.aggregate([{"$project": {"kind": {"$type": "$_id"}}}]).to_list()
    assert stored == [{"_id": UUID(int=7), "kind": "binData"}]


async def test_every_operation_does_what_it_says(database: Database) -> None:
    things = database.collection("things")
    await things.insert_many([{"_id": number, "even": number % 2 == 0} for number in range(10)])
    assert (await things.update_one({"_id": 1}, {"$set": {"x": 1}})).modified_count == 1
    assert (await things.update_many({"even": True}, {"$inc": {"x": 2}})).matched_count == 5
    assert (await things.replace_one({"_id": 99}, {"even": False}, upsert=True)).upserted_id == 99
    assert (await things.delete_one({"_id": 99})).deleted_count == 1
    assert await things.find_one_and_update({"_id": 2}, {"$inc": {"x": 1}}) == {"_id": 2, "even": True, "x": 3}
    before = await things.find_one_and_update({"_id": 2}, {"$inc": {"x": 1}}, return_after=False)
    assert before is not None
    assert before["x"] == 3
    assert await things.find_one_and_update({"_id": 77}, {"$inc": {"x": 1}}) is None
    result = await things.bulk_write([InsertOne({"_id": 20}), UpdateOne({"_id": 3}, {"$set": {"x": 9}})])
    assert (result.inserted_count, result.modified_count) == (1, 1)
    found = things.find({"even": True}, {"_id": 1}, sort=[("_id", -1)], skip=1, limit=3)
    assert [document["_id"] for document in await found.to_list()] == [6, 4, 2]
    assert [document["_id"] async for document in things.find({"_id": {"$lt": 3}}, sort={"_id": 1})] == [0, 1, 2]
    assert [document["n"] async for document in things.aggregate([{"$count": "n"}])] == [11]
    assert await things.count_documents({"even": True}) == 5
    assert sorted(await things.distinct("even")) == [False, True]
    assert (await things.delete_many({})).deleted_count == 11


async def test_indexes_collections_and_plans(database: Database) -> None:
    things = database.collection("things")
    assert await things.create_index([("a", 1)]) == "a_1"
    assert await things.create_indexes([IndexModel([("b", 1)], unique=True, sparse=True)]) == ["b_1"]
    assert await things.create_indexes([]) == []
    assert "COLLSCAN" not in str(await things.explain({"a": 1}))
    assert "COLLSCAN" in str(await things.explain({"c": 1}, sort=[("c", 1)]))
    await database.collection("old").insert_one({"_id": 1})
    await database.rename_collection("old", "things")
    assert await database.collection_names() == ["things"]
    await database.drop_collection("things")
    assert (await database.command({"ping": 1}))["ok"] == 1


async def test_a_transaction_is_all_or_nothing(client: MongoClient, database: Database) -> None:
    things = database.collection("things")
    await things.insert_one({"_id": 0})

    async def broken(session: Session) -> None:
        await things.insert_one({"_id": 1}, session=session)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await client.run_in_transaction(broken)
    async with client.transaction() as session:
        await things.insert_one({"_id": 2}, session=session)
        assert await things.count_documents({}) == 1
        assert await things.count_documents({}, session=session) == 2
        assert len(await things.find({}, session=session).to_list()) == 2
        assert len(await things.aggregate([], session=session).to_list()) == 2
    assert sorted(await things.distinct("_id")) == [0, 2]


async def test_conflicting_transactions_are_run_again_until_all_are_in(client: MongoClient, database: Database) -> None:
    counters = database.collection("counters")
    await counters.insert_one({"_id": "c", "n": 0})

    async def add_one(session: Session) -> int:
        document = await counters.find_one({"_id": "c"}, session=session)
        assert document is not None
        await counters.update_one({"_id": "c"}, {"$set": {"n": document["n"] + 1}}, session=session)
        return int(document["n"])

    seen = await asyncio.gather(*(client.run_in_transaction(add_one) for _ in range(5)))
    assert sorted(seen) == [0, 1, 2, 3, 4]


async def test_a_conflict_is_transient_and_no_sign_of_an_absent_server(client: MongoClient, database: Database) -> None:
    things = database.collection("things")
    await things.insert_one({"_id": 0, "n": 0})
    async with client.transaction() as winner:
        await things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=winner)
        with pytest.raises(PyMongoError) as caught:
            async with client.transaction() as loser:
                await things.update_one({"_id": 0}, {"$inc": {"n": 1}}, session=loser)
    assert is_transient(caught.value)
    assert not is_unavailable(caught.value)


async def test_duplicates_are_told_from_other_errors(database: Database) -> None:
    things = database.collection("things")
    await things.insert_one({"_id": 1})
    with pytest.raises(DuplicateKeyError) as single:
        await things.insert_one({"_id": 1})
    with pytest.raises(BulkWriteError) as bulk:
        await things.insert_many([{"_id": 1}, {"_id": 2}], ordered=False)
    assert is_duplicate_key(single.value)
    assert is_duplicate_key(bulk.value)
    assert not is_unavailable(single.value)
    assert not is_unavailable(bulk.value)
    assert not is_duplicate_key(ValueError())


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_an_absent_server_is_told_from_other_errors(driver: Literal["motor", "pymongo"]) -> None:
    client = connect(f"mongodb://127.0.0.1:{free_port()}/", driver, server_selection_seconds=0.2)
    with pytest.raises(PyMongoError) as caught:
        await client.ping()
    await client.close()
    assert is_unavailable(caught.value)
    assert not is_unavailable(ValueError())
