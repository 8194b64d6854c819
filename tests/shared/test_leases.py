"""Partitions are shared out, handed over and taken over, and never have two owners under one epoch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.persistence.leases import Leases
from shared.persistence.mongo import Collection, connect
from tests.support.waiting import eventually


@pytest_asyncio.fixture
async def collection(mongo_url: str) -> AsyncIterator[Collection]:
    client = connect(mongo_url)
    yield client.database(mongo_url.rpartition("/")[2].partition("?")[0]).collection("leases")
    await client.close()


def member(collection: Collection, owner: str, *, ttl_seconds: float = 30.0) -> Leases:
    return Leases(collection, owner, group="projector", ttl_seconds=ttl_seconds, renew_seconds=0.1)


async def test_the_only_process_gets_everything_and_keeps_it_under_the_same_epoch(collection: Collection) -> None:
    only = member(collection, "a")
    first = await only.tick()
    assert [lease.partition for lease in first.gained] == list(range(16))
    assert {lease.epoch for lease in first.gained} == {1}
    again = await only.tick()
    assert (again.gained, again.lost) == ([], [])
    assert len(only.held) == 16


@pytest.mark.parametrize(("members", "sizes"), [(2, [8, 8]), (3, [4, 6, 6]), (5, [0, 4, 4, 4, 4])])
async def test_those_that_join_get_their_share(collection: Collection, members: int, sizes: list[int]) -> None:
    group = [member(collection, f"process-{number}") for number in range(members)]
    for _ in range(3):
        for one in group:
            await one.tick()
    assert sorted(len(one.held) for one in group) == sizes
    held = [partition for one in group for partition in one.held]
    assert sorted(held) == list(range(16))


async def test_a_surplus_is_given_back_under_a_higher_epoch(collection: Collection) -> None:
    first, second = member(collection, "a"), member(collection, "b")
    await first.tick()
    assert (await second.tick()).gained == []
    assert (await first.tick()).lost == list(range(8, 16))
    gained = (await second.tick()).gained
    assert [(lease.partition, lease.epoch) for lease in gained] == [(partition, 2) for partition in range(8, 16)]


async def test_what_a_dead_process_held_is_taken_over_when_it_runs_out(collection: Collection) -> None:
    dead, heir = member(collection, "dead", ttl_seconds=0.5), member(collection, "heir")
    await dead.tick()
    await heir.tick()
    assert heir.held == {}

    async def all_taken() -> bool:
        await heir.tick()
        return len(heir.held) == 16

    await eventually(all_taken)
    assert {lease.epoch for lease in heir.held.values()} == {2}
    thawed = await dead.tick()
    assert thawed.lost == list(range(16))
    assert dead.held == {}


async def test_one_that_ran_out_is_not_renewed_but_taken_anew(collection: Collection) -> None:
    sleeper = member(collection, "a", ttl_seconds=0.2)
    await sleeper.tick()

    async def run_out() -> bool:
        expired = {"kind": "lease", "$expr": {"$lte": ["$expires_at", "$$NOW"]}}
        return await collection.count_documents(expired) == 16

    await eventually(run_out)
    change = await sleeper.tick()
    assert change.lost == list(range(16))
    assert {lease.epoch for lease in change.gained} == {2}


async def test_giving_back_frees_at_once(collection: Collection) -> None:
    leaving, staying = member(collection, "a"), member(collection, "b")
    await leaving.tick()
    await leaving.release(3)
    assert 3 not in leaving.held
    await leaving.release_all()
    await staying.tick()
    assert sorted(staying.held) == list(range(16))


async def test_many_that_start_together_never_share_a_partition(collection: Collection) -> None:
    group = [member(collection, f"process-{number}") for number in range(4)]
    for _ in range(3):
        await asyncio.gather(*(one.tick() for one in group))
        held = [partition for one in group for partition in one.held]
        assert len(held) == len(set(held))

    async def settled() -> bool:
        await asyncio.gather(*(one.tick() for one in group))
        return sorted(len(one.held) for one in group) == [4, 4, 4, 4]

    await eventually(settled)


async def test_groups_do_not_meet(collection: Collection) -> None:
    one = Leases(collection, "a", group="one", partitions=2)
    other = Leases(collection, "b", group="other", partitions=2)
    await one.tick()
    await other.tick()
    assert sorted(one.held) == sorted(other.held) == [0, 1]


def test_a_renewal_rarer_than_the_lease_is_long_is_refused(mongo_url: str) -> None:
    collection = connect(mongo_url).database("unused").collection("leases")
    with pytest.raises(ValueError, match="renew_seconds must lie between"):
        Leases(collection, "a", group="g", ttl_seconds=5, renew_seconds=5)
