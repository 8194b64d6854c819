"""One suite for both ways of carrying out orders: MongoDB and plain dicts. What is expected is written out by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from services.projector.event import Event
from services.projector.memory import MemoryDocuments
from services.projector.mongo_writes import writes_of
from services.projector.ops import Document, FirstOf, Join, Ops, Union
from shared.ids import derived_id
from shared.persistence.mongo import Collection, connect
from tests.projector.log import Log

LEAD = derived_id("lead", 1)


def event() -> Event:
    return Event(Log().add("lead.scored", LEAD, {"before": 0, "after": 1}, lead_id=LEAD))


Orders = Callable[[Document], Any]

CASES: dict[str, tuple[list[Orders], dict[str, Any]]] = {
    "set": ([lambda d: d.set({"a": 1, "b.c": 2})], {"a": 1, "b": {"c": 2}}),
    "set again": ([lambda d: d.set({"a": 1}), lambda d: d.set({"a": 2})], {"a": 2}),
    "set inside what was set": (
        [lambda d: d.set({"a": {"x": 1}}), lambda d: d.set({"a.y.z": 2})],
        {"a": {"x": 1, "y": {"z": 2}}},
    ),
    "set over what is inside": ([lambda d: d.set({"a.x": 1}), lambda d: d.set({"a": {"y": 2}})], {"a": {"y": 2}}),
    "count": ([lambda d: d.inc("n"), lambda d: d.inc("n", 4)], {"n": 5}),
    "count after set": ([lambda d: d.set({"n": 10}), lambda d: d.inc("n")], {"n": 11}),
    "count inside what was set": ([lambda d: d.set({"a": {}}), lambda d: d.inc("a.n")], {"a": {"n": 1}}),
    "set after count": ([lambda d: d.inc("n"), lambda d: d.set({"n": 3})], {"n": 3}),
    "highest": ([lambda d: d.max("n", 3), lambda d: d.max("n", 2)], {"n": 3}),
    "lowest": ([lambda d: d.min("n", 3), lambda d: d.min("n", 2)], {"n": 2}),
    "highest of what was set": (
        [lambda d: d.set({"n": 5}), lambda d: d.max("n", 2), lambda d: d.max("n", 9)],
        {"n": 9},
    ),
    "add": ([lambda d: d.add_to_set("t", ["a", "b"]), lambda d: d.add_to_set("t", ["b", "c"])], {"t": ["a", "b", "c"]}),
    "add to what was set": (
        [lambda d: d.set({"t": ["a"]}), lambda d: d.add_to_set("t", ["a", "b", "b"])],
        {"t": ["a", "b"]},
    ),
    "add and remove": (
        [lambda d: d.add_to_set("t", ["a", "b"]), lambda d: d.remove_from_set("t", ["a"])],
        {"t": ["b"]},
    ),
    "remove and add": (
        [
            lambda d: d.set({"t": ["a", "b"]}),
            lambda d: d.remove_from_set("t", ["a"]),
            lambda d: d.add_to_set("t", ["a"]),
        ],
        {"t": ["b", "a"]},
    ),
    "unset": ([lambda d: d.set({"a.x": 1, "a.y": 2}), lambda d: d.unset("a.x")], {"a": {"y": 2}}),
    "unset inside what was set": ([lambda d: d.set({"a": {"x": 1}}), lambda d: d.unset("a.x")], {"a": {}}),
    "set after unset": ([lambda d: d.unset("a"), lambda d: d.set({"a": 1})], {"a": 1}),
    "set inside what was unset": (
        [lambda d: d.set({"a": {"x": 1}}), lambda d: d.unset("a"), lambda d: d.set({"a.y": 2})],
        {"a": {"y": 2}},
    ),
    "on insert": ([lambda d: d.set_on_insert({"a": 1, "b": 2}), lambda d: d.set({"a": 3})], {"a": 3, "b": 2}),
    "union": (
        [
            lambda d: d.set({"p": {"x": ["b", "a"], "y": ["b", "c"]}}),
            lambda d: d.derive({"all": Union(("p.x", "p.y", "p.z"))}),
        ],
        {"p": {"x": ["b", "a"], "y": ["b", "c"]}, "all": ["a", "b", "c"]},
    ),
    "join": (
        [
            lambda d: d.set({"x": "Ada", "y": None, "z": "Byron"}),
            lambda d: d.derive({"name": Join(("x", "y", "z", "missing"))}),
        ],
        {"x": "Ada", "y": None, "z": "Byron", "name": "Ada Byron"},
    ),
    "join of nothing": (
        [lambda d: d.set({"x": None}), lambda d: d.derive({"name": Join(("x", "y"))})],
        {"x": None, "name": None},
    ),
    "first of": (
        [
            lambda d: d.set({"x": None, "y": {"z": 1}}),
            lambda d: d.derive({"f": FirstOf(("x", "w", "y.z")), "g": FirstOf(("x",))}),
        ],
        {"x": None, "y": {"z": 1}, "f": 1, "g": None},
    ),
}
BASE = ("organization_id", "partition", "position", "updated_at")


async def carry_out(collection: Collection, ops: Ops) -> None:
    for level in writes_of([ops]):
        await collection.bulk_write(level)


def document_in(ops: Ops, document_id: str, *, first: bool) -> Document:
    """The document, made as new by the first order to it."""
    return ops.new_document(event(), document_id, {}) if first else ops.document(event(), document_id)


@pytest.mark.parametrize("new", [True, False], ids=["new", "perhaps new"])
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "batches of one"])
@pytest.mark.parametrize("name", CASES)
async def test_orders_take_effect_in_order(mongo_url: str, name: str, together: bool, new: bool) -> None:
    orders, expected = CASES[name]
    mongo = connect(mongo_url)
    collection = mongo.database(mongo_url.rpartition("/")[2].partition("?")[0]).collection("documents")
    memory = MemoryDocuments()
    ops = Ops()
    for number, order in enumerate(orders):
        order(document_in(ops, "one", first=new and number == 0))
        if not together or number == len(orders) - 1:
            memory.carry_out(ops)
            await carry_out(collection, ops)
            ops = Ops()
    stored = await collection.find_one({"_id": "one"})
    await mongo.close()
    assert stored is not None
    for document in (stored, memory.documents["one"]):
        assert {name: value for name, value in document.items() if name not in BASE and name != "_id"} == expected
        assert document["organization_id"] == "demo"


async def test_random_orders_mean_the_same_in_both_and_however_they_are_batched(mongo_url: str) -> None:
    """Whatever the orders and the splits: the same document."""
    seed = random.Random(7)
    mongo = connect(mongo_url)
    collection = mongo.database(mongo_url.rpartition("/")[2].partition("?")[0]).collection("documents")
    for round_number in range(60):
        orders: list[Orders] = [lambda d: d.set({"a": 0, "b": [], "c": {}})]
        orders += [random_order(seed) for _ in range(seed.randint(1, 12))]
        results = []
        for variant in ("whole", "single", "split", "new whole", "new split"):
            document_id = f"{round_number}-{variant}"
            memory, ops = MemoryDocuments(), Ops()
            for number, order in enumerate(orders):
                order(document_in(ops, document_id, first="new" in variant and number == 0))
                if variant == "single" or number == len(orders) - 1 or ("split" in variant and seed.random() < 0.3):
                    memory.carry_out(ops)
                    await carry_out(collection, ops)
                    ops = Ops()
            stored = await collection.find_one({"_id": document_id})
            results += [without_id(stored or {}), without_id(memory.documents[document_id])]
        assert all(result == results[0] for result in results), (round_number, results)
    await mongo.close()


def random_order(seed: random.Random) -> Orders:
    number, letter = seed.randint(0, 9), seed.choice("xyz")
    return seed.choice(
        [
            lambda d: d.set({"a": number}),
            lambda d: d.inc("a", number),
            lambda d: d.max("a", number),
            lambda d: d.min("a", number),
            lambda d: d.add_to_set("b", [letter]),
            lambda d: d.remove_from_set("b", [letter]),
            lambda d: d.set({"b": [letter]}),
            lambda d: d.set({f"c.{letter}": number}),
            lambda d: d.inc("c.n", number),
            lambda d: d.unset(f"c.{letter}"),
            lambda d: d.set({"c": {letter: number}}),
        ]
    )


def without_id(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "_id"}
