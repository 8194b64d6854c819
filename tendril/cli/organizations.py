"""The organization that an option names: one that is not there is told at once, not answered with nothing."""

from __future__ import annotations

from shared.events.query import QueryOrganization
from shared.persistence.views import ViewReader
from tendril.cli.links import Broker


class NoSuchOrganization(Exception):
    """Nobody founded it. One line."""

    def __init__(self, organization: str, consequence: str) -> None:
        super().__init__(f"there is no organization {organization!r}: {consequence}")


async def must_be_founded(link: Broker, organization: str | None, consequence: str) -> None:
    """As the log knows it. None names none and is well. Raises NoSuchOrganization, and what asking raises."""
    if organization is None:
        return
    known = await link.ask(QueryOrganization(organization_id=organization))
    if not known.result["found"]:
        raise NoSuchOrganization(organization, consequence)


async def must_be_shown(views: ViewReader, organization: str | None, consequence: str) -> None:
    """As the views know it, for commands that read nothing else. None names none and is well. Raises
    NoSuchOrganization, and the driver's error."""
    if organization is None:
        return
    organizations = await views.collection("organizations")
    if await organizations.find_one({"_id": organization}, {"_id": 1}) is None:
        raise NoSuchOrganization(organization, consequence)
