"""Who is asking, and what they may do. Permissions are decided here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from shared.events.organization import Role


class Permission(StrEnum):
    """One word per thing that can be allowed."""

    READ = "read"
    LEADS_WRITE = "leads:write"
    LEADS_ERASE = "leads:erase"
    ENROLLMENTS_WRITE = "enrollments:write"
    SEQUENCES_WRITE = "sequences:write"
    SEQUENCES_APPROVE = "sequences:approve"
    TASKS_WRITE = "tasks:write"
    MESSAGES_RESOLVE = "messages:resolve"
    ORGANIZATION_WRITE = "organization:write"
    MEMBERS_WRITE = "members:write"
    OPERATE = "operate"


P = Permission
_COACH = frozenset({P.READ, P.LEADS_WRITE, P.ENROLLMENTS_WRITE, P.SEQUENCES_WRITE, P.TASKS_WRITE, P.MESSAGES_RESOLVE})
GRANTS: dict[Role, frozenset[Permission]] = {
    "admin": frozenset(Permission),
    "coach": _COACH,
    "operator": frozenset({P.READ, P.OPERATE, P.MESSAGES_RESOLVE}),
    "viewer": frozenset({P.READ}),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """A member or an API key of one organization. ``scopes`` narrow an API key further; empty means all that its role
    may.
    """

    organization_id: str
    kind: Literal["member", "api_key"]
    id: str
    role: Role
    name: str = ""
    email: str = ""
    scopes: frozenset[str] = frozenset()

    @property
    def actor(self) -> str:
        """As it stands in events: ``member:<id>`` or ``api_key:<id>``."""
        return f"{self.kind}:{self.id}"

    def may(self, permission: Permission) -> bool:
        if self.scopes and permission.value not in self.scopes:
            return False
        return permission in GRANTS[self.role]

    def permissions(self) -> list[str]:
        return sorted(permission.value for permission in Permission if self.may(permission))
