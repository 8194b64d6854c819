"""Those inside a sequence, by where they stand; for previews of what moves them to another version."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.gateway.context import Context
from shared.events.query import GroupInside, QueryMigrationPlan

#: Execution states in which a step took effect, or may have.
_DONE = ["sent", "in_doubt", "taken", "done"]
_IN_FLIGHT = ["due", "stopping"]
#: Kinds of steps that leave nothing behind.
_TRACELESS = ["condition", "wait"]
MOST_GROUPS = 10_000


async def plan_of_those_inside(
    context: Context, sequence_id: UUID, *, version: int | None, moves: dict[str, str], repeats: bool
) -> dict[str, Any]:
    """The counted preview: how many stand where, and where each goes or why it stays."""
    await context.reach("enrollments")
    collection = await context.parts.views.collection("enrollments")
    found = await collection.aggregate(_pipeline(context, sequence_id)).to_list()
    groups = [
        GroupInside(
            version=row["_id"]["version"],
            step_id=row["_id"].get("step"),
            concluded=bool(row["_id"].get("concluded")),
            done=sorted(row["_id"].get("done") or []),
            count=row["n"],
        )
        for row in found
    ]
    question = QueryMigrationPlan(
        organization_id=context.principal.organization_id,
        sequence_id=sequence_id,
        version=version,
        moves=moves,
        repeats=repeats,
        groups=groups,
    )
    return await context.parts.commands.ask(context.principal.organization_id, question)


def _pipeline(context: Context, sequence_id: UUID) -> list[dict[str, Any]]:
    """Groups of enrollments that stand alike. A step in flight counts as concluded: it finishes first."""
    steps = {"$map": {"input": {"$objectToArray": {"$ifNull": ["$steps", {}]}}, "in": "$$this.v"}}
    took_effect = {
        "$and": [{"$in": ["$$this.status", _DONE]}, {"$not": [{"$in": [{"$ifNull": ["$$this.kind", ""]}, _TRACELESS]}]}]
    }
    done = {"$map": {"input": {"$filter": {"input": "$runs", "cond": took_effect}}, "in": "$$this.step_id"}}
    ended = {"$in": ["$$this.status", [*_DONE, *_IN_FLIGHT]]}
    here = {"$and": [{"$eq": ["$$this.step_id", "$current_step"]}, ended]}
    waits = {"$eq": [{"$ifNull": ["$next.step_id", None]}, "$current_step"]}
    concluded = {"$and": [{"$not": [waits]}, {"$gt": [{"$size": {"$filter": {"input": "$runs", "cond": here}}}, 0]}]}
    condition = {"sequence_id": str(sequence_id), "status": {"$in": ["pending", "active", "paused"]}}
    return [
        {"$match": context.scope.filter(condition)},
        {"$project": {"version": 1, "current_step": 1, "next": 1, "runs": steps}},
        {
            "$group": {
                "_id": {
                    "version": "$version",
                    "step": "$current_step",
                    "concluded": concluded,
                    "done": {"$setUnion": [done, []]},
                },
                "n": {"$sum": 1},
            }
        },
        {"$limit": MOST_GROUPS},
    ]
