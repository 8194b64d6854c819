"""Dressing: a StepDue with all that is needed to send it, read at the moment of relaying.

The log holds no copies of personal data, and dispatchers depend on no view, because content, the lead's fields,
sender and thread are put on here. A step that cannot be dressed is reported failed by ``Undressable``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from services.enrollment.domain.enrollment import Execution
from services.enrollment.domain.flow import Version
from services.enrollment.domain.identities import normalise_address
from services.enrollment.domain.lead import Lead, contact_channel
from services.enrollment.domain.organization import Organization
from services.enrollment.domain.snippets import expanded
from services.enrollment.domain.task import Content
from services.enrollment.domain.work import organization_aggregate
from services.enrollment.states import States
from services.enrollment.step_content import SENT, said
from services.enrollment.texts import lead_values
from shared.events.dispatch import DressedStep
from shared.events.enrollment import StepDue, WatchdogRang
from shared.events.kinds import MailContent, WebhookConfig
from shared.events.message import Value
from shared.identity import domain_of
from shared.persistence.eventstore import EventStore

#: Topics that send a step to the dispatchers.
DRESSED_TOPICS = frozenset({StepDue.TOPIC, WatchdogRang.TOPIC})

#: Of what is sent under nobody's name.
NO_SENDER = {"sender_id": "", "name": "", "email": ""}


class Undressable(Exception):
    """The step cannot be sent as it is; ``reason`` says why in a few words."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class CompiledVersions(Protocol):
    """Where versions come from."""

    def get(self, sequence_id: UUID, version: int) -> Version | None: ...


class Where(NamedTuple):
    """Where a step goes. ``contact`` is the channel whose stops hold for the address, None for what is no lead's."""

    address: str
    contact: str | None
    normal: str
    domain: str


class Dresser:
    """Builds ``DressedStep`` CloudEvents. Called from one thread at a time."""

    def __init__(self, store: EventStore, states: States, versions: CompiledVersions) -> None:
        self._store = store
        self._states = states
        self._versions = versions

    def prepare(self, events: Sequence[dict[str, Any]]) -> None:
        """Reads the leads and enrollments of a page in one go, fresh where other processes write too."""
        ids = {UUID(event[name]) for event in events for name in ("subject", "leadid")}
        self._states.refresh(list(ids))
        self._states.prefetch(ids)

    def dress(self, event: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Channel and dressed step (a CloudEvent) for a stored StepDue or WatchdogRang. Raises Undressable."""
        due = event["data"]
        organization_id = event["organizationid"]
        lead = self._states.get(UUID(event["leadid"])).state
        enrollment = self._states.get(UUID(event["subject"])).state
        organization = self._states.get(organization_aggregate(organization_id)).state
        version = self._versions.get(UUID(due["sequence_id"]), due["version"])
        if lead is None or enrollment is None or organization is None or version is None:
            raise Undressable("what the step belongs to is not in the log")
        if lead.erased:
            raise Undressable("the lead was erased")
        execution = enrollment.executions.get(due["execution"])
        step = version.step_with(due["step_id"], execution.variant if execution is not None else None)
        if step is None or not isinstance(step.config, SENT):
            raise Undressable("the version has no such message step")
        config = step.config
        content = said(config, self._draft(execution), execution.starts_at if execution is not None else None)
        content["content"] = {
            name: expanded(text, organization.snippets, html=name == "html") if text else text
            for name, text in content["content"].items()
        }
        where = self._where(lead, due["channel"], config)
        sender = organization.sender_for(getattr(config, "sender", None))
        if sender is None and due["channel"] == "email":
            raise Undressable("no active sender")
        repeated = event["type"] == WatchdogRang.TOPIC
        data: dict[str, Any] = {
            "enrollment_id": event["subject"],
            "sequence_id": due["sequence_id"],
            "version": due["version"],
            "execution": due["execution"],
            "attempt": due["attempt"],
            "step_id": due["step_id"],
            "kind": step.kind.value,
            "channel": due["channel"],
            "dispatch_id": due["dispatch_id"],
            "due_at": due["due_at"],
            "valid_until": due["valid_until"],
            "address": where.address,
            "address_hash": self._hash(organization_id, where.contact, where.normal),
            "domain_hash": self._hash(organization_id, where.contact, where.domain),
            **content,
            "lead": lead_values(lead),
            "sender": {"sender_id": sender.sender_id, "name": sender.name, "email": sender.email}
            if sender is not None
            else NO_SENDER,
            "postal_address": organization.postal_address,
            "track_opens": lead.consent.get("open_tracking", True),
            "thread": list(enrollment.thread) if getattr(config, "thread", False) else [],
            "reminder": repeated,
        }
        if isinstance(config, MailContent) and config.attachments:
            data["attachments"] = _attached(config, organization)
        round_mark = f":r{due['round']}" if repeated else ""
        return due["channel"], {
            "specversion": "1.0",
            "id": f"{due['dispatch_id']}:{due['attempt']}{round_mark}",
            "type": DressedStep.TOPIC,
            "source": "tendril/enrollment",
            "time": event["time"],
            "datacontenttype": "application/json",
            "subject": event["subject"],
            "organizationid": organization_id,
            "leadid": event["leadid"],
            "partition": event["partition"],
            "position": event["position"],
            "causationid": event["id"],
            **({"traceparent": event["traceparent"]} if event.get("traceparent") else {}),
            "data": data,
        }

    def _draft(self, execution: Execution | None) -> Content | None:
        """What a person approved for this execution. Raises Undressable when it is gone."""
        if execution is None or execution.draft_id is None:
            return None
        self._states.refresh([execution.draft_id])
        task = self._states.get(execution.draft_id).state
        if task is None or task.content is None:
            raise Undressable("the approved draft is gone")
        content: Content = task.content
        return content

    @staticmethod
    def _where(lead: Lead, channel: str, config: Value) -> Where:
        """Raises Undressable when the lead has no address on the channel."""
        if isinstance(config, WebhookConfig):
            return Where(config.url, None, config.url, "")
        address, contact = lead.address(channel), contact_channel(channel)
        if not address:
            raise Undressable(f"the lead has no {'phone number' if contact != 'email' else 'e-mail address'}")
        normal = normalise_address(contact, address)
        return Where(address, contact, normal, domain_of(normal) if contact == "email" else "")

    def _hash(self, organization_id: str, contact: str | None, text: str) -> str:
        return self._store.hash_address(organization_id, contact, text) if contact is not None and text else ""


def _attached(config: MailContent, organization: Organization) -> list[dict[str, Any]]:
    """What the mail carries; removed files too, which versions published before go on with. Raises Undressable."""
    unknown = next((each for each in config.attachments if each not in organization.attachments), None)
    if unknown is not None:
        raise Undressable(f"the attachment {unknown} is not in the log")
    return [organization.attachments[each].file.model_dump() for each in config.attachments]
