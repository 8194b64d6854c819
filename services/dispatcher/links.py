"""Addresses that lead back to the tracker: pixel, clicks, unsubscribe, replies, bounces, and the Message-ID."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from services.dispatcher.states import Step
from shared.tokens import LinkClaims, Tokens


@dataclass(frozen=True, slots=True)
class Addresses:
    """Who a message is from and where its answers go."""

    message_id: str
    reply_to: str
    envelope_sender: str


class StepLinks:
    """The links of one step. ``base`` has no slash at its end."""

    def __init__(self, tokens: Tokens, base: str, step: Step, lead_id: UUID) -> None:
        self._tokens = tokens
        self._base = base
        self._step = step
        self._lead_id = lead_id
        self.unsubscribe = f"{base}/t/u/{self._token('unsubscribe')}"

    @property
    def pixel(self) -> str:
        """The open pixel."""
        return f"{self._base}/t/o/{self._token('open')}.gif"

    def click(self, target: str) -> str:
        """The redirect to a target; the target itself when no token can hold it."""
        if target.startswith(f"{self._base}/t/"):
            return target
        try:
            return f"{self._base}/t/c/{self._token('click', target)}"
        except ValueError:
            return target

    def _token(self, kind: Literal["open", "click", "unsubscribe"], target: str | None = None) -> str:
        step = self._step
        claims = LinkClaims(
            organization_id=step.organization_id,
            lead_id=self._lead_id,
            enrollment_id=step.enrollment_id,
            execution=step.execution,
            channel=step.channel,
            kind=kind,
            target=target,
            sequence_id=step.sequence_id,
        )
        return self._tokens.link_token(claims)


def addresses_of(tokens: Tokens, domain: str, step: Step) -> Addresses:
    """The mail addresses of a step: the same for each of its attempts."""
    token = tokens.address_token(step.enrollment_id, step.execution)
    return Addresses(
        message_id=f"<{step.dispatch_id.hex}.{token}@{domain}>",
        reply_to=f"reply+{token}@{domain}",
        envelope_sender=f"bounce+{token}@{domain}",
    )
