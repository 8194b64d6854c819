"""Lists: filters, search by prefix, sorting, and keyset pages that stay right while documents come and go."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import Depends, Query

from services.gateway.context import Context
from services.gateway.errors import BadMark, BadRequest
from shared.persistence.mongo import Collection
from shared.persistence.search import query_terms, tokens

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
#: Leads looked at when another list is searched by a lead's name.
MAX_MATCHES = 1_000

Show = Callable[[list[dict[str, Any]]], Awaitable[list[dict[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Page:
    """What a caller asked for."""

    limit: int
    cursor: str | None
    sort: str | None
    q: str | None


def page(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=2_000, description="Opaque mark of the next page.")] = None,
    sort: Annotated[str | None, Query(max_length=50, description="A field; with - in front, descending.")] = None,
    q: Annotated[str | None, Query(max_length=200, description="Words, or beginnings of words.")] = None,
) -> Page:
    """The parameters of every list."""
    return Page(limit, cursor, sort, q)


Paging = Annotated[Page, Depends(page)]


@dataclass(frozen=True, slots=True)
class Listing:
    """``sorts``: what may be sorted by, each with the direction its index runs in (1 or -1). ``default`` is one of
    them, with its sign. ``without``: fields too long for a list, which are not read."""

    view: str
    sorts: Mapping[str, int]
    default: str
    without: tuple[str, ...] = ()

    def order(self, asked: str | None) -> tuple[str, int, int]:
        """Field, direction, and direction of the id that breaks ties. Raises BadRequest."""
        name = asked or self.default
        field, direction = (name[1:], -1) if name.startswith("-") else (name, 1)
        if field not in self.sorts:
            known = ", ".join(self.sorts)
            raise BadRequest(
                f"sort must be one of {known}, with - in front for descending",
                code="bad_sort",
                errors=[{"field": "sort", "problem": f"must be one of {known}"}],
            )
        return field, direction, 1 if direction == self.sorts[field] else -1


async def listed(
    context: Context, listing: Listing, asked: Page, filters: Mapping[str, Any], show: Show, *extra: Mapping[str, Any]
) -> dict[str, Any]:
    """A page: ``{"items", "next_cursor"}``. Raises BadRequest for a cursor or sort that does not fit."""
    await context.reach(listing.view)
    collection = await context.parts.views.collection(listing.view)
    return await paged(collection, context, listing, asked, filters, show, *extra)


async def paged(
    collection: Collection,
    context: Context,
    listing: Listing,
    asked: Page,
    filters: Mapping[str, Any],
    show: Show,
    *extra: Mapping[str, Any],
) -> dict[str, Any]:
    """The same for a collection that is no view."""
    field, direction, tie = listing.order(asked.sort)
    given = {name: value for name, value in filters.items() if value is not None}
    after = _after(asked.cursor, field, direction, tie) if asked.cursor else {}
    wanted = context.scope.filter(given, after, *extra)
    order, left_out = [(field, direction), ("_id", tie)], dict.fromkeys(listing.without, 0)
    found = await collection.find(wanted, left_out or None, sort=order, limit=asked.limit + 1).to_list()
    more = len(found) > asked.limit
    found = found[: asked.limit]
    mark = _mark(field, direction, found[-1]) if more else None
    return {"items": await show(found), "next_cursor": mark}


async def leads_called(context: Context, q: str | None) -> dict[str, Any]:
    """A condition for lists of things that belong to leads: those whose lead is found by ``q``. Empty without ``q``."""
    terms = query_terms(q or "")
    if not terms:
        return {}
    leads = await context.parts.views.collection("leads")
    found = await leads.find(context.scope.filter({"search": {"$all": terms}}), {"_id": 1}, limit=MAX_MATCHES).to_list()
    return {"lead_id": {"$in": [lead["_id"] for lead in found]}}


async def sequences_called(context: Context, q: str | None) -> dict[str, Any]:
    """A condition for the list of sequences: an organization has few, so their names are looked at here."""
    terms = set(query_terms(q or ""))
    if not terms:
        return {}
    sequences = await context.parts.views.collection("sequences")
    found = await sequences.find(context.scope.filter(), {"name": 1, "description": 1}).to_list()
    matching = [each["_id"] for each in found if terms <= {*tokens(each.get("name")), *tokens(each.get("description"))}]
    return {"_id": {"$in": matching}}


def _mark(field: str, direction: int, last: Mapping[str, Any]) -> str:
    value = last.get(field)
    packed = {"t": value.isoformat()} if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(orjson.dumps([field, direction, packed, last["_id"]])).decode().rstrip("=")


def _after(cursor: str, field: str, direction: int, tie: int) -> dict[str, Any]:
    """Everything behind the mark. MongoDB sorts None before any value and compares only within a type."""
    marked_field, marked_direction, value, last_id = _unpacked(cursor)
    if (marked_field, marked_direction) != (field, direction):
        raise BadMark("belongs to a list sorted otherwise")
    beyond_id = {"_id": {"$gt" if tie > 0 else "$lt": last_id}}
    same: dict[str, Any] = {"$and": [{field: value}, beyond_id]}
    if value is None:
        return {"$or": [same, {field: {"$ne": None}}]} if direction > 0 else same
    if direction > 0:
        return {"$or": [same, {field: {"$gt": value}}]}
    return {"$or": [same, {field: {"$lt": value}}, {field: None}]}


def _unpacked(cursor: str) -> tuple[str, int, Any, Any]:
    try:
        field, direction, value, last_id = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if isinstance(value, dict):
            value = datetime.fromisoformat(value["t"])
        if not isinstance(last_id, str | int) or isinstance(value, list):
            raise TypeError  # noqa: TRY301
    except (ValueError, TypeError, KeyError, binascii.Error):
        raise BadMark("cannot be read") from None
    return field, direction, value, last_id


def ids_of(documents: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """The distinct values of a field, without None."""
    return sorted({document[name] for document in documents if document.get(name)})
