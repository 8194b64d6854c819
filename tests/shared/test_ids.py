"""Ids sort by time when new, and are the same for ever when derived."""

from __future__ import annotations

import time
from collections import Counter
from uuid import RFC_4122, UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ids import derived_id, dispatch_id, new_id, partition_of


def test_new_ids_increase_strictly_even_within_a_millisecond() -> None:
    ids = [new_id() for _ in range(5_000)]
    assert ids == sorted(set(ids))


def test_a_new_id_has_the_layout_of_version_7_and_tells_its_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    assert (made.version, made.variant) == (7, RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 10


@given(st.lists(st.text(), min_size=1), st.lists(st.text(), min_size=1))
def test_derived_ids_are_equal_exactly_when_the_parts_are(first: list[str], second: list[str]) -> None:
    assert (derived_id(*first) == derived_id(*second)) == (first == second)


def test_derived_ids_never_change() -> None:
    assert derived_id("organization", "demo") == UUID("3c1c6735-184d-8593-805c-ba40023c49bb")
    assert dispatch_id("demo", UUID(int=1), 2, "welcome") == UUID("ff807ea0-3f6b-82a7-a923-e79992c112ea")
    assert derived_id(UUID(int=1)) == derived_id(str(UUID(int=1)))
    assert (derived_id("x").version, derived_id("x").variant) == (8, RFC_4122)


def test_a_derived_id_needs_parts() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        derived_id()


def test_partitions_are_fixed_and_even() -> None:
    assert partition_of(UUID(int=1)) == 2
    counts = Counter(partition_of(uuid4()) for _ in range(16_000))
    assert set(counts) == set(range(16))
    assert all(800 < count < 1_200 for count in counts.values())
    with pytest.raises(ValueError, match="got 0"):
        partition_of(UUID(int=1), 0)
