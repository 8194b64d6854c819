"""An organization that an option names wrongly is told, not answered with nothing."""

from __future__ import annotations

from typing import Any, cast

import pytest

from shared.events.query import Answer, QueryOrganization
from tendril.cli.links import Broker
from tendril.cli.organizations import NoSuchOrganization, must_be_founded


class Link:
    """Knows ``acme``."""

    async def ask(self, question: Any) -> Answer:
        assert isinstance(question, QueryOrganization)
        return Answer(ok=True, result={"found": question.organization_id == "acme", "members": 1})


async def test_only_what_was_founded_is_well() -> None:
    link = cast("Broker", Link())
    await must_be_founded(link, "acme", "nothing was erased")
    await must_be_founded(link, None, "nothing was erased")
    with pytest.raises(NoSuchOrganization, match="there is no organization 'typo': nothing was erased"):
        await must_be_founded(link, "typo", "nothing was erased")
