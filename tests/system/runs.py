"""A run: some hundred leads through a sequence of their own on a stack that other runs share, and what must be true
at its end."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.support.waiting import eventually
from tests.system.checking import nothing_is_stuck
from tests.system.sequences import email, sequence
from tests.system.sink import Mail
from tests.system.stack import Stack


@dataclass
class Run:
    """Leads ``<tag>-<n>@example.com`` through ``steps`` e-mails without waits."""

    stack: Stack
    tag: str
    leads: int
    steps: int
    sequence_id: str
    begun_at: int  #: mails the sink had before

    @classmethod
    async def begin(
        cls, stack: Stack, leads: int, steps: int | list[dict[str, Any]] = 3, *, times: int = 1, **settings: Any
    ) -> Run:
        """Publishes the leads, each ``times`` times under ids of its own; returns when the broker has them all.

        ``steps`` is a number of e-mails without waits, or the steps themselves.
        """
        tag = secrets.token_hex(4)
        chosen = [email(f"m{number}") for number in range(steps)] if isinstance(steps, int) else steps
        definition = sequence(f"Run {tag}", chosen, **settings)
        definition["trigger"]["funnels"] = [tag]
        answer = await stack.api("POST", "sequences?activate=true", json=definition)
        mails = sum(step["kind"] == "email" for step in chosen)
        run = cls(stack, tag, leads, mails, answer["sequence_id"], len(stack.sink.mails))
        wanted = [(number, time) for number in range(leads) for time in range(times)]
        await stack.publish_leads(
            [run.lead(number) for number, _ in wanted],
            message_ids=[f"{tag}-{number}-{time}" for number, time in wanted],
        )
        return run

    def lead(self, number: int) -> dict[str, Any]:
        return {
            "organization_id": "demo",
            "funnel_id": self.tag,
            "lead": {"email": self.address(number), "first_name": f"Ada{number}"},
        }

    @property
    def mails(self) -> list[Mail]:
        return [mail for mail in self.stack.sink.mails[self.begun_at :] if mail.to.startswith(self.tag)]

    def address(self, number: int) -> str:
        return f"{self.tag}-{number}@example.com"

    def to(self, number: int) -> list[Mail]:
        """The mails of a lead, in the order of their arrival."""
        return self.stack.sink.to(self.address(number))

    def subjects(self, number: int) -> list[str]:
        """Which steps' mails a lead got: the first word of each subject."""
        return [mail.subject.partition(" ")[0] for mail in self.to(number)]

    async def by_number(self) -> dict[int, dict[str, Any]]:
        """The enrollment of each lead, once all are there."""

        async def all_there() -> dict[int, dict[str, Any]] | None:
            leads = await self.stack.items("leads", q=self.tag)
            numbers = {
                each["lead_id"]: int(each["email"].partition("@")[0].rpartition("-")[2])
                for each in leads
                if each["email"].startswith(self.tag)
            }
            found = await self.enrollments()
            if len(found) < self.leads or any(each["lead_id"] not in numbers for each in found):
                return None
            return {numbers[each["lead_id"]]: each for each in found}

        found: dict[int, dict[str, Any]] | None = await eventually(
            all_there, timeout_seconds=60, message="not every lead is enrolled"
        )
        assert found is not None
        return found

    async def sent(self, count: int, seconds: float = 120) -> None:
        """Waits until the sink has ``count`` mails of this run."""
        await eventually(
            lambda: len(self.mails) >= count, timeout_seconds=seconds, message=f"{count} mails did not come"
        )

    async def enrollments(self, **filters: Any) -> list[dict[str, Any]]:
        return await self.stack.items("enrollments", sequence_id=self.sequence_id, **filters)

    async def settled(self, *allowed: str, seconds: float = 240) -> Counter[str]:
        """The enrollments by status, once all are there and each is in one of ``allowed``."""
        seen: Counter[str] = Counter()

        async def done() -> bool:
            stats = await self.stack.api("GET", f"sequences/{self.sequence_id}/stats")
            if sum(stats.get(name, 0) for name in ("completed", "exited")) < self.leads and allowed == ("completed",):
                return False
            seen.clear()
            seen.update(each["status"] for each in await self.enrollments())
            return sum(seen.values()) >= self.leads and set(seen) <= set(allowed)

        try:
            await eventually(done, timeout_seconds=seconds, every_seconds=0.25)
        except AssertionError as error:
            raise AssertionError(f"not every one of {self.leads} enrollments ended: {dict(seen)}") from error
        return seen

    async def in_doubt(self) -> list[dict[str, Any]]:
        found = await self.stack.items("messages/in-doubt")
        return [each for each in found if each["sequence_id"] == self.sequence_id]

    async def ends_as_calm(self, *, in_doubt_at_most: int = 0, seconds: float = 240) -> None:
        """The end of a calm run: all completed, each step at most once at the sink and missing only where it is in
        doubt, none stuck."""
        assert await self.settled("completed", seconds=seconds) == {"completed": self.leads}
        doubtful = await self.in_doubt()
        counted = Counter((mail.to, mail.subject) for mail in self.mails)
        assert {key: count for key, count in counted.items() if count > 1} == {}
        assert len(doubtful) <= in_doubt_at_most, f"{len(doubtful)} in doubt"
        wanted = self.leads * self.steps
        assert wanted - len(doubtful) <= len(counted) <= wanted
        await nothing_is_stuck(self.stack)
