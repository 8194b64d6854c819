"""Who asks, and what they may do: the one place that knows roles, permissions and organizations.

Every route asks for a permission through ``services.gateway.context``, every query goes through ``Scope.filter``, and
every room through
``room_for``; nothing else compares organizations.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from services.gateway.errors import Forbidden
from shared.events.organization import Role
from shared.messaging import push

READ = frozenset(
    {
        "sequences:read",
        "enrollments:read",
        "leads:read",
        "tasks:read",
        "messages:read",
        "metrics:read",
        "mailbox:read",
        "organization:read",
        "notifications:read",
    }
)
_WORK = READ | {
    "sequences:write",
    "enrollments:write",
    "leads:write",
    "tasks:write",
    "messages:resolve",
    "operations:read",
}
_LEAD = _WORK | {"sequences:approve", "suppressions:write", "leads:export"}
_ALL = _LEAD | {
    "members:read",
    "members:write",
    "api_keys:read",
    "api_keys:write",
    "organization:write",
    "leads:erase",
    "operations:write",
    "audit:read",
}

PERMISSIONS: Mapping[Role, frozenset[str]] = {
    "viewer": READ,
    "operator": frozenset(_WORK),
    "coach": frozenset(_LEAD),
    "admin": frozenset(_ALL),
}
EVERY_PERMISSION = PERMISSIONS["admin"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is signed in. ``kind`` ``member`` or ``api_key``; ``scopes`` narrow an API key further (empty: all its role
    may). ``epoch`` is the log's position at which the member was last changed, 0 never: a sign-in from before that has
    ended."""

    kind: Literal["member", "api_key"]
    id: UUID
    organization_id: str
    role: Role
    name: str
    email: str = ""
    scopes: frozenset[str] = field(default_factory=frozenset)
    epoch: int = 0

    @property
    def actor(self) -> str:
        """As it stands in events."""
        return f"{self.kind}:{self.id}"

    @property
    def permissions(self) -> frozenset[str]:
        """What they may do."""
        granted = PERMISSIONS[self.role]
        return granted & self.scopes if self.scopes else granted

    def require(self, permission: str) -> None:
        """Raises Forbidden."""
        if permission not in self.permissions:
            raise Forbidden(permission)

    def require_all_of(self, role: Role, scopes: Collection[str] = ()) -> None:
        """Nobody gives away more than they have. Raises Forbidden, naming what is missing."""
        given = PERMISSIONS[role] & frozenset(scopes) if scopes else PERMISSIONS[role]
        missing = sorted(given - self.permissions)
        if missing:
            raise Forbidden(missing[0])


@dataclass(frozen=True, slots=True)
class Scope:
    """All queries of a request pass here, so that none can reach another organization."""

    organization_id: str

    def filter(self, *conditions: Mapping[str, Any]) -> dict[str, Any]:
        """The conditions, within the organization."""
        given = [dict(condition) for condition in conditions if condition]
        return {"organization_id": self.organization_id, **({"$and": given} if given else {})}


#: Rooms of many partitions, and rooms of one thing each.
WIDE_ROOMS = ("organization", "tasks", "operations")
ROOM_KINDS = (*WIDE_ROOMS, "sequence", "enrollment", "lead")


@dataclass(frozen=True, slots=True)
class Room:
    """``subject`` is the lead's, enrollment's or sequence's id; None for a room of many partitions."""

    name: str
    permission: str
    kind: str
    subject: str | None = None


def room_for(organization_id: str, asked: Any) -> Room | None:  # noqa: PLR0911
    """The room meant by ``organization``, ``sequence:<id>``, …, always within the organization; None when there is no
    such kind."""
    if not isinstance(asked, str):
        return None
    kind, _, subject = asked.partition(":")
    if kind in WIDE_ROOMS:
        if subject:
            return None
    else:
        try:
            subject = str(UUID(subject))
        except ValueError:
            return None
    match kind:
        case "organization":
            return Room(push.organization_room(organization_id), "metrics:read", kind)
        case "tasks":
            return Room(push.tasks_room(organization_id), "tasks:read", kind)
        case "operations":
            return Room(push.operations_room(organization_id), "operations:read", kind)
        case "sequence":
            return Room(push.sequence_room(organization_id, subject), "sequences:read", kind, subject)
        case "enrollment":
            return Room(push.enrollment_room(organization_id, subject), "enrollments:read", kind, subject)
        case "lead":
            return Room(push.lead_room(organization_id, subject), "leads:read", kind, subject)
        case _:
            return None
