"""Queries: views read through one door that always filters by the asker's organization."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.gateway.lists import Sort, encode_cursor, page_filter
from services.gateway.principals import Principal
from services.gateway.problems import Invalid, NotFound, ViewBehind
from shared.persistence.mongo import Collection
from shared.persistence.views import BadCursor, ViewReader
from shared.persistence.views import ViewBehind as StillBehind

WAIT_SECONDS = 5.0

Present = Callable[[dict[str, Any]], dict[str, Any]]


class Views:
    """Reads documents of one organization; those of others do not exist."""

    def __init__(self, reader: ViewReader) -> None:
        self._reader = reader

    async def collection(self, view: str) -> Collection:
        """For aggregations; the caller puts ``organization_id`` into its first match."""
        return await self._reader.collection(view)

    async def get(self, principal: Principal, view: str, id_: str, *, what: str) -> dict[str, Any]:
        """Raises NotFound."""
        collection = await self._reader.collection(view)
        found = await collection.find_one({"_id": id_, "organization_id": principal.organization_id})
        if found is None:
            raise NotFound(f"There is no {what} {id_}.")
        return found

    async def count(self, principal: Principal, view: str, filter_: Mapping[str, Any]) -> int:
        collection = await self._reader.collection(view)
        return await collection.count_documents({"organization_id": principal.organization_id, **filter_})

    async def many(
        self, principal: Principal, view: str, ids: Sequence[str], projection: Sequence[str] = ()
    ) -> dict[str, dict[str, Any]]:
        """Documents by id; absent where there is none."""
        if not ids:
            return {}
        collection = await self._reader.collection(view)
        filter_ = {"_id": {"$in": list(set(ids))}, "organization_id": principal.organization_id}
        found = await collection.find(filter_, dict.fromkeys(projection, 1) or None).to_list()
        return {str(document["_id"]): document for document in found}

    async def page(
        self,
        principal: Principal,
        view: str,
        *,
        filter_: Mapping[str, Any],
        sort: Sort,
        limit: int,
        cursor: str | None,
        present: Present,
    ) -> dict[str, Any]:
        """``{"items", "next_cursor"}``; the cursor is None on the last page. None values in ``filter_`` mean "any"."""
        wanted = {"organization_id": principal.organization_id}
        wanted.update({key: value for key, value in filter_.items() if value is not None})
        collection = await self._reader.collection(view)
        found = await collection.find(page_filter(wanted, sort, cursor), sort=sort.keys, limit=limit + 1).to_list()
        more = len(found) > limit
        found = found[:limit]
        return {
            "items": [present(document) for document in found],
            "next_cursor": encode_cursor(found[-1], sort) if more else None,
        }

    async def wait_for(self, position: str | None, views: Sequence[str]) -> None:
        """Waits until the views have a write's position. Raises Invalid or ViewBehind."""
        if position is None:
            return
        try:
            await self._reader.wait_for(position, views, WAIT_SECONDS)
        except BadCursor:
            problem = "must read <partition>-<position>"
            raise Invalid(
                "The position cannot be read.", errors=[{"field": "min_position", "problem": problem}]
            ) from None
        except StillBehind:
            raise ViewBehind(f"The view has not reached {position} within {WAIT_SECONDS:g} s.") from None
