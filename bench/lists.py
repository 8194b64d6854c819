"""How long a page of a long list takes: every offered filter with every offered sort, at the query layer.

``python bench/lists.py [--documents 200000] [--json]``. Enrollments, upcoming sends and leads of one organization on a
mongod of their own, with the views' indexes; each page is asked for a few times, and the median counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from services.gateway.access import Scope
from services.gateway.lists import DEFAULT_LIMIT, Listing
from services.gateway.routes import enrollments, executions, leads
from services.projector.generations import index_model
from services.projector.views import ALL_VIEWS
from shared.ids import derived_id
from shared.persistence.mongo import Collection, MongoClient, connect
from shared.persistence.search import query_terms, tokens
from tendril.embedded.mongod import MongoServer

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SEQUENCES = [str(derived_id("sequence", number)) for number in range(40)]
STATUSES = ("active", "active", "active", "completed", "completed", "exited", "paused", "pending")
WORDS = ("ada", "bea", "carl", "dora", "emil", "fay", "gus", "hana", "ivo", "jana")
TRIES = 5


def enrollment(number: int, dice: random.Random) -> dict[str, Any]:
    status = dice.choice(STATUSES)
    at = NOW + timedelta(minutes=dice.randrange(40_000)) if status == "active" else None
    return {
        "_id": str(derived_id("enrollment", number)),
        "organization_id": "demo",
        "lead_id": str(derived_id("lead", number)),
        "sequence_id": SEQUENCES[min(dice.randrange(len(SEQUENCES)), dice.randrange(len(SEQUENCES)))],
        "version": 1,
        "status": status,
        "started_at": NOW - timedelta(seconds=dice.randrange(10_000_000)),
        "next": {"step_id": "hello", "execution": 2, "at": at},
        "upcoming": at is not None,
        "upcoming_at": at,
        "upcoming_on": dice.choice(("email", "email", "email", "sms")) if at else None,
        "counts": {"sent": dice.randrange(9)},
        "steps": {str(nth): {"step_id": f"s{nth}", "status": "sent"} for nth in range(4)},
    }


def lead(number: int, dice: random.Random) -> dict[str, Any]:
    name = f"{dice.choice(WORDS)} {dice.choice(WORDS)}{number}"
    return {
        "_id": str(derived_id("lead", number)),
        "organization_id": "demo",
        "name": name,
        "email": f"lead{number}@example.com",
        "status": dice.choice(("New", "New", "New", "Contacted", "Won")) if number % 500 else "Rare",
        "temperature": dice.choice(("Cold", "Warm", "Hot")),
        "source": dice.choice(("Web Form", "Fair", "Partner")),
        "funnels": [f"funnel-{dice.randrange(30)}"],
        "owner": str(derived_id("member", dice.randrange(20))),
        "tags": [f"tag-{dice.randrange(50)}"],
        "score": dice.randrange(101),
        "captured_at": NOW - timedelta(seconds=dice.randrange(10_000_000)),
        "last_activity_at": NOW - timedelta(seconds=dice.randrange(10_000_000)),
        "erased": False,
        "search": tokens(name),
    }


def asked() -> Iterator[tuple[str, Listing, str, dict[str, Any]]]:
    """View, listing, name of the filter, and what it looks for; common values and rare ones."""
    channels, every = {"$in": list(executions.CHANNELS)}, {"$in": list(enrollments.ENROLLMENT_STATUSES)}
    for name, wanted in {
        "all": {},
        "status": {"status": "active"},
        "status rare": {"status": "pending"},
        "sequence": {"sequence_id": SEQUENCES[0], "status": every},
        "sequence rare": {"sequence_id": SEQUENCES[-1], "status": every},
        "sequence+status": {"sequence_id": SEQUENCES[3], "status": "paused"},
        "lead": {"lead_id": str(derived_id("lead", 7))},
    }.items():
        yield "enrollments", enrollments.LISTING, name, wanted
    for name, wanted in {
        "all": {"upcoming_on": channels},
        "channel": {"upcoming_on": "sms"},
        "channel without any": {"upcoming_on": "whatsapp"},
        "sequence": {"upcoming_on": channels, "sequence_id": SEQUENCES[-1]},
        "time": {"upcoming_on": channels, "upcoming_at": {"$gte": NOW + timedelta(days=5)}},
    }.items():
        yield "enrollments", executions.UPCOMING, f"upcoming {name}", {"upcoming": True, **wanted}
    for name, wanted in {
        "all": {},
        "status": {"status": "New"},
        "status rare": {"status": "Rare"},
        "status without any": {"status": "Nobody"},
        "temperature": {"temperature": "Hot"},
        "source": {"source": "Fair"},
        "funnel": {"funnels": "funnel-7"},
        "owner": {"owner": str(derived_id("member", 3))},
        "tag": {"tags": "tag-7"},
        "email": {"email": "lead77@example.com"},
        "status+source": {"status": "Won", "source": "Partner"},
        "score": {"score": {"$gte": 99}},
        "name common": {"search": {"$all": query_terms("ad")}},
        "name rare": {"search": {"$all": query_terms("dora emil777")}},
    }.items():
        yield "leads", leads.LISTING, name, wanted


async def timed(collection: Collection, wanted: dict[str, Any], order: list[tuple[str, int]]) -> float:
    """Median milliseconds of a page, read whole."""
    taken = []
    for _ in range(TRIES):
        began = time.perf_counter()
        await collection.find(wanted, sort=order, limit=DEFAULT_LIMIT + 1).to_list()
        taken.append(1_000 * (time.perf_counter() - began))
    return statistics.median(taken)


async def fill(mongo: MongoClient, documents: int) -> dict[str, Collection]:
    database, dice = mongo.database("bench_lists"), random.Random(7)
    collections = {}
    for view in ALL_VIEWS:
        if view.name in {"enrollments", "leads"}:
            collection = collections[view.name] = database.collection(f"{view.name}.g1")
            await collection.create_indexes([index_model(index) for index in view.indexes])
            make = lead if view.name == "leads" else enrollment
            for start in range(0, documents, 5_000):
                await collection.insert_many(
                    [make(number, dice) for number in range(start, min(start + 5_000, documents))]
                )
    return collections


async def measure(documents: int) -> dict[str, Any]:
    scope = Scope("demo")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="tendril-bench-") as home:
        server = MongoServer(Path(home))
        await server.start()
        mongo = connect(server.url)
        try:
            collections = await fill(mongo, documents)
            for view, listing, name, wanted in asked():
                for field, natural in listing.sorts.items():
                    for direction in (1, -1):
                        order = [(field, direction), ("_id", 1 if direction == natural else -1)]
                        taken = await timed(collections[view], scope.filter(wanted), order)
                        rows.append({"list": view, "filter": name, "sort": field, "direction": direction, "ms": taken})
        finally:
            await mongo.close()
            await server.stop()
    slowest = sorted(rows, key=lambda row: -float(row["ms"]))
    return {
        "documents": documents,
        "queries": len(rows),
        "ms_median": round(statistics.median(row["ms"] for row in rows), 2),
        "ms_worst": round(slowest[0]["ms"], 2),
        "over_50_ms": sum(row["ms"] > 50 for row in rows),
        "slowest": [{**row, "ms": round(float(row["ms"]), 2)} for row in slowest[:12]],
    }


def run(documents: int = 200_000) -> dict[str, Any]:
    """Everything measured."""
    return asyncio.run(measure(documents))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = run(chosen.documents)
    if chosen.json:
        print(json.dumps(found))
    else:
        for row in found.pop("slowest"):
            print(f"{row['ms']:8.1f} ms  {row['list']}: {row['filter']}, by {row['sort']} {row['direction']:+d}")
        print(found)
