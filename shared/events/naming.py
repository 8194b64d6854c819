"""What steps and the inputs of reasons are called, whoever looks the names up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

from shared.events.definition import SequenceDefinition, walk
from shared.events.enrollment import SignalKind
from shared.events.step_ids import steps_of
from shared.events.why import Why

#: Something that a reason speaks of by its id.
Thing = Literal["step", "sequence", "enrollment", "task", "actor", "scope", "funnel"]
#: Words for a thing, from its kind and its id; None for what has no name. Of an ``actor`` the id reads as events name
#: them (``member:<id>``), of a ``scope`` as limits and brakes do (``sender:<id>``).
NameOf = Callable[[Thing, str], str | None]
#: Input that is an id -> of what.
_THINGS: Mapping[str, Thing] = {
    "step": "step",
    "awaited": "step",
    "sequence_id": "sequence",
    "chosen": "sequence",
    "enrollment": "enrollment",
    "task": "task",
    "draft": "task",
    "owner": "actor",
    "by": "actor",
    "blocked_on": "scope",
    "scope": "scope",
    "funnel": "funnel",
}
_SIGNALS = frozenset(get_args(SignalKind))
#: What a step is called by that has no name of its own, the first of its config that says something.
_CALLED_BY = ("subject", "title", "name")
#: Kinds that are written in another way than their words.
_KINDS: Mapping[str, str] = {"email_manual": "Manual email", "sms": "SMS", "whatsapp": "WhatsApp"}


class StepName(NamedTuple):
    """``number`` counts the version's steps from 1 in reading order, arms included. ``name`` is the step's own, else
    its subject or title, else its kind and number (``Condition 2``)."""

    number: int
    name: str

    def __str__(self) -> str:
        return f"step {self.number} “{self.name}”"


def named_steps(definition: SequenceDefinition) -> dict[str, StepName]:
    """Every step of a definition by its id."""
    steps = enumerate(walk(definition.steps), 1)
    return {step.step_id: _named(number, step.name, step.kind, vars(step.config)) for number, step in steps}


def named_raw_steps(steps: Any) -> dict[str, StepName]:
    """The same of steps as they are stored, which is a list of them with their arms inside."""
    return {
        step["step_id"]: _named(number, step.get("name"), step.get("kind") or "step", step.get("config") or {})
        for number, step in enumerate(steps_of(steps), 1)
    }


def named_inputs(why: Why, name_of: NameOf) -> dict[str, str]:
    """Words for those inputs of a reason that are ids, by the input's name. Of a condition that looked at what became
    of a step, for the whole of what it looked at."""
    found = {name: _input(why.rule, name, value, name_of) for name, value in why.inputs.items()}
    return {name: words for name, words in found.items() if words is not None}


def thing_called(what: str, name: str | None) -> str | None:
    """``the sequence “Welcome”``; None without a name."""
    return f"the {what} “{name}”" if name else None


def _input(rule: str, name: str, value: Any, name_of: NameOf) -> str | None:
    if rule == "condition":
        return _looked_at(name, name_of)
    if rule == "funnel" and name == "wanted":
        return ", ".join(name_of("funnel", each) or each for each in value)
    thing = _THINGS.get(name)
    if thing is None or not isinstance(value, str):
        return None
    return name_of(thing, f"member:{value}" if name == "owner" else value)


def _looked_at(label: str, name_of: NameOf) -> str | None:
    """``opened welcome within 2 days``, with the step's name."""
    signal, _, rest = label.partition(" ")
    step_id, _, more = rest.partition(" ")
    step = name_of("step", step_id) if signal in _SIGNALS and step_id else None
    return f"{signal} {step} {more}".rstrip() if step is not None else None


def _named(number: int, name: str | None, kind: str, config: Mapping[str, Any]) -> StepName:
    said = (config.get(each) for each in _CALLED_BY)
    called = name or next((text for text in said if isinstance(text, str) and text), None)
    return StepName(number, called or f"{_KINDS.get(kind) or kind.replace('_', ' ').capitalize()} {number}")
