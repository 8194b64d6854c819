"""Which slots of limits are known to be full, so that nobody looks at each of them again. A hint: it may forget."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable


class Runs:
    """Numbers of slots that are full, as runs [start, end) in order."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def after(self, index: int) -> int:
        """The first slot from ``index`` on that is not known to be full."""
        at = bisect_right(self._starts, index) - 1
        return self._ends[at] if at >= 0 and index < self._ends[at] else index

    def add(self, index: int) -> None:
        at = bisect_right(self._starts, index) - 1
        if at >= 0 and index < self._ends[at]:
            return
        touches_left = at >= 0 and self._ends[at] == index
        touches_right = at + 1 < len(self._starts) and self._starts[at + 1] == index + 1
        if touches_left and touches_right:
            self._ends[at] = self._ends.pop(at + 1)
            del self._starts[at + 1]
        elif touches_left:
            self._ends[at] = index + 1
        elif touches_right:
            self._starts[at + 1] = index
        else:
            self._starts.insert(at + 1, index)
            self._ends.insert(at + 1, index + 1)

    def remove(self, index: int) -> None:
        at = bisect_right(self._starts, index) - 1
        if at < 0 or index >= self._ends[at]:
            return
        start, end = self._starts[at], self._ends[at]
        left = [(start, index)] if start < index else []
        right = [(index + 1, end)] if index + 1 < end else []
        kept = left + right
        self._starts[at : at + 1] = [run[0] for run in kept]
        self._ends[at : at + 1] = [run[1] for run in kept]

    def copy(self) -> Runs:
        copied = Runs()
        copied._starts, copied._ends = self._starts.copy(), self._ends.copy()
        return copied


class FullSlots:
    """Runs by organization, scope and unit, and in these by what was asked."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str, str], dict[Hashable, Runs]] = {}

    def of(self, organization_id: str, scope: str, unit: str, asked: Hashable) -> Runs:
        runs = self._runs.setdefault((organization_id, scope, unit), {})
        found = runs.get(asked)
        if found is None:
            found = runs[asked] = Runs()
        return found

    def free(self, organization_id: str, scope: str, unit: str, index: int) -> None:
        """A place was given back here."""
        for runs in self._runs.get((organization_id, scope, unit), {}).values():
            runs.remove(index)

    def copy(self) -> FullSlots:
        """The same, of its own: neither learns what the other does."""
        copied = FullSlots()
        copied._runs = {
            key: {asked: runs.copy() for asked, runs in of_key.items()} for key, of_key in self._runs.items()
        }
        return copied

    def clear(self) -> None:
        """Forgets everything."""
        self._runs.clear()
