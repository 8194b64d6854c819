"""Notifications of one member: those of the view, limits and faults merged from all partitions, and tasks that are due.

What somebody has read is kept here, not in the log: a moment up to which all is read, and single marks after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.gateway import assignees
from services.gateway.access import Principal, Scope
from shared.clock import Clock
from shared.persistence.mongo import Database
from shared.persistence.views import ViewReader

COLLECTION = "notification_reads"
#: What is older is no news.
KEPT_DAYS = 60
#: Single marks kept; the oldest count as read through once there are more.
MOST_MARKS = 1_000
#: Nobody counts further.
MOST_UNREAD = 1_000
#: So many faults of a day make news; fewer are retried and forgotten.
FAULTS_FROM = 3
MOST_MERGED = 2_000
#: Notifications of one moment that a page may have to pass over.
_SAME_MOMENT = 200
#: Who may act on something -> the permission that it takes.
_GROUPS = {"approvers": "sequences:approve", "administrators": "organization:write"}
NEVER = datetime(1, 1, 1, tzinfo=UTC)

#: Where a notification stands in the list: its moment, then its id.
Place = tuple[datetime, str]


@dataclass(frozen=True, slots=True)
class Marks:
    """``through``: everything up to it is read."""

    through: datetime
    ids: frozenset[str]

    def has_read(self, notification: Mapping[str, Any]) -> bool:
        return notification["at"] <= self.through or notification["id"] in self.ids


class Notifications:
    """Collection ``notification_reads`` of the gateway's database, a document per member or key."""

    def __init__(self, database: Database, views: ViewReader, clock: Clock) -> None:
        self._reads = database.collection(COLLECTION)
        self._views = views
        self._clock = clock

    async def page(self, principal: Principal, limit: int, before: Place | None) -> list[dict[str, Any]]:
        """Up to ``limit`` notifications before a place (moment, id), newest first, each with ``read``."""
        marks = await self.marks(principal)
        found = await self._newest(principal, limit, before, self._oldest())
        return [{**each, "read": marks.has_read(each)} for each in found]

    async def unread(self, principal: Principal) -> int:
        """How many are unread; counted up to ``MOST_UNREAD``."""
        marks = await self.marks(principal)
        newest = await self._newest(principal, MOST_UNREAD, None, max(marks.through, self._oldest()))
        return sum(not marks.has_read(each) for each in newest)

    async def marks(self, principal: Principal) -> Marks:
        found = await self._reads.find_one({"_id": _reader(principal)})
        if found is None:
            return Marks(NEVER, frozenset())
        return Marks(found.get("through") or NEVER, frozenset(found.get("ids") or ()))

    async def mark(self, principal: Principal, ids: Sequence[str]) -> None:
        """These are read."""
        await self._reads.update_one(
            {"_id": _reader(principal)},
            {
                "$push": {"ids": {"$each": sorted(set(ids)), "$slice": -MOST_MARKS}},
                "$setOnInsert": {"organization_id": principal.organization_id},
            },
            upsert=True,
        )

    async def mark_through(self, principal: Principal, through: datetime | None) -> None:
        """Everything up to ``through`` (None: now) is read."""
        moment = min(through or self._clock.now(), self._clock.now())
        await self._reads.update_one(
            {"_id": _reader(principal)},
            {"$max": {"through": moment}, "$setOnInsert": {"organization_id": principal.organization_id}},
            upsert=True,
        )

    async def _newest(
        self, principal: Principal, limit: int, before: Place | None, since: datetime
    ) -> list[dict[str, Any]]:
        scope = Scope(principal.organization_id)
        at: dict[str, Any] = {"$gt": since, **({"$lte": before[0]} if before else {})}
        most = limit + _SAME_MOMENT  # those of the mark's own moment come again and are passed over
        found = [
            *await self._single(scope, principal, at, most),
            *await self._tasks(scope, principal, at, most),
            *await self._merged(scope, principal, since),
        ]
        ordered = sorted(found, key=_place, reverse=True)
        return [each for each in ordered if before is None or _place(each) < before][:limit]

    async def _single(self, scope: Scope, principal: Principal, at: dict[str, Any], most: int) -> list[dict[str, Any]]:
        view = await self._views.collection("notifications")
        wanted = scope.filter({"merged": False, "hidden": False, "at": at, "to": {"$in": _audiences(principal)}})
        found = await view.find(wanted, sort=[("at", -1), ("_id", -1)], limit=most).to_list()
        return [_shown(each) for each in found]

    async def _merged(self, scope: Scope, principal: Principal, since: datetime) -> list[dict[str, Any]]:
        view = await self._views.collection("notifications")
        wanted = scope.filter({"merged": True, "at": {"$gt": since}, "to": {"$in": _audiences(principal)}})
        found = await view.find(wanted, sort=[("at", -1), ("_id", -1)], limit=MOST_MERGED).to_list()
        merged: dict[str, dict[str, Any]] = {}
        for each in reversed(found):  # the earliest first: its moment is that of all
            known = merged.setdefault(each["key"], {**each, "_id": each["key"], "times": 0})
            known["times"] += each["times"]
            if each["last_at"] > known["last_at"]:
                known["last_at"], known["detail"] = each["last_at"], each["detail"]
        return [
            _shown({**each, "detail": {**each["detail"], "times": each["times"], "last_at": each["last_at"]}})
            for each in merged.values()
            if each["kind"] != "sending_fails" or each["times"] >= FAULTS_FROM
        ]

    async def _tasks(self, scope: Scope, principal: Principal, at: dict[str, Any], most: int) -> list[dict[str, Any]]:
        """Open tasks that are due, one's own and nobody's; nobody's are also those of members who are gone."""
        organizations = await self._views.collection("organizations")
        organization = await organizations.find_one({"_id": principal.organization_id}, {"members": 1})
        tasks = await self._views.collection("tasks")
        now = self._clock.now()
        due = {**at, "$lte": min(now, at.get("$lte", now))}
        own = [principal.actor, str(principal.id), *([principal.email] if principal.email else [])]
        whose = [None, *own, *assignees.gone(organization)]
        wanted = scope.filter({"status": "open", "due_at": due, "assignee": {"$in": whose}})
        found = await tasks.find(wanted, sort=[("due_at", -1)], limit=most).to_list()
        return [
            {
                "id": _id(f"task-{each['_id']}", each["due_at"]),
                "at": each["due_at"],
                "kind": "task_due",
                "lead_id": each.get("lead_id"),
                "enrollment_id": each.get("enrollment_id"),
                "sequence_id": each.get("sequence_id"),
                "task_id": each["_id"],
                "detail": {"title": each.get("title"), "kind": each.get("kind")},
            }
            for each in found
        ]

    def _oldest(self) -> datetime:
        return self._clock.now() - timedelta(days=KEPT_DAYS)


def _audiences(principal: Principal) -> list[str | None]:
    groups = [name for name, permission in _GROUPS.items() if permission in principal.permissions]
    return [None, principal.actor, str(principal.id), *groups]


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    names = ("at", "kind", "lead_id", "enrollment_id", "sequence_id")
    shown = {name: document.get(name) for name in names}
    shown["detail"] = {**(document.get("detail") or {}), **(document.get("personal") or {})}
    return {"id": _id(document["_id"], document["at"]), "task_id": None, **shown}


def _id(of: str, at: datetime) -> str:
    """Of what and when: what is told again is another notification."""
    return f"{of}~{int(at.timestamp() * 1000)}"


def _place(notification: Mapping[str, Any]) -> Place:
    return notification["at"], notification["id"]


def _reader(principal: Principal) -> str:
    return f"{principal.organization_id}:{principal.actor}"
