"""Who is in equal situations: leads that nothing still to be decided can tell apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

from services.enrollment.domain import frozen
from services.enrollment.domain.enrollment import Enrollment, Execution
from services.enrollment.domain.lead import FIELDS, Lead
from services.enrollment.simulation.world import SimulatedWorld
from shared.events.definition import SequenceDefinition

#: Texts that leads read: what they name is for filling in and decides nothing.
_CONTENT = frozenset(
    {"subject", "html", "text", "preheader", "title", "notes", "body", "name", "description", "script"}
)
#: What names a channel names no field of a lead.
_CHANNELS = frozenset({"kind", "channel", "consent"})
_WORD = re.compile(r"[A-Za-z0-9_]+")
#: Stands for whoever it is.
_ANYBODY = UUID(int=0)


def mentioned(definition: SequenceDefinition) -> frozenset[str]:
    """Every word of a definition but those in texts for leads: no other field of a lead can decide anything."""
    return frozenset(_words(definition.model_dump(mode="json", exclude_defaults=True)))


def _words(value: Any) -> Iterable[str]:
    match value:
        case str():
            yield from _WORD.findall(value)
            yield value
        case dict():
            for key, each in value.items():
                if key not in _CONTENT:
                    yield key
                if key not in _CONTENT | _CHANNELS:
                    yield from _words(each)
        case list():
            for each in value:
                yield from _words(each)


def situation(lead: Lead, words: frozenset[str], world: SimulatedWorld) -> Lead:
    """The lead without what this definition cannot read. An address that must not be sent to stays as it is."""
    blank: dict[str, Any] = {name: None for name in FIELDS if name not in words and name != "timezone"}
    for channel, name, stand_in in (("email", "email", "lead@example.com"), ("sms", "phone", "+15550000000")):
        address = getattr(lead, name)
        if address and world.suppression(lead.organization_id, channel, address) is None:
            blank[name] = stand_in if name not in words else address
        else:
            blank[name] = address
    if "score" not in words:
        blank["score"] = 0
    return replace(
        lead,
        **blank,
        tags=frozenset(tag for tag in lead.tags if tag in words),
        custom_fields={name: value for name, value in sorted(lead.custom_fields.items()) if name in words},
        consent=dict(sorted(lead.consent.items())),
        stamps={},
        funnels=frozenset(),
        unmatched=None,
        judged=False,
    )


def tests_of_engagement(definition: SequenceDefinition) -> list[dict[str, Any]]:
    """What its conditions ask of what came back: ``signal``, and ``step`` and ``link`` where they say which."""
    return list(_engagement_tests(definition.model_dump(mode="json", exclude_defaults=True)))


class Likeness:
    """What the rest of a sequence can tell leads apart by, once they are inside.

    A signal counts only where a condition asks for it, a score only where something names it. ``blind`` is False where
    more is read than these, the single links that were clicked or the hours somebody reads at: then nobody is alike.
    """

    def __init__(self, definition: SequenceDefinition) -> None:
        tests = tests_of_engagement(definition)
        self.blind = definition.settings.send_time != "optimised" and not any(test.get("link") for test in tests)
        self._asked = {(test["signal"], test.get("step")) for test in tests}
        self._score_counts = "score" in mentioned(definition)

    def of(self, lead: Lead, state: Enrollment) -> tuple[Lead, Enrollment] | None:
        """The same, of anybody in this situation; None for one that is like nobody."""
        [*memberships] = lead.enrollments.values()
        if not self.blind or state.in_flight is not None or len(memberships) != 1:
            return None
        anybody = frozen.replace(
            lead,
            id=_ANYBODY,
            enrollments={_ANYBODY: memberships[0]},
            score=lead.score if self._score_counts else 0,
        )
        executions = {number: self._heard(each) for number, each in state.executions.items()}
        return anybody, frozen.replace(state, id=_ANYBODY, lead_id=_ANYBODY, thread=(), executions=executions)

    def _heard(self, execution: Execution) -> Execution:
        """An execution with those of its signals that a condition asks for."""
        signals = {
            signal: at
            for signal, at in execution.signals.items()
            if (signal, execution.step_id) in self._asked or (signal, None) in self._asked
        }
        return execution._replace(dispatch_id=_ANYBODY, signals=signals)


def _engagement_tests(value: Any) -> Iterator[dict[str, Any]]:
    match value:
        case {"engagement": dict() as test}:
            yield test
        case dict():
            for each in value.values():
                yield from _engagement_tests(each)
        case list():
            for each in value:
                yield from _engagement_tests(each)
