"""A published version, compiled: every step by its id, each knowing its successor; arms join again after their
condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.enrollment.domain.conditions import Test, compile_condition
from services.enrollment.domain.windows import Hours, channel_hours_of, hours_of
from shared.events.definition import ConditionConfig, SequenceDefinition, SequenceSettings, Step, content_digest
from shared.events.kinds import MailContent, SmsConfig, StepKind, WebhookConfig, WhatsappConfig

#: Kinds that a person carries out.
PERSON_KINDS = frozenset({StepKind.TASK, StepKind.CALL, StepKind.REMINDER, StepKind.SOCIAL})


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant in its place: ``content`` is the digest of what it says, ``step`` the step as it is with it."""

    variant_id: str
    weight: int
    content: str
    step: Step


@dataclass(frozen=True, slots=True)
class Node:
    """A step in its place. ``next`` is the step after it, and after its arms (None = the end); ``then`` and
    ``orelse`` begin a condition's arms.

    ``channel`` is None for a step that sends nothing. ``sender`` is the name the step asks for, None for the
    organization's own choice. ``entry`` are the step's own conditions, ``when`` those of a branch, both compiled.
    ``reaches_lead``: it is a message to the lead, and no call of another system. ``drafted``: a person approves it
    first.
    """

    step: Step
    index: int
    next: str | None
    then: str | None
    orelse: str | None
    channel: str | None
    sender: str | None
    entry: Test | None
    when: Test | None
    reaches_lead: bool = False
    drafted: bool = False
    arms: tuple[Arm, ...] = ()

    @property
    def is_message(self) -> bool:
        return self.channel is not None


@dataclass(frozen=True, slots=True)
class Version:
    """What an enrollment is pinned to. Immutable; shared by all who are in it."""

    sequence_id: UUID
    version: int
    definition: SequenceDefinition
    settings: SequenceSettings
    first: str | None
    nodes: dict[str, Node]
    steps: dict[str, Step]
    hours: Hours | None
    channel_hours: dict[str, Hours]  #: besides, for messages on one channel
    trigger: Test | None  #: the trigger's own conditions

    def step_with(self, step_id: str, variant_id: str | None) -> Step | None:
        """A step as those have it who got this variant; as it stands when it has no such variant."""
        node = self.nodes.get(step_id)
        if node is None:
            return None
        return next((arm.step for arm in node.arms if arm.variant_id == variant_id), node.step)

    def after(self, step_id: str | None, arm: str | None = None) -> Node | None:
        """The step that follows ``step_id`` (by ``arm`` when it is a condition); the first step for None; None at the
        end.
        """
        if step_id is None:
            return self.nodes.get(self.first) if self.first is not None else None
        node = self.nodes.get(step_id)
        if node is None:
            return None
        follower = node.next
        if arm == "then" and node.then is not None:
            follower = node.then
        elif arm == "else" and node.orelse is not None:
            follower = node.orelse
        return self.nodes.get(follower) if follower is not None else None


def compile_version(sequence_id: UUID, version: int, definition: SequenceDefinition) -> Version:
    """Never refuses: what was published once stays readable. Of two steps with one id the first counts."""
    nodes: dict[str, Node] = {}
    _place(definition.steps, None, nodes)
    return Version(
        sequence_id=sequence_id,
        version=version,
        definition=definition,
        settings=definition.settings,
        first=definition.steps[0].step_id if definition.steps else None,
        nodes=nodes,
        steps={step_id: node.step for step_id, node in nodes.items()},
        hours=hours_of(definition.settings),
        channel_hours=channel_hours_of(definition.settings),
        trigger=compile_condition(conditions) if (conditions := definition.trigger.conditions) is not None else None,
    )


def _place(steps: Sequence[Step], joins: str | None, nodes: dict[str, Node]) -> None:
    for index, step in enumerate(steps):
        follower = steps[index + 1].step_id if index + 1 < len(steps) else joins
        if step.step_id in nodes:
            continue
        channel, sender = _carried_by(step)
        nodes[step.step_id] = Node(
            step=step,
            index=len(nodes),
            next=follower,
            then=step.then[0].step_id if step.then else None,
            orelse=step.else_[0].step_id if step.else_ else None,
            channel=channel,
            sender=sender,
            entry=compile_condition(step.conditions) if step.conditions is not None else None,
            when=compile_condition(step.config.when) if isinstance(step.config, ConditionConfig) else None,
            reaches_lead=channel is not None and step.kind is not StepKind.WEBHOOK,
            drafted=step.kind is StepKind.EMAIL_MANUAL,
            arms=_arms(step),
        )
        _place(step.then, follower, nodes)
        _place(step.else_, follower, nodes)


def _carried_by(step: Step) -> tuple[str | None, str | None]:
    """Channel and sender that a step asks for."""
    match step.config:
        case MailContent() | SmsConfig() | WhatsappConfig():
            return step.config.channel, step.config.sender
        case WebhookConfig():
            return step.config.channel, None
    return None, None


def _arms(step: Step) -> tuple[Arm, ...]:
    contents = [(variant, step.with_variant(variant)) for variant in step.variants]
    return tuple(Arm(variant.variant_id, variant.weight, content_digest(said), said) for variant, said in contents)


def first_message(version: Version) -> Node | None:
    """The first message to the lead on the way without branching: of a condition neither arm is looked into."""
    node = version.after(None)
    for _ in range(len(version.nodes)):
        if node is None or (node.reaches_lead and node.step.active):
            return node
        node = version.after(node.step.step_id)
    return None
