"""A scenario file: a lead, a sequence, what the lead does, and every event that comes of it.

Whoever runs it, on whatever world, must end with the same list of events once that is **normalised**:

- ids become ``#1``, ``#2``, … in the order in which they first appear, in texts such as ``task:<id>`` too;
- positions are left out: a list has its order;
- moments become ``<moment>`` and are kept in a list beside the event. They are compared one by one and may differ by
  less than ``SLACK``: what is live takes its time, and every wait of a story is longer;
- what only the outside world has to tell is left out (``OUTSIDE``): a provider's words, the client of a signal, and who
  carried an order out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import yaml

from services.enrollment.simulation.outside import Played
from shared.events.definition import SequenceDefinition
from shared.events.message import Event

FOLDER = Path(__file__).parent
FILES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
#: Waits of a story are longer than this, and no machine takes so long for what has no wait.
SLACK = timedelta(minutes=45)
OUTSIDE = frozenset({"message_id", "answer", "client", "source", "machine", "machine_reason", "by", "detail"})
#: How a lead came into a sequence: told by the trigger, by hand, by a simulation.
ENTERING = frozenset({"by", "why"})
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Story:
    """``events`` reads like ``enrollment.step_sent welcome``."""

    start: datetime
    lead: dict[str, Any]
    sequence: dict[str, Any]
    signals: list[Played]
    events: list[str]

    @property
    def definition(self) -> SequenceDefinition:
        return SequenceDefinition.model_validate(self.sequence)


def load(name: str) -> Story:
    """A file of this folder."""
    told = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    signals = [
        Played(each["signal"], timedelta(**each["after"]), each.get("step"), each.get("link"))
        for each in told["signals"]
    ]
    return Story(told["start"].astimezone(UTC), told["lead"], told["sequence"], signals, told["events"])


class Recorded(NamedTuple):
    """An event of an aggregate, and when it was recorded."""

    aggregate_id: UUID
    at: datetime
    event: Event


class Told(NamedTuple):
    """An event without what differs by chance, and its moments in order."""

    topic: str
    data: dict[str, Any]
    moments: list[datetime]

    @property
    def line(self) -> str:
        words = (self.data.get(name) for name in ("step_id", "signal", "arm", "reason"))
        return " ".join([self.topic.removesuffix(".v1"), *(str(word) for word in words if word is not None)])


class Normal:
    """Values without what differs by chance; what it is given together keeps its ids apart."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def of(self, value: Any, moments: list[datetime]) -> Any:
        """The value; its moments are added to ``moments``."""
        match value:
            case dict():
                return {self._named(key): self.of(each, moments) for key, each in value.items() if key not in OUTSIDE}
            case list():
                return [self.of(each, moments) for each in value]
            case str():
                moments += [datetime.fromisoformat(found[0]) for found in _MOMENT.finditer(value)]
                return self._named(_MOMENT.sub("<moment>", value))
        return value

    def _named(self, text: str) -> str:
        return _ID.sub(lambda found: self._ids.setdefault(found[0], f"#{len(self._ids) + 1}"), text)


def normalised(events: Iterable[Recorded]) -> list[Told]:
    """A recording without what differs by chance."""
    normal, told = Normal(), []
    for aggregate_id, at, event in events:
        moments = [at]
        data = normal.of({"aggregate": str(aggregate_id), **event.model_dump(mode="json")}, moments)
        told.append(Told(event.TOPIC, data, moments))
    return told


def of_the_enrollment(events: Iterable[Recorded]) -> list[Told]:
    """The enrollment's own events, without how the lead came to enter."""
    own = [each for each in events if each[2].TOPIC.startswith("enrollment.")]
    told = normalised(own)
    first = told[0]
    assert first.topic == "enrollment.started.v1"
    return [first._replace(data={k: v for k, v in first.data.items() if k not in ENTERING}), *told[1:]]


def assert_same(found: list[Told], wanted: list[Told]) -> None:
    """The same events; each moment within ``SLACK``."""
    assert [each.line for each in found] == [each.line for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.data == other.data, one.topic
        assert_close(one.moments, other.moments, one.line)


def assert_close(found: list[datetime], wanted: list[datetime], what: object) -> None:
    """Moments one by one, within ``SLACK``."""
    for mine, theirs in zip(found, wanted, strict=True):
        assert abs(mine - theirs) < SLACK, (what, mine, theirs)
