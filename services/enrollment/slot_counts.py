"""Places taken and reserved in limits, as one batch sees them: read once, ahead where slots are asked for in a row, and
on top of that what the batch has decided."""

from __future__ import annotations

from services.enrollment.domain.full_slots import FullSlots
from services.enrollment.domain.quotas import bare, parsed
from shared.persistence.eventstore import Effects, EventStore

#: Rows read at once when the slots of one kind are asked for one after the other.
READ_AHEAD = 512

Key = tuple[str, str, str]
#: Beyond every name of a slot.
_END = "\x7f"


class SlotCounts:
    """Used by the writer thread alone."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._counts: dict[Key, int] = {}
        self._known: dict[Key, tuple[str, str]] = {}  #: (organization, scope, kind of row) -> names read, first to last
        self._asked: set[Key] = set()

    def get(self, key: Key) -> int:
        """Places in a slot (organization, scope, slot)."""
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = self._read(*key)
        return count

    def _read(self, organization_id: str, scope: str, slot: str) -> int:
        kind = (organization_id, scope, slot[:-16] if "minute:" in slot else slot[:-10])
        first, last = self._known.get(kind, (_END, ""))
        if first <= slot <= last:
            return 0  # within what was read there is no such row
        if kind not in self._asked:
            self._asked.add(kind)
            return self._store.quota_used(organization_id, [(scope, slot)])[scope, slot]
        rows = self._store.quota_range(organization_id, scope, slot, READ_AHEAD)
        for name, used in rows:
            self._counts.setdefault((organization_id, scope, name), used)
        self._known[kind] = (slot, rows[-1][0] if len(rows) == READ_AHEAD else _END)
        return self._counts.get((organization_id, scope, slot), 0)

    def foresee(self, effects: Effects, full: FullSlots) -> None:
        """Counts what a decision takes and gives back. Slots in which a place is free again are no longer known to be
        full; one that is taken instead of reserved frees nothing."""
        taken = set()
        for take in effects.quotas:
            key = (take.organization_id, take.scope, take.slot)
            self._counts[key] = self.get(key) + 1
            taken.add((take.organization_id, take.scope, bare(take.slot)))
        for organization_id, scope, slot in effects.quotas_given_back:
            key = (organization_id, scope, slot)
            self._counts[key] = max(0, self.get(key) - 1)
            if "/" not in scope and (organization_id, scope, bare(slot)) not in taken:
                full.free(organization_id, scope, *parsed(slot))
