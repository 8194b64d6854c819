"""The frame around a service."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from shared.serving import COLLECT_AFTER, collect_rarely


@pytest.fixture
def collector() -> Iterator[None]:
    """The collector as it was, afterwards."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_what_is_loaded_is_never_looked_through_again_and_what_comes_less_often() -> None:
    collect_rarely()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == COLLECT_AFTER
    assert gc.isenabled()
