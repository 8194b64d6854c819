"""Identities in one spelling."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.identity import IdentityKind, InvalidIdentity, domain_of, normalise


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("email", " ADA@Example.COM ", "ada@example.com"),
        ("email", "ada@bücher.de", "ada@xn--bcher-kva.de"),
        ("email", "ada@BU\u0308CHER.de", "ada@xn--bcher-kva.de"),
        ("email", "e\u0301@x.de", "\u00e9@x.de"),
        ("email", "straße@straße.de", "strasse@xn--strae-oqa.de"),
        ("email", "ada+tag@crm.local", "ada+tag@crm.local"),
        ("phone", "+49 151 1234 5678", "+4915112345678"),
        ("phone", "0049 151 12345678", None),
        ("phone", "hello", None),
        ("phone", "+1", None),
        ("phone", "+49" + "1" * 60, None),
        ("external_id", " CRM-991 ", "CRM-991"),
        ("external_id", "   ", None),
        ("external_id", "a\x00b", None),
        ("external_id", "x" * 201, None),
        ("email", "nobody", None),
        ("email", "@example.com", None),
        ("email", "a b@example.com", None),
        ("email", "a@b", None),
        ("email", "a@b..de", None),
        ("email", "a@1.2.3.4", None),
        ("email", "a@[1.2.3.4]", None),
        ("email", "a@" + "x" * 320 + ".com", None),
    ],
)
def test_spellings(kind: IdentityKind, text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(InvalidIdentity) as raised:
            normalise(kind, text)
        assert raised.value.kind == kind
        assert raised.value.problem
    else:
        assert normalise(kind, text) == expected
        assert normalise(kind, expected) == expected


def test_a_region_reads_national_numbers() -> None:
    assert normalise("phone", "0151 12345678", "de") == "+4915112345678"


def test_the_domain_of_an_address() -> None:
    assert domain_of("ada@example.com") == "example.com"


@given(st.sampled_from(["email", "phone", "external_id"]), st.text(max_size=60))
def test_any_text_is_normalised_once_and_for_all_or_refused(kind: str, text: str) -> None:
    known = cast(IdentityKind, kind)
    try:
        once = normalise(known, text)
    except InvalidIdentity:
        return
    assert normalise(known, once) == once


@given(st.emails())
def test_addresses_differ_only_in_case(address: str) -> None:
    try:
        once = normalise("email", address)
    except InvalidIdentity:
        return
    assert normalise("email", once) == once
    assert normalise("email", address.upper().lower()) == normalise("email", address.lower())
