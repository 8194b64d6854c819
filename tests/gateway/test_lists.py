"""Every list is found through an index: each offered filter and pair of filters with each offered sort, none by looking
at a whole collection, and each in a way that needs no sorting in memory.

Routes, filters and sorts are read from the application, so that a new one is covered by itself.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import datetime
from itertools import combinations
from typing import Any, Literal, get_args, get_origin
from uuid import UUID

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from services.gateway.app import API, MODULES
from services.gateway.lists import page
from services.projector.generations import index_model
from services.projector.views import ALL_VIEWS
from shared.persistence.mongo import Database
from tests.gateway.conftest import LEAD, NOW, SEQUENCE, Gateway, enrollment_document, lead_document

PAGING = {"limit", "cursor", "sort", "q", "min_position"}
#: What finds one document, or the few of one lead, may be sorted in memory.
NARROW = {"lead_id", "email", "enrollment_id"}
#: Fields of a filter that read as a number or a time.
SAMPLES: dict[type[Any], Any] = {UUID: str(SEQUENCE), bool: True, int: 5, datetime: NOW.isoformat(), str: "x"}


def lists() -> Iterator[APIRoute]:
    """Routes that answer a page."""
    for module in MODULES:
        for route in module.router.routes:
            if isinstance(route, APIRoute) and any(each.call is page for each in route.dependant.dependencies):
                yield route


def filters_of(route: APIRoute) -> dict[str, Any]:
    """A value for each filter that the route offers."""
    found = {}
    for parameter in parameters_of(route.dependant):
        if parameter.alias not in PAGING:
            found[parameter.alias] = sample(parameter.field_info.annotation)
    return found


def parameters_of(dependant: Dependant) -> Iterator[Any]:
    yield from dependant.query_params
    for each in dependant.dependencies:
        yield from parameters_of(each)


def sample(annotation: Any) -> Any:
    if get_origin(annotation) is Literal:
        return get_args(annotation)[0]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return next(iter(annotation)).value
    for part in get_args(annotation):
        if part is not type(None) and (value := sample(part)) is not None:
            return value
    return SAMPLES.get(annotation)


def combined(filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """None, each alone, and each pair."""
    for size in range(3):
        for names in combinations(sorted(filters), size):
            yield {name: filters[name] for name in names}


async def sorts_of(gateway: Gateway, path: str) -> list[dict[str, str]]:
    """A wrong one is told which there are; a list that takes none answers all the same."""
    refused = await gateway.http.get(path, params={"sort": "?"}, headers=gateway.key())
    if refused.status_code == 200:
        return [{}]
    assert refused.json()["code"] == "bad_sort", refused.text
    names = refused.json()["errors"][0]["problem"].removeprefix("must be one of ").split(", ")
    return [{"sort": sign + name} for name in names for sign in ("", "-")]


def test_the_lists_are_found() -> None:
    paths = {route.path for route in lists()}
    assert {"/leads", "/enrollments", "/executions", "/tasks"} <= paths
    [enrollments] = [route for route in lists() if route.path == "/enrollments"]
    assert {"status", "sequence_id", "lead_id"} <= filters_of(enrollments).keys()


async def test_every_list_is_served_by_an_index(gateway: Gateway) -> None:
    for view in ALL_VIEWS:
        collection = gateway.views.collection(f"{view.name}.g1")
        await collection.create_indexes([index_model(index) for index in view.indexes])
    await gateway.put("leads", lead_document(0))
    await gateway.put("enrollments", enrollment_document())
    databases = [gateway.views, gateway.own]
    for database in databases:
        await database.command({"create": "system.profile", "capped": True, "size": 64_000_000})
        await database.command({"profile": 2})
    asked = 0
    for route in lists():
        path = API + route.path.replace("{lead_id}", str(LEAD))
        if "{" in path:  # below something that must exist first
            continue
        sorts = await sorts_of(gateway, path)
        for filters in combined(filters_of(route)):
            for sort in sorts:
                params = {**filters, **sort}
                answer = await gateway.http.get(path, params=params, headers=gateway.key())
                assert answer.status_code in {200, 400, 422}, (path, params, answer.text)
                asked += answer.status_code == 200
    assert asked > 100
    bad = []
    for database in databases:
        await database.command({"profile": 0})
        entries = await database.collection("system.profile").find({"op": "query"}).to_list()
        for entry in entries:
            command = entry["command"]
            if "sort" not in command:  # no list: one document, or all of the few that an organization has
                continue
            narrow = NARROW & set(_fields(command.get("filter", {})))
            sorted_in_memory = entry.get("hasSortStage") and not narrow
            in_order = not sorted_in_memory or await _could_be_in_order(database, command)
            if "COLLSCAN" in entry["planSummary"] or not in_order:
                bad.append(f"{command['find']} {command.get('filter')} {command['sort']}: {entry['planSummary']}")
    assert not bad, "\n".join(bad)


async def _could_be_in_order(database: Database, command: dict[str, Any]) -> bool:
    """Is there a plan that reads in order? Of those that there are, MongoDB takes the quicker one: for few documents
    that may be one that sorts them.
    """
    asked = {name: command[name] for name in ("find", "filter", "sort", "limit") if name in command}
    planner = (await database.command({"explain": asked, "verbosity": "queryPlanner"}))["queryPlanner"]
    plans = [planner["winningPlan"], *planner["rejectedPlans"]]
    return any(not {"SORT", "COLLSCAN"} & set(_stages(plan)) for plan in plans)


def _stages(plan: dict[str, Any]) -> Iterator[str]:
    yield plan["stage"]
    for each in (*plan.get("inputStages", ()), *([plan["inputStage"]] if "inputStage" in plan else ())):
        yield from _stages(each)


def _fields(condition: Any) -> Iterator[str]:
    if isinstance(condition, list):
        for each in condition:
            yield from _fields(each)
    elif isinstance(condition, dict):
        for name, value in condition.items():
            if name.startswith("$"):
                yield from _fields(value)
            else:
                yield name
