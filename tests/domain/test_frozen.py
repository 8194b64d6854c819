"""Changed copies are those of the standard library."""

from __future__ import annotations

import dataclasses
from uuid import UUID

import pytest

from services.enrollment.domain.enrollment import Enrollment, Status
from services.enrollment.domain.frozen import replace
from services.enrollment.domain.lead import Lead, initial
from tests.domain.scenario import T

ENROLLMENT = Enrollment(
    id=UUID(int=1),
    organization_id="demo",
    lead_id=UUID(int=2),
    sequence_id=UUID(int=3),
    version=1,
    status=Status.ACTIVE,
    started_at=T,
    previous_at=T,
)


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        (ENROLLMENT, {}),
        (ENROLLMENT, {"plan": None, "sent": 3, "thread": ("a",)}),
        (initial(UUID(int=2), "demo"), {"email": "ada@example.com", "tags": frozenset({"new"})}),
    ],
)
def test_a_changed_copy_is_that_of_the_standard_library(state: Enrollment | Lead, changes: dict[str, object]) -> None:
    before = dataclasses.replace(state)
    state = replace(state)  # a copy of a copy
    copy = replace(state, **changes)
    assert copy == dataclasses.replace(state, **changes)  # type: ignore[arg-type]  # values of their fields
    assert type(copy) is type(state)
    assert state == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        vars(type(copy))["__setattr__"](copy, dataclasses.fields(copy)[0].name, "x")


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="Enrollment has no field nothing"):
        replace(ENROLLMENT, nothing=1)


def test_a_new_lead_has_the_defaults_of_its_class() -> None:
    assert initial(UUID(int=2), "demo") == Lead(UUID(int=2), "demo")
